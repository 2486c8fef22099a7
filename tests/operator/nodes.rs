//! A node is drained, and a node is cut off, under a client that pushes: of a local cluster with two nodes.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::kube::{SYSTEM, Tenant, component, kubectl, pool_is_ready, ready_on_node};
use tests::wait;

/// The node of clients, which has the control plane, and the one that goes.
const STAYS: &str = "node1";
const GOES: &str = "node2";

/// Waits until the pool has a pod on each node, or nothing would be proven; moves one if need be.
fn spread_the_pool() -> Result<()> {
    pool_is_ready()?;
    wait::until("a pod of the pool on each node", Duration::from_mins(2), || {
        let nodes = pool_nodes()?;
        if nodes.contains(GOES) && nodes.contains(STAYS) {
            return Ok(Some(()));
        }
        kubectl(&["--namespace", SYSTEM, "rollout", "restart", "deployment/codekeep-git"])?.accepted()?;
        std::thread::sleep(Duration::from_secs(2));
        pool_is_ready()?;
        // Pods that are on their way out count for the scheduler.
        std::thread::sleep(Duration::from_secs(8));
        Ok(None)
    })
}

fn pool_nodes() -> Result<String> {
    let path = "jsonpath={.items[*].spec.nodeName}";
    let selector = "app.kubernetes.io/component=git-server";
    kubectl(&["--namespace", SYSTEM, "get", "pods", "--selector", selector, "--output", path])?.accepted()
}

fn is_ready(node: &str) -> Result<bool> {
    let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
    Ok(kubectl(&["get", "node", node, "--output", path])?.accepted()? == "True")
}

#[test]
#[ignore = "needs a local cluster"]
fn a_node_is_drained_under_a_client_that_pushes() -> Result<()> {
    spread_the_pool()?;
    let tenant = ready_on_node("drain", Some(STAYS))?;
    let outcome = drain_while_pushing(&tenant);
    kubectl(&["uncordon", GOES])?.accepted()?;
    tenant.has_all("hello", outcome?)?;
    pool_is_ready()
}

fn drain_while_pushing(tenant: &Tenant) -> Result<usize> {
    let drain = || {
        kubectl(&["drain", GOES, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=150s"])?
            .accepted()
    };
    std::thread::scope(|scope| {
        let mut drained = None;
        let mut after = 0;
        let pushed = tenant.push_until("hello", |pushed| {
            if pushed == 2 {
                drained = Some(scope.spawn(drain));
            }
            after += usize::from(drained.as_ref().is_some_and(std::thread::ScopedJoinHandle::is_finished));
            Ok(after > 3)
        })?;
        if let Some(drained) = drained {
            drained.join().map_err(|_| anyhow::anyhow!("the drain panicked"))??;
        }
        ensure!(!pool_nodes()?.contains(GOES), "a git server is still on the node");
        Ok(pushed)
    })
}

#[test]
#[ignore = "needs a local cluster"]
fn a_node_that_is_cut_off_takes_nothing_with_it() -> Result<()> {
    spread_the_pool()?;
    let tenant = ready_on_node("cut", Some(STAYS))?;
    tenant.push("hello", "file1")?.accepted()?;
    component("cut", GOES)?;
    let outcome = (|| {
        // Connections to the lost pod hang until the cluster notices; then every push goes through at the first attempt.
        wait::until("the cluster to notice", Duration::from_mins(2), || Ok((!is_ready(GOES)?).then_some(())))?;
        wait::until("the first push", Duration::from_mins(1), || {
            Ok(tenant.sh("cd /clones/hello && touch file2 && git add . && (git commit -qm file2 || true) && timeout 10 git push -q origin HEAD")?.accepted().ok())
        })?;
        (3..=8).try_for_each(|turn| tenant.push("hello", &format!("file{turn}"))?.accepted().map(drop))
    })();
    component("heal", GOES)?;
    outcome?;
    wait::until("the node is back", Duration::from_mins(2), || is_ready(GOES).map(|ready| ready.then_some(())))?;
    pool_is_ready()?;
    // Whichever pod answers, the one that was away too, says what is true now.
    let tip = tenant.tip("hello")?;
    for _ in 0..20 {
        ensure!(tenant.tip("hello")? == tip, "a git server that was cut off answers from the past");
    }
    tenant.has_all("hello", 8)
}
