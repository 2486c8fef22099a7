//! The installation as a whole: samples, `helm test`, another set of namespaces, CRDs and authority renewed, removed and back.
//!
//! It changes what everybody in the cluster uses, so it is for a local cluster.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use pki::Authority;
use serde_json::{Value, json};
use store::{ObjectStore as _, S3Store, StoreMetrics, StoreUrl};
use tests::kube::{
    GIT_SERVERS, SYSTEM, Tenant, condition, dedicated, give_credentials, hurry_volumes, kubectl, kubectl_with,
    local_value, pool_is_ready, ready, repository,
};
use tests::wait;

fn helm(arguments: &[&str], input: &str) -> Result<String> {
    tests::kube::run("helm", &[&["--namespace", SYSTEM], arguments].concat(), input)?.accepted()
}

fn chart() -> String {
    tests::binary::workspace().join("charts/codekeep").display().to_string()
}

/// The values that the user gave.
fn values() -> Result<String> {
    helm(&["get", "values", "codekeep", "--output", "yaml"], "")
}

fn installed() -> Result<()> {
    let arguments = ["--namespace", SYSTEM, "rollout", "status", "deployment/codekeep-controller", "--timeout=90s"];
    kubectl(&arguments)?.accepted()?;
    wait::until("the pool", Duration::from_mins(2), || Ok(pool_is_ready().ok()))
}

/// Asks for a reconcile and waits until it was done.
fn reconcile(tenant: &Tenant, request: &str) -> Result<()> {
    let annotation = format!("codekeep.dev/requested-at={request}");
    tenant.kubectl(&["annotate", "--overwrite", "repository", "hello", &annotation])?.accepted()?;
    wait::until("the request to be handled", Duration::from_mins(1), || {
        Ok((tenant.object("repository/hello")?["status"]["lastHandledReconcileAt"] == request).then_some(()))
    })?;
    tenant.reason("repository/hello", "Ready", "Serving").map(drop)
}

#[test]
#[ignore = "needs a local cluster"]
fn the_samples_and_the_test_of_the_chart_work_as_the_quickstart_says() -> Result<()> {
    let samples = tests::binary::workspace().join("config/samples").display().to_string();
    let outcome = (|| {
        kubectl(&["apply", "--filename", &samples])?.accepted()?;
        kubectl(&["wait", "--for=condition=Ready", "repo/hello", "--timeout=60s"])?.accepted()?;
        ensure!(kubectl(&["get", "repo"])?.accepted()?.contains("https://hello.default.svc"), "the URL is a column");
        for field in [
            "repository.spec.serving.dedicated.storage",
            "accesspolicy.spec.statements",
            "notificationrule.spec.targets",
        ] {
            let explained = kubectl(&["explain", field])?.accepted()?;
            ensure!(!explained.contains("<no description>"), "{explained}");
        }
        helm(&["test", "codekeep"], "")
    })();
    kubectl(&["delete", "--filename", &samples, "--timeout=60s"])?.accepted()?;
    outcome.map(drop)
}

#[test]
#[ignore = "needs a local cluster"]
fn a_chart_that_is_uninstalled_and_installed_again_finds_everything() -> Result<()> {
    let tenant = ready("reinstall")?;
    tenant.push("hello", "before")?.accepted()?;
    let (tip, values) = (tenant.tip("hello")?, values()?);
    helm(&["uninstall", "codekeep", "--wait"], "")?;
    wait::until("the pool is gone", Duration::from_mins(2), || {
        let left = kubectl(&["--namespace", SYSTEM, "get", "pods", "--output", "name"])?.accepted()?;
        Ok(left.trim().is_empty().then_some(()))
    })?;
    ensure!(tenant.object("repository/hello").is_ok(), "resources stay");
    helm(&["install", "codekeep", &chart(), "--values", "-"], &values)?;
    installed()?;
    reconcile(&tenant, "again")?;
    // The authority may be another one: the ConfigMap of the namespace says which.
    tenant.prepare()?;
    ensure!(tenant.tip("hello")? == tip, "the branch is another");
    Ok(())
}

#[test]
#[ignore = "needs a local cluster"]
fn crds_that_are_removed_and_applied_again_leave_the_data_alone() -> Result<()> {
    let tenant = ready("crds")?;
    tenant.push("hello", "before")?.accepted()?;
    let (tip, values) = (tenant.tip("hello")?, values()?);
    let id = tenant.object("repository/hello")?["status"]["repositoryId"].clone();
    let crds = ["repositories.codekeep.dev", "accesspolicies.codekeep.dev", "notificationrules.codekeep.dev"];
    kubectl(&[&["delete", "crd", "--timeout=90s"], &crds[..]].concat())?.accepted()?;
    let url = tenant.git("hello", &["remote", "get-url", "origin"])?.accepted()?;
    wait::until("nothing is served", Duration::from_secs(30), || {
        Ok(tenant.git("", &["ls-remote", url.trim()])?.refused().ok())
    })?;
    helm(&["upgrade", "codekeep", &chart(), "--values", "-"], &values)?;
    for crd in crds {
        kubectl(&["wait", "--for=condition=Established", &format!("crd/{crd}"), "--timeout=30s"])?.accepted()?;
    }
    // Neither controller nor git servers were restarted: both find by themselves that the kinds are back.
    tenant.apply(&tenant.policy("builders", "ServiceAccount", "builder"))?;
    wait::until("the Repository to be ready", Duration::from_mins(3), || {
        tenant.apply(&repository("hello", &json!({})))?;
        Ok(tenant.reason("repository/hello", "Ready", "Serving").ok())
    })?;
    ensure!(tenant.object("repository/hello")?["status"]["repositoryId"] == id, "it is another repository");
    wait::until("the policy", Duration::from_mins(1), || {
        Ok((tenant.tip("hello").ok().as_ref() == Some(&tip)).then_some(()))
    })
}

#[test]
#[ignore = "needs a local cluster"]
fn only_the_watched_namespaces_are_served() -> Result<()> {
    let (watched, other) = (ready("watched")?, ready("other")?);
    let values = values()?;
    let only = format!("watchNamespaces={{{}}}", watched.namespace);
    helm(&["upgrade", "codekeep", &chart(), "--values", "-", "--set", &only], &values)?;
    let outcome = (|| {
        installed()?;
        pool_watches(&watched.namespace)?;
        other.git("", &["ls-remote", &other.url("hello")?])?.refused()?;
        watched.push("hello", "file1")?.accepted()?;
        reconcile(&watched, "watched")?;
        let who = format!("--as=system:serviceaccount:{SYSTEM}:codekeep-controller");
        for (tenant, may) in [(&watched, true), (&other, false)] {
            let answer = tenant.kubectl(&["auth", "can-i", "--quiet", &who, "patch", "services"])?;
            ensure!(answer.ok == may, "the controller's rights in {}", tenant.namespace);
        }
        Ok(())
    })();
    helm(&["upgrade", "codekeep", &chart(), "--values", "-"], &values)?;
    installed()?;
    outcome?;
    pool_watches("")?;
    other.push("hello", "file1")?.accepted().map(drop)
}

/// Waits until every pod of the pool watches these namespaces, and is ready: the controller replaces them a moment after itself.
fn pool_watches(namespaces: &str) -> Result<()> {
    wait::until("pods that watch the right namespaces", Duration::from_mins(2), || {
        let pods = kubectl(&["--namespace", SYSTEM, "get", "pods", "--selector", GIT_SERVERS, "--output", "json"])?;
        let pods: Value = serde_json::from_str(&pods.accepted()?)?;
        let pods = pods["items"].as_array().context("a list of pods")?;
        let watches = |pod: &Value| {
            let environment = pod["spec"]["containers"][0]["env"].as_array().map_or(&[][..], Vec::as_slice);
            let entry = environment.iter().find(|entry| entry["name"] == "CODEKEEP_WATCH_NAMESPACES");
            entry.and_then(|entry| entry["value"].as_str()).unwrap_or_default() == namespaces
        };
        Ok((!pods.is_empty() && pods.iter().all(watches)).then_some(()))
    })?;
    pool_is_ready()
}

#[test]
#[ignore = "needs a local cluster"]
fn the_authority_is_renewed_and_no_client_meets_a_certificate_that_it_does_not_trust() -> Result<()> {
    let tenant = ready("renewal")?;
    let now = Timestamp::now();
    let authority = |days: i64| Authority::generate(now, SignedDuration::from_hours(24 * days));
    // As far as this one is from its end, the next one is already made and published.
    put_authority(&authority(150)?, None)?;
    let bundle = wait::until("the next authority to be published", Duration::from_mins(2), || {
        let map = tenant.object("configmap/codekeep-ca")?;
        let bundle = map["data"]["ca.crt"].as_str().unwrap_or_default().to_owned();
        let secret = authority_entry("next.crt")?;
        Ok((bundle.matches("BEGIN").count() == 2 && !secret.is_empty() && bundle.contains(secret.trim()))
            .then_some(bundle))
    })?;
    tenant.prepare()?;
    all_are_signed_by(&tenant, &authority_entry("tls.crt")?)?;
    // Clients have the bundle of that day. Now the next one takes over, and is all that the servers sign with.
    let next = (authority_entry("next.crt")?, authority_entry("next.key")?);
    put_authority(&authority(100)?, Some((&next.0, &next.1)))?;
    wait::until("the next authority to take over", Duration::from_mins(2), || {
        Ok((authority_entry("tls.crt")? == next.0).then_some(()))
    })?;
    all_are_signed_by(&tenant, &next.0)?;
    ensure!(bundle.contains(next.0.trim()), "the client knew it before");
    tenant.push("hello", "file1")?.accepted()?;
    tenant.has_all("hello", 1)
}

fn authority_entry(name: &str) -> Result<String> {
    let path = format!("go-template={{{{index .data \"{name}\" | base64decode}}}}");
    kubectl(&["--namespace", SYSTEM, "get", "secret", "codekeep-ca", "--output", &path])?.accepted()
}

fn put_authority(current: &Authority, next: Option<(&str, &str)>) -> Result<()> {
    let (certificate, key) = next.unwrap_or_default();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "codekeep-ca"}, "stringData": {
        "tls.crt": current.certificate_pem(), "tls.key": current.key_pem(), "next.crt": certificate, "next.key": key}});
    let arguments = ["--namespace", SYSTEM, "patch", "secret", "codekeep-ca", "--patch-file", "/dev/stdin"];
    kubectl_with(&arguments, &secret.to_string())?.accepted().map(drop)
}

/// Waits until every git server presents a certificate that this authority has signed.
fn all_are_signed_by(tenant: &Tenant, certificate: &str) -> Result<()> {
    let url = tenant.url("hello")?;
    let ask = format!(
        "cat > /clones/only.crt && for turn in $(seq 12); do GIT_SSL_CAINFO=/clones/only.crt git ls-remote {url} || exit 1; done"
    );
    hurry_volumes(SYSTEM)?;
    wait::until("all git servers to use the authority", Duration::from_mins(3), || {
        Ok(tenant.sh_with(&ask, certificate)?.accepted().ok())
    })
    .map(drop)
}

#[test]
#[ignore = "needs a local cluster"]
fn a_prefix_of_another_cluster_is_refused_until_it_is_handed_over() -> Result<()> {
    let tenant = Tenant::new("foreign")?;
    give_credentials(&tenant, "store")?;
    let url = local_value("STORE_URL")?;
    let (bucket, query) = url.split_once('?').context("the store's URL has no query")?;
    let url = format!("{}/{}?{query}", bucket.trim_end_matches('/'), tenant.namespace);
    let StoreUrl::S3(s3) = url.parse()? else { bail!("{url} is not a bucket") };
    let (key, secret) = (local_value("AWS_ACCESS_KEY_ID")?, local_value("AWS_SECRET_ACCESS_KEY")?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let metrics = StoreMetrics::new(&prometheus::Registry::new())?;
    let store = runtime.block_on(S3Store::open_as(&s3, (&key, &secret), metrics))?;
    runtime.block_on(store::claim(&store, "another"))?;
    let mut spec = dedicated("store");
    spec["serving"]["dedicated"]["storage"]["url"] = json!(url);
    tenant.apply(&repository("hello", &spec))?;
    wait::until("the owner of the prefix is named", Duration::from_mins(2), || {
        let message = condition(&tenant.object("repository/hello")?, "Ready")["message"].to_string();
        Ok(message.contains("belongs to cluster another").then_some(()))
    })?;
    // Handed over, as the message says.
    runtime.block_on(store.delete("owner"))?;
    tenant.reason("repository/hello", "Ready", "Serving")?;
    ensure!(tenant.object("repository/hello")?["status"]["servingMode"] == "Dedicated");
    Ok(())
}
