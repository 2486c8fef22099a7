//! Parts of a local cluster die or are cut off; `$CODEKEEP_TEST_CLUSTER` names its folder.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use tests::answer::Answer;
use tests::kube::{
    SYSTEM, Tenant, component, dedicated, git_servers, give_credentials, hurry_volumes, kubectl, local_cluster,
    local_value, pool_is_ready, ready,
};
use tests::wait;

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
        ensure!(refused.contains("is not available; nothing was changed"), "{refused}");
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
    // A git server believes a token that it has seen for ten minutes then: each of them has seen it.
    tenant.sh("cd /clones/hello && for turn in $(seq 12); do git ls-remote -q origin || exit 1; done")?.accepted()?;
    // A loop in the pod, since nobody can be sent there then.
    tenant.sh("cd /clones/hello && (for n in $(seq 1 60); do date > tick$n && git add . && git commit -qm tick$n && git push -q origin HEAD && echo ok || echo failed; sleep 0.5; done) > /clones/ticks 2>&1 &")?.accepted()?;
    wait::until("the first push", Duration::from_secs(20), || {
        Ok(tenant.sh("grep -c ok /clones/ticks")?.accepted().ok())
    })?;
    component("kill", "kube-apiserver")?;
    std::thread::sleep(Duration::from_secs(15));
    component("start", "kube-apiserver")?;
    wait::until("the API server", Duration::from_mins(1), || {
        Ok(kubectl(&["get", "--raw", "/readyz"])?.accepted().ok())
    })?;
    let ticks = wait::until("the last push", Duration::from_secs(90), || {
        let ticks = tenant.sh("cat /clones/ticks").and_then(Answer::accepted).unwrap_or_default();
        Ok((ticks.lines().count() >= 60).then_some(ticks))
    })?;
    assert!(ticks.lines().all(|line| line == "ok"), "{ticks}");
    pool_is_ready()
}

#[test]
#[ignore = "needs a local cluster"]
fn the_keys_of_the_bucket_are_exchanged_without_a_restart() -> Result<()> {
    let tenant = ready("keys")?;
    give_credentials(&tenant, "store")?;
    tenant.repository("own", &dedicated("store"))?;
    tenant.clone("own")?;
    let pods = git_servers(SYSTEM)?;
    let old = (local_value("AWS_ACCESS_KEY_ID")?, local_value("AWS_SECRET_ACCESS_KEY")?);
    let new = ("exchanged".to_owned(), format!("another-{}", old.1));
    // As a careful administrator does it: both are good for a while.
    accept_keys(&[&old, &new])?;
    let outcome = (|| {
        use_keys(&tenant, &new)?;
        tenant.push("hello", "file1")?.accepted()?;
        accept_keys_alone(&new)?;
        for name in ["hello", "own"] {
            tenant.push(name, "file2")?.accepted()?;
        }
        ensure!(git_servers(SYSTEM)? == pods, "the pool was restarted");
        Ok(())
    })();
    accept_keys(&[&old, &new])?;
    use_keys(&tenant, &old)?;
    accept_keys_alone(&old)?;
    outcome
}

/// Retires the other keys when nobody uses them any more.
fn accept_keys_alone(keys: &(String, String)) -> Result<()> {
    // What servers have read is used until it is half a minute old.
    std::thread::sleep(Duration::from_secs(31));
    accept_keys(&[keys])
}

/// The S3 server accepts these keys, and no others, from now on.
fn accept_keys(keys: &[&(String, String)]) -> Result<()> {
    let credentials: Vec<_> = keys.iter().map(|(key, secret)| json!({"accessKey": key, "secretKey": secret})).collect();
    let identity = json!({"name": "codekeep", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List", "Tagging"]});
    let file = local_cluster()?.join("s3/s3.json");
    std::fs::write(file, json!({"identities": [identity]}).to_string())?;
    component("stop", "s3")?;
    component("start", "s3")
}

/// The pool's Secret and the tenant's hold these keys, and the pods' volumes show it.
fn use_keys(tenant: &Tenant, (key, secret): &(String, String)) -> Result<()> {
    let patch = json!({"stringData": {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}}).to_string();
    let own = tenant.namespace.as_str();
    for (namespace, name) in [(SYSTEM, "codekeep-store"), (own, "store")] {
        kubectl(&["--namespace", namespace, "patch", "secret", name, "--patch", &patch])?.accepted()?;
        wait::until("the volumes to follow", Duration::from_mins(3), || {
            hurry_volumes(namespace)?;
            let follows = |pod: &String| {
                let read =
                    ["--namespace", namespace, "exec", pod, "--", "cat", "/etc/codekeep/store/AWS_ACCESS_KEY_ID"];
                kubectl(&read).and_then(Answer::accepted).is_ok_and(|shown| shown == *key)
            };
            Ok(git_servers(namespace)?.iter().all(follows).then_some(()))
        })?;
    }
    Ok(())
}
