//! The life of a Repository: made, used, refused, changed by others, deleted and made again.

use anyhow::Result;
use serde_json::json;
use tests::kube::{Tenant, dedicated, give_credentials, kubectl, repository};

#[test]
#[ignore = "needs a cluster"]
fn a_repository_is_cloned_and_pushed_through_its_service() -> Result<()> {
    let tenant = Tenant::new("life")?;
    tenant.repository("hello", &json!({"description": "First steps"}))?;
    tenant.prepare()?;
    tenant.clone("hello")?;
    tenant.push("hello", "one")?.accepted()?;
    let tip = tenant.tip("hello")?;
    assert_eq!(tenant.git("hello", &["rev-parse", "HEAD"])?.accepted()?.trim(), tip);
    // Shown a moment later: what it is now, and where.
    let status = tests::wait::until("the push in the status", std::time::Duration::from_secs(30), || {
        let status = tenant.object("repository/hello")?["status"].clone();
        Ok((status["lastPushTime"].is_string()).then_some(status))
    })?;
    assert_eq!((&status["references"], &status["defaultBranch"]), (&json!(1), &json!("main")));
    assert!(status["sizeBytes"].as_i64() > Some(0), "{status}");
    assert_eq!(status["accountId"].as_str().map(str::len), Some(12));
    let arn = status["arn"].as_str().unwrap_or_default().to_owned();
    assert!(arn.starts_with("arn:aws:codecommit:") && arn.ends_with(":hello"), "{arn}");
    assert!(tenant.kubectl(&["get", "repo"])?.accepted()?.contains("https://hello."), "the URL is a column");
    Ok(())
}

#[test]
#[ignore = "needs a cluster"]
fn a_repository_that_is_deleted_and_made_again_has_its_data() -> Result<()> {
    let tenant = Tenant::new("again")?;
    tenant.repository("hello", &json!({}))?;
    tenant.prepare()?;
    tenant.clone("hello")?;
    tenant.push("hello", "one")?.accepted()?;
    let (id, tip) = (tenant.object("repository/hello")?["status"]["repositoryId"].clone(), tenant.tip("hello")?);
    let url = tenant.url("hello")?;
    tenant.kubectl(&["delete", "repository", "hello"])?.accepted()?;
    tests::wait::until("the repository is not served", std::time::Duration::from_secs(10), || {
        Ok(tenant.git("", &["ls-remote", &url])?.refused().ok())
    })?;
    tenant.repository("hello", &json!({}))?;
    tenant.resolve("hello")?;
    assert_eq!(tenant.object("repository/hello")?["status"]["repositoryId"], id);
    assert_eq!(tenant.tip("hello")?, tip);
    Ok(())
}

#[test]
#[ignore = "needs a cluster"]
fn data_goes_only_when_the_resource_says_so_twice() -> Result<()> {
    let tenant = Tenant::new("delete")?;
    tenant.repository("kept", &json!({"deletionPolicy": "Delete"}))?;
    let mut confirmed = repository("gone", &json!({"deletionPolicy": "Delete"}));
    confirmed["metadata"]["annotations"] = json!({"codekeep.dev/confirm-deletion": "gone"});
    tenant.apply(&confirmed)?;
    tenant.reason("repository/gone", "Ready", "Serving")?;
    tenant.prepare()?;
    for name in ["kept", "gone"] {
        tenant.clone(name)?;
        tenant.push(name, "one")?.accepted()?;
    }
    tenant.kubectl(&["delete", "repository", "kept", "gone", "--timeout=60s"])?.accepted()?;
    for name in ["kept", "gone"] {
        tenant.repository(name, &json!({}))?;
        tenant.resolve(name)?;
    }
    assert!(!tenant.tip("kept")?.is_empty(), "it was not confirmed");
    assert_eq!(tenant.tip("gone")?, "");
    Ok(())
}

#[test]
#[ignore = "needs a cluster"]
fn of_two_repositories_of_one_name_the_second_says_so_until_the_first_is_gone() -> Result<()> {
    let tenant = Tenant::new("twice")?;
    tenant.repository("first", &json!({"repositoryName": "same"}))?;
    tenant.apply(&repository("second", &json!({"repositoryName": "same"})))?;
    let condition = tenant.reason("repository/second", "Ready", "NameConflict")?;
    assert!(condition["message"].as_str().is_some_and(|message| message.contains("first")), "{condition}");
    // One event on what the user applied says so too, and it is not said again.
    let reported = ["get", "events.events.k8s.io", "--field-selector", "reason=NameConflict", "--output", "name"];
    let events = tests::wait::until("the event", std::time::Duration::from_secs(20), || {
        let events = tenant.kubectl(&reported)?.accepted()?;
        Ok((!events.is_empty()).then_some(events))
    })?;
    assert_eq!(events.lines().count(), 1, "{events}");
    tenant.kubectl(&["delete", "repository", "first"])?.accepted()?;
    tenant.reason("repository/second", "Ready", "Serving")?;
    Ok(())
}

#[test]
#[ignore = "needs a cluster"]
fn what_others_change_or_delete_is_put_right() -> Result<()> {
    let tenant = Tenant::new("drift")?;
    tenant.repository("hello", &json!({}))?;
    let wanted = tenant.object("service/hello")?["spec"]["externalName"].clone();
    tenant.kubectl(&["delete", "service", "hello"])?.accepted()?;
    tenant.kubectl(&["wait", "--for=create", "service/hello", "--timeout=20s"])?.accepted()?;
    tenant
        .kubectl(&["patch", "service", "hello", "--patch", r#"{"spec": {"externalName": "evil.example.com"}}"#])?
        .accepted()?;
    tests::wait::until("the Service is put right", std::time::Duration::from_secs(20), || {
        Ok((tenant.object("service/hello")?["spec"]["externalName"] == wanted).then_some(()))
    })?;
    tenant.kubectl(&["delete", "configmap", "codekeep-ca"])?.accepted()?;
    tenant.kubectl(&["wait", "--for=create", "configmap/codekeep-ca", "--timeout=20s"])?.accepted()?;
    Ok(())
}

#[test]
#[ignore = "needs a cluster"]
fn bad_resources_are_refused_at_admission_or_by_a_condition_that_says_what_to_do() -> Result<()> {
    let tenant = Tenant::new("bad")?;
    let refused = |spec| -> Result<String> { tenant.try_apply(&repository("hello", &spec))?.refused() };
    assert!(refused(json!({"repositoryName": "a//b"}))?.contains("write segments such as team/app"));
    assert!(refused(json!({"defaultBranch": "refs/heads/main"}))?.contains("write main instead"));
    assert!(
        refused(json!({"serving": {"mode": "Shared", "dedicated": {"storage": {"url": "s3://own-bucket"}}}}))?
            .contains("must stay Dedicated")
    );
    assert!(tenant.try_apply(&repository("3d", &json!({})))?.refused()?.contains("names a Service"));

    tenant.apply(&repository("lost", &json!({"store": "nowhere"})))?;
    let condition = tenant.reason("repository/lost", "Ready", "UnknownStore")?;
    assert!(
        condition["message"]
            .as_str()
            .is_some_and(|message| message.contains("known here: default") || message.contains("no store 'nowhere'")),
        "{condition}"
    );

    tenant.repository("hello", &json!({}))?;
    tenant.apply(&repository("hello", &json!({"suspend": true})))?;
    tenant.reason("repository/hello", "Ready", "Suspended")?;
    assert!(
        tenant.try_apply(&repository("hello", &json!({"repositoryName": "other"})))?.refused()?.contains("immutable")
    );
    Ok(())
}

#[test]
#[ignore = "needs a cluster"]
fn a_namespace_goes_in_peace_and_its_data_are_there_when_it_is_made_again() -> Result<()> {
    let tenant = Tenant::new("moves")?;
    give_credentials(&tenant, "store")?;
    tenant.repository("hello", &dedicated("store"))?;
    tenant.apply(&repository("kept", &json!({"deletionPolicy": "Delete"})))?;
    tenant.reason("repository/kept", "Ready", "Serving")?;
    tenant.prepare()?;
    tenant.clone("kept")?;
    tenant.push("kept", "one")?.accepted()?;
    let tip = tenant.tip("kept")?;
    kubectl(&["delete", "namespace", &tenant.namespace, "--timeout=90s"])?.accepted()?;
    let tenant = Tenant::moves_in(tenant.namespace.clone(), None)?;
    tenant.repository("kept", &json!({}))?;
    tenant.prepare()?;
    assert_eq!(tenant.tip("kept")?, tip);
    Ok(())
}
