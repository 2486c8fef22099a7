//! Parts of a local cluster die or are cut off; `$CODEKEEP_TEST_CLUSTER` names its folder.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tests::kube::{SYSTEM, Tenant, component, kubectl, pool_is_ready};
use tests::wait;

/// A tenant with a clone, ready to push.
fn ready(name: &str) -> Result<Tenant> {
    let tenant = Tenant::new(name)?;
    tenant.repository("hello", &json!({}))?;
    tenant.prepare()?;
    tenant.clone("hello")?;
    tenant.push("hello", "before")?.accepted()?;
    Ok(tenant)
}

fn scale_controller(replicas: u8) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    kubectl(&["--namespace", SYSTEM, "scale", "deployment/codekeep-controller", &replicas])?.accepted()?;
    let arguments = ["--namespace", SYSTEM, "rollout", "status", "deployment/codekeep-controller", "--timeout=90s"];
    kubectl(&arguments)?.accepted().map(drop)
}

#[test]
#[ignore = "needs a local cluster"]
fn without_a_controller_clients_and_policies_go_on() -> Result<()> {
    let tenant = ready("headless")?;
    scale_controller(0)?;
    let outcome = (|| {
        tenant.push("hello", "during")?.accepted()?;
        // A new token, and a policy that changes: both are the git servers' own business.
        let url = tenant.url("hello")?;
        tenant.git("", &["ls-remote", &url])?.accepted()?;
        tenant.kubectl(&["delete", "accesspolicy", "builders"])?.accepted()?;
        wait::until("the policy's end", Duration::from_secs(5), || {
            Ok(tenant.git("", &["ls-remote", &url])?.refused().ok())
        })?;
        tenant.apply(&tenant.policy("builders", "ServiceAccount", "builder"))
    })();
    scale_controller(1)?;
    outcome?;
    tenant.repository("another", &json!({}))
}

#[test]
#[ignore = "needs a local cluster"]
fn a_bucket_that_is_away_loses_nothing_and_is_named() -> Result<()> {
    let tenant = ready("nobucket")?;
    component("stop", "s3")?;
    let outcome = (|| {
        let refused = tenant.push("hello", "during")?.refused()?;
        anyhow::ensure!(refused.contains("storage is not available"), "{refused}");
        tenant.kubectl(&["annotate", "repository", "hello", "codekeep.dev/requested-at=now"])?.accepted()?;
        tenant.reason("repository/hello", "StorageReady", "StorageNotReady").map(drop)
    })();
    component("start", "s3")?;
    outcome?;
    tenant.reason("repository/hello", "Ready", "Serving")?;
    tenant.git("hello", &["push", "--quiet", "origin", "HEAD"])?.accepted()?;
    assert_eq!(tenant.tip("hello")?, tenant.git("hello", &["rev-parse", "HEAD"])?.accepted()?.trim());
    Ok(())
}

#[test]
#[ignore = "needs a local cluster"]
fn without_an_api_server_clients_go_on() -> Result<()> {
    let tenant = ready("noapi")?;
    // A loop in the pod, since nobody can be sent there then.
    tenant.sh("cd /work/hello && (for n in $(seq 1 60); do date > tick$n && git add . && git commit -qm tick$n && git push -q origin HEAD && echo ok || echo failed; sleep 0.5; done) > /work/ticks 2>&1 &")?.accepted()?;
    wait::until("the first push", Duration::from_secs(20), || {
        Ok(tenant.sh("grep -c ok /work/ticks")?.accepted().ok())
    })?;
    component("kill", "kube-apiserver")?;
    std::thread::sleep(Duration::from_secs(15));
    component("start", "kube-apiserver")?;
    wait::until("the API server", Duration::from_mins(1), || {
        Ok(kubectl(&["get", "--raw", "/readyz"])?.accepted().ok())
    })?;
    let ticks = wait::until("the last push", Duration::from_secs(90), || {
        let ticks = tenant.sh("cat /work/ticks").and_then(tests::answer::Answer::accepted).unwrap_or_default();
        Ok((ticks.lines().count() >= 60).then_some(ticks))
    })?;
    assert!(ticks.lines().all(|line| line == "ok"), "{ticks}");
    pool_is_ready()
}

#[test]
#[ignore = "needs a local cluster"]
fn a_chart_that_is_uninstalled_and_installed_again_finds_everything() -> Result<()> {
    let tenant = ready("reinstall")?;
    let tip = tenant.tip("hello")?;
    let helm = |arguments: &[&str], input: &str| {
        tests::kube::run("helm", &[&["--namespace", SYSTEM], arguments].concat(), input)?.accepted()
    };
    let values = helm(&["get", "values", "codekeep", "--output", "yaml"], "")?;
    helm(&["uninstall", "codekeep", "--wait"], "")?;
    wait::until("the pool is gone", Duration::from_mins(2), || {
        let left = kubectl(&["--namespace", SYSTEM, "get", "pods", "--output", "name"])?.accepted()?;
        Ok(left.trim().is_empty().then_some(()))
    })?;
    assert!(tenant.object("repository/hello").is_ok(), "resources stay");
    let chart = tests::binary::workspace().join("charts/codekeep").display().to_string();
    helm(&["install", "codekeep", &chart, "--values", "-"], &values)?;
    wait::until("the pool", Duration::from_mins(1), || Ok(pool_is_ready().ok()))?;
    tenant.kubectl(&["annotate", "repository", "hello", "codekeep.dev/requested-at=again"])?.accepted()?;
    wait::until("the request was handled", Duration::from_mins(1), || {
        Ok((tenant.object("repository/hello")?["status"]["lastHandledReconcileAt"] == "again").then_some(()))
    })?;
    tenant.reason("repository/hello", "Ready", "Serving")?;
    // The authority is another one after its Secret went with the release's namespace, or the same: the ConfigMap says which.
    tenant.prepare()?;
    assert_eq!(tenant.tip("hello")?, tip);
    Ok(())
}
