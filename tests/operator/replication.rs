//! Replicated Repositories on a cluster: the condition, a promotion while a client pushes, names that are no store's.
//!
//! The pool needs a second store `far`, as the local cluster has one.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::kube::{Tenant, condition, dedicated, give_credentials, ready, repository};
use tests::wait;

fn replicated(mode: &str, primary: Option<&str>) -> Value {
    let mut replication = json!({"mode": mode, "stores": ["far"]});
    if let Some(primary) = primary {
        replication["primary"] = json!(primary);
    }
    json!({"replication": replication})
}

fn primary(tenant: &Tenant) -> Result<Value> {
    Ok(tenant.object("repository/hello")?["status"]["replication"]["primary"].clone())
}

#[test]
#[ignore = "needs a cluster"]
fn another_store_is_promoted_and_back_while_a_client_pushes() -> Result<()> {
    let tenant = ready("replicated")?;
    tenant.apply(&repository("hello", &replicated("Synchronous", None)))?;
    tenant.reason("repository/hello", "Replicated", "InStep")?;
    ensure!(primary(&tenant)? == "default", "the store of the Repository is the first primary");
    // Some pushes in each place before it moves on.
    let (mut turns, mut there) = (["far", "default"].iter(), 0);
    let mut wanted = "default";
    let pushed = tenant.push_until("hello", |pushed| {
        ensure!(pushed < 300, "the primary is not {wanted}");
        there = if primary(&tenant)? == wanted { there + 1 } else { 0 };
        if there <= 3 {
            return Ok(false);
        }
        let Some(next) = turns.next() else { return Ok(true) };
        (wanted, there) = (next, 0);
        tenant.apply(&repository("hello", &replicated("Synchronous", Some(next))))?;
        Ok(false)
    })?;
    tenant.has_all("hello", pushed)?;
    tenant.reason("repository/hello", "Replicated", "InStep")?;
    let status = tenant.object("repository/hello")?["status"]["replication"].clone();
    let replica =
        json!({"name": "far", "generation": status["stores"][0]["generation"], "lagEntries": 0, "lagSeconds": 0});
    ensure!(status["stores"] == json!([replica]) && status["epoch"] == 2, "{status}");
    let events =
        tenant.kubectl(&["get", "events.events.k8s.io", "--field-selector", "reason=Promoted", "--output", "json"])?;
    let events: Value = serde_json::from_str(&events.accepted()?)?;
    let notes: Vec<&str> =
        events["items"].as_array().into_iter().flatten().filter_map(|one| one["note"].as_str()).collect();
    ensure!(notes.iter().any(|note| note.contains("'far' takes pushes now")), "{notes:?}");
    let columns = tenant.kubectl(&["get", "repository", "hello", "--output", "wide"])?.accepted()?;
    ensure!(columns.contains("REPLICATION LAG"), "{columns}");
    Ok(())
}

#[test]
#[ignore = "needs a cluster"]
fn a_name_that_is_no_stores_is_told_and_the_repository_is_served() -> Result<()> {
    let tenant = ready("misnamed")?;
    tenant.apply(&repository("hello", &json!({"replication": {"stores": ["fra"]}})))?;
    let told = tenant.reason("repository/hello", "Replicated", "UnknownStore")?;
    ensure!(told["message"].as_str().is_some_and(|text| text.contains("did you mean far?")), "{told}");
    ensure!(condition(&tenant.object("repository/hello")?, "Ready")["status"] == "True");
    tenant.push("hello", "one")?.accepted()?;
    tenant.apply(&repository("hello", &replicated("Asynchronous", None)))?;
    tenant.reason("repository/hello", "Replicated", "InStep")?;
    tenant.push("hello", "two")?.accepted()?;
    // What was there before the replica is copied too.
    let tip = tenant.tip("hello")?;
    tenant.apply(&repository("hello", &replicated("Asynchronous", Some("far"))))?;
    wait::until("the promotion", Duration::from_mins(1), || Ok((primary(&tenant)? == "far").then_some(())))?;
    ensure!(tenant.tip("hello")? == tip, "the branch is another");
    tenant.push("hello", "three")?.accepted().map(drop)
}

#[test]
#[ignore = "needs a cluster"]
fn pods_of_its_own_know_all_stores_of_their_repository() -> Result<()> {
    let tenant = ready("replicated-own")?;
    give_credentials(&tenant, "store")?;
    let mut spec = dedicated("store");
    spec["replication"] = replicated("Synchronous", None)["replication"].clone();
    tenant.apply(&repository("hello", &spec))?;
    wait::until("its own pods serve", Duration::from_secs(90), || {
        Ok((tenant.object("repository/hello")?["status"]["servingMode"] == "Dedicated").then_some(()))
    })?;
    tenant.push("hello", "one")?.accepted()?;
    tenant.reason("repository/hello", "Replicated", "InStep")?;
    spec["replication"] = replicated("Synchronous", Some("far"))["replication"].clone();
    tenant.apply(&repository("hello", &spec))?;
    wait::until("the promotion", Duration::from_mins(1), || Ok((primary(&tenant)? == "far").then_some(())))?;
    tenant.push("hello", "two")?.accepted().map(drop)
}
