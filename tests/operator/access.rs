//! Who may do what: policies, passwords, tokens, other tenants, and what Codekeep itself may do in the cluster.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use tests::kube::{SYSTEM, Tenant, kubectl};
use tests::wait;

#[test]
#[ignore = "needs a cluster"]
fn a_policy_change_is_enforced_within_two_seconds() -> Result<()> {
    let tenant = Tenant::new("policy")?;
    tenant.repository("hello", &json!({}))?;
    tenant.reason("accesspolicy/builders", "Enforced", "AllPods")?;
    tenant.prepare()?;
    let url = tenant.url("hello")?;
    tenant.git("", &["ls-remote", &url])?.accepted()?;
    for _ in 0..3 {
        tenant.kubectl(&["delete", "accesspolicy", "builders"])?.accepted()?;
        let changed = Instant::now();
        wait::until("the policy's end", Duration::from_secs(10), || {
            Ok(tenant.git("", &["ls-remote", &url])?.refused().ok())
        })?;
        // Each look takes a pod's git and two connections; the servers had it before the last look began.
        assert!(changed.elapsed() < Duration::from_secs(2), "{:?}", changed.elapsed());
        tenant.apply(&tenant.policy("builders", "ServiceAccount", "builder"))?;
        let changed = Instant::now();
        wait::until("the policy", Duration::from_secs(10), || {
            Ok(tenant.git("", &["ls-remote", &url])?.accepted().ok())
        })?;
        assert!(changed.elapsed() < Duration::from_secs(2), "{:?}", changed.elapsed());
    }
    let status = tenant.reason("accesspolicy/builders", "Ready", "Enforced")?;
    assert!(status["message"].as_str().is_some_and(|message| message.contains("git servers")), "{status}");
    Ok(())
}

#[test]
#[ignore = "needs a cluster"]
fn passwords_work_where_the_namespace_grants_it_and_the_policy_says_when_it_does_not() -> Result<()> {
    let tenant = Tenant::new("grant")?;
    tenant.apply(&tenant.policy("people", "LocalUser", "alice"))?;
    tenant.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "alice-git"}, "type": "codekeep.dev/git-credential",
        "stringData": {"user": "alice", "password": "a-long-random-one"}}))?;
    tenant.repository("hello", &json!({}))?;
    tenant.prepare()?;
    let url = tenant.url_as("hello", "alice", "a-long-random-one")?;
    tenant.git("", &["ls-remote", &url])?.refused()?;
    let condition = tenant.reason("accesspolicy/people", "Ready", "Enforced")?;
    let message = condition["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("CredentialsNotGranted") && message.contains("create rolebinding"), "{message}");

    tenant.grant_credentials()?;
    wait::until("the grant", Duration::from_secs(10), || Ok(tenant.git("", &["ls-remote", &url])?.accepted().ok()))?;
    // A password that is changed is another one within seconds.
    let patch = r#"{"stringData": {"password": "another-long-random-one"}}"#;
    tenant.kubectl(&["patch", "secret", "alice-git", "--patch", patch])?.accepted()?;
    wait::until("the old password's end", Duration::from_secs(10), || {
        Ok(tenant.git("", &["ls-remote", &url])?.refused().ok())
    })?;
    tenant.git("", &["ls-remote", &tenant.url_as("hello", "alice", "another-long-random-one")?])?.accepted()?;
    tenant.kubectl(&["delete", "rolebinding", "codekeep-credentials"])?.accepted()?;
    let url = tenant.url_as("hello", "alice", "another-long-random-one")?;
    wait::until("the grant's end", Duration::from_secs(10), || {
        Ok(tenant.git("", &["ls-remote", &url])?.refused().ok())
    })?;
    Ok(())
}

#[test]
#[ignore = "needs a cluster"]
fn tokens_for_others_and_of_others_are_refused() -> Result<()> {
    let (tenant, other) = (Tenant::new("mine")?, Tenant::new("yours")?);
    tenant.repository("hello", &json!({}))?;
    other.repository("hello", &json!({}))?;
    tenant.prepare()?;
    let with = |token: &str| tenant.git("", &["ls-remote", &tenant.url_as("hello", "x", token.trim())?]);
    let token = |of: &Tenant, more: &[&str]| of.kubectl(&[&["create", "token", "builder"], more].concat())?.accepted();
    with(&token(&tenant, &[])?)?.accepted()?;
    with(&token(&tenant, &["--audience", "codekeep.dev"])?)?.accepted()?;
    assert!(with(&token(&tenant, &["--audience", "vault"])?)?.refused()?.contains("Authentication failed"));
    let refused = with(&token(&other, &[])?)?.refused()?;
    assert!(refused.contains("not found"), "what is not yours looks like what is not there: {refused}");
    // The other's repository under a name of one's own Service is the other's all the same.
    let own = token(&tenant, &[])?;
    let foreign = tenant
        .url_as("hello", "x", own.trim())?
        .replace(&format!("/{}/", tenant.namespace), &format!("/{}/", other.namespace));
    assert!(tenant.git("", &["ls-remote", &foreign])?.refused()?.contains("not found"));
    Ok(())
}

#[test]
#[ignore = "needs a cluster"]
fn references_to_another_namespace_do_not_exist() -> Result<()> {
    let (tenant, other) = (Tenant::new("mine")?, Tenant::new("yours")?);
    let refused = |spec| tenant.try_apply(&tests::kube::repository("hello", &spec))?.refused();
    let theirs = format!("{}/store", other.namespace);
    refused(
        json!({"serving": {"mode": "Dedicated", "dedicated": {"storage": {"credentialsSecretRef": {"name": theirs}}}}}),
    )?;
    let text = refused(
        json!({"serving": {"mode": "Dedicated", "dedicated": {"tlsSecretRef": {"name": "a", "namespace": other.namespace}}}}),
    )?;
    assert!(text.contains("unknown field"), "{text}");
    // A policy speaks of its own namespace: one of the other's gives nothing here.
    tenant.repository("hello", &json!({}))?;
    let mut policy = other.policy("all", "Group", "system:serviceaccounts");
    policy["metadata"]["namespace"] = json!(other.namespace);
    other.apply(&policy)?;
    other.reason("accesspolicy/all", "Enforced", "AllPods")?;
    tenant.prepare()?;
    let token = other.kubectl(&["create", "token", "builder"])?.accepted()?;
    tenant.git("", &["ls-remote", &tenant.url_as("hello", "x", token.trim())?])?.refused()?;
    Ok(())
}

#[test]
#[ignore = "needs a cluster"]
fn codekeep_may_not_read_secrets_of_the_cluster_nor_give_itself_rights() -> Result<()> {
    let tenant = Tenant::new("rights")?;
    let can = |who: &str, arguments: &[&str]| -> Result<bool> {
        let who = format!("--as=system:serviceaccount:{SYSTEM}:{who}");
        Ok(kubectl(&[&["auth", "can-i", "--quiet", who.as_str()], arguments].concat())?.accepted().is_ok())
    };
    for who in ["codekeep-controller", "codekeep-git"] {
        for verb in ["get", "list", "watch"] {
            assert!(!can(who, &[verb, "secrets", "--all-namespaces"])?, "{who} {verb}");
            assert!(!can(who, &[verb, "secrets", "--namespace", &tenant.namespace])?, "{who} {verb}");
        }
        for verb in ["escalate", "bind"] {
            assert!(!can(who, &[verb, "clusterroles"])?, "{who} {verb}");
        }
        assert!(
            !can(who, &["impersonate", "users"])? && !can(who, &["create", "rolebindings", "--all-namespaces"])?,
            "{who}"
        );
        assert!(
            !can(who, &["create", "pods", "--all-namespaces"])?
                && !can(who, &["create", "pods/exec", "--all-namespaces"])?,
            "{who}"
        );
    }
    // And may do what it is there for, or the above would prove nothing.
    assert!(can("codekeep-controller", &["patch", "services", "--namespace", &tenant.namespace])?);
    assert!(can("codekeep-git", &["create", "tokenreviews.authentication.k8s.io"])?);
    assert!(can("codekeep-git", &["watch", "repositories.codekeep.dev", "--all-namespaces"])?);
    Ok(())
}
