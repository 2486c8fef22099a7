//! Which pods serve: the pool, pods of its own, and what clients notice while these change or die.

use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::{SignedDuration, Timestamp};
use pki::Authority;
use serde_json::{Value, json};
use tests::kube::{
    SYSTEM, Tenant, dedicated, git_servers, give_credentials, kubectl, pool_is_ready, ready, repository,
};
use tests::wait;

#[test]
#[ignore = "needs a cluster"]
fn every_pod_of_the_pool_is_killed_during_pushes_and_nothing_is_lost() -> Result<()> {
    let tenant = ready("kill")?;
    let victims = git_servers(SYSTEM)?;
    let pushed = tenant.push_until("hello", |pushed| {
        if let Some(pod) = (pushed % 4 == 2).then(|| victims.get(pushed / 4)).flatten() {
            // Of two, one at a time: without any there is nobody to try a second time.
            pool_is_ready()?;
            kubectl(&["--namespace", SYSTEM, "delete", pod, "--grace-period=0", "--force", "--wait=false"])?
                .accepted()?;
        }
        Ok(pushed >= victims.len() * 4 + 4)
    })?;
    tenant.has_all("hello", pushed)?;
    pool_is_ready()
}

#[test]
#[ignore = "needs a cluster"]
fn the_pool_is_replaced_under_load_and_no_git_command_fails_twice() -> Result<()> {
    let tenant = ready("roll")?;
    kubectl(&["--namespace", SYSTEM, "rollout", "restart", "deployment/codekeep-git"])?.accepted()?;
    let mut clones = 0;
    let pushed = tenant.push_until("hello", |pushed| {
        clones += 1;
        let clone = format!("git clone --quiet {} /clones/clone{clones}", tenant.url("hello")?);
        if tenant.sh(&clone)?.accepted().is_err() {
            tenant.sh(&format!("rm -rf /clones/clone{clones}; {clone}"))?.accepted()?;
        }
        let status =
            kubectl(&["--namespace", SYSTEM, "rollout", "status", "deployment/codekeep-git", "--watch=false"])?
                .accepted()?;
        Ok(pushed >= 5 && status.contains("successfully rolled out"))
    })?;
    tenant.has_all("hello", pushed)?;
    // The controller may put its own template back after a restart by hand; whatever happens, the pool is whole again.
    pool_is_ready()
}

fn own_pods_took_a_push(tenant: &Tenant) -> Result<bool> {
    let arguments = ["logs", "--selector", "app.kubernetes.io/component=git-server", "--tail=-1"];
    Ok(tenant.kubectl(&arguments)?.accepted()?.contains("push committed"))
}

fn mode(tenant: &Tenant) -> Result<Value> {
    Ok(tenant.object("repository/hello")?["status"]["servingMode"].clone())
}

#[test]
#[ignore = "needs a cluster"]
fn a_repository_turns_to_pods_of_its_own_and_back_while_a_client_pushes() -> Result<()> {
    let tenant = ready("turn")?;
    give_credentials(&tenant, "store")?;
    let (mut turned, mut back) = (false, 0);
    let pushed = tenant.push_until("hello", |pushed| {
        if pushed == 1 {
            tenant.apply(&repository("hello", &dedicated("store")))?;
        }
        // A name that was resolved before is remembered for some seconds.
        if !turned && mode(&tenant)? == "Dedicated" && own_pods_took_a_push(&tenant)? {
            turned = true;
            tenant.apply(&repository("hello", &json!({"serving": {"mode": "Shared"}})))?;
        }
        back += usize::from(turned && mode(&tenant)? == "Shared");
        ensure!(pushed < 300, "it did not turn");
        Ok(back >= 5)
    })?;
    tenant.has_all("hello", pushed)?;
    wait::until("its own pods are gone", Duration::from_secs(150), || {
        let left =
            tenant.kubectl(&["get", "deployment,networkpolicy,poddisruptionbudget", "--output", "name"])?.accepted()?;
        Ok(left.trim().is_empty().then_some(()))
    })
}

#[test]
#[ignore = "needs a cluster"]
fn pods_of_its_own_wait_for_a_secret_that_is_missing_and_say_so() -> Result<()> {
    let tenant = Tenant::new("secret")?;
    tenant.apply(&repository("hello", &dedicated("store")))?;
    let named = wait::until("the missing Secret is named", Duration::from_mins(1), || {
        let object = tenant.object("repository/hello")?;
        let message = tests::kube::condition(&object, "Ready")["message"].as_str().unwrap_or_default().to_owned();
        Ok(message.contains("secret \"store\" not found").then_some(message))
    })?;
    assert!(named.contains("served by the shared pool until"), "{named}");
    give_credentials(&tenant, "store")?;
    wait::until("its own pods serve", Duration::from_secs(90), || Ok((mode(&tenant)? == "Dedicated").then_some(())))?;
    let pod = &tenant
        .kubectl(&["get", "pods", "--selector", "codekeep.dev/repository=hello", "--output", "json"])?
        .accepted()?;
    let pod: Value = serde_json::from_str(pod)?;
    assert_eq!(pod["items"][0]["spec"]["automountServiceAccountToken"], false);
    tenant.prepare()?;
    tenant.clone("hello")?;
    tenant.push("hello", "one")?.accepted()?;
    Ok(())
}

#[test]
#[ignore = "needs a cluster"]
fn a_bucket_that_does_not_answer_is_named_by_the_condition() -> Result<()> {
    let tenant = Tenant::new("bucket")?;
    give_credentials(&tenant, "store")?;
    let mut spec = dedicated("store");
    let nobody = "s3://own-bucket/git?endpoint=http://127.0.0.1:9&path-style=true&region=us-east-1";
    spec["serving"]["dedicated"]["storage"]["url"] = json!(nobody);
    tenant.apply(&repository("lost", &spec))?;
    let message = wait::until("the bucket is named", Duration::from_secs(90), || {
        let object = tenant.object("repository/lost")?;
        let message = tests::kube::condition(&object, "Ready")["message"].as_str().unwrap_or_default().to_owned();
        Ok(message.contains("own-bucket").then_some(message))
    })?;
    assert!(message.starts_with("0 of 1 pods are ready") && message.contains("the store 'default'"), "{message}");
    Ok(())
}

#[test]
#[ignore = "needs a cluster"]
fn pods_of_its_own_show_the_certificate_that_the_tenant_gave() -> Result<()> {
    let tenant = ready("given")?;
    give_credentials(&tenant, "store")?;
    let (now, day) = (Timestamp::now(), SignedDuration::from_hours(24));
    let authority = Authority::generate(now, day)?;
    let host = format!("own.{}.svc.cluster.local", tenant.namespace);
    let leaf = authority.issue(&[host], now, day)?;
    tenant.apply(
        &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "given"}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": leaf.certificate_pem, "tls.key": leaf.key_pem}}),
    )?;
    let mut spec = dedicated("store");
    spec["serving"]["dedicated"]["tlsSecretRef"] = json!({"name": "given"});
    tenant.repository("own", &spec)?;
    let url = tenant.url("own")?;
    let clone =
        format!("cat > /clones/given.crt; rm -rf own; GIT_SSL_CAINFO=/clones/given.crt git clone --quiet {url} own");
    wait::until("the tenant's certificate", Duration::from_mins(1), || {
        Ok(tenant.sh_with(&clone, authority.certificate_pem())?.accepted().ok())
    })?;
    // The controller, which does not know that authority, finds it ready all the same.
    ensure!(tenant.object("repository/own")?["status"]["servingMode"] == "Dedicated");
    tenant.reason("repository/own", "ServingReady", "LsRefsAnswered").map(drop)
}
