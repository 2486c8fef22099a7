//! A way to the bucket that delays, refuses and loses: commits stay honest, everything else goes on.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use store::{Create, ObjectStore, StoreError};
use tempfile::TempDir;
use tests::fault_proxy::{Fault, Rule};
use tests::s3::S3Kind;

use crate::fixture::{Proxied, on_each_server};

on_each_server!(
    a_create_is_one_attempt_and_honest_about_its_outcome,
    everything_else_is_tried_again,
    a_failed_transfer_leaves_nothing_behind,
    a_large_upload_whose_last_answer_is_lost_is_there
);

async fn a_create_is_one_attempt_and_honest_about_its_outcome(kind: S3Kind) -> Result<()> {
    let Proxied { proxy, store, server: _server } = Proxied::start(kind).await?;
    let faults = [
        ("answer-lost", Fault::AnswerLost, true),
        ("request-lost", Fault::RequestLost, false),
        ("conflict", Fault::Status(409, "ConditionalRequestConflict"), false),
        ("unavailable", Fault::Status(503, "SlowDown"), false),
        ("done-but-500", Fault::DoneBut(500, "InternalError"), true),
        ("request-time-out", Fault::Status(400, "RequestTimeout"), false),
    ];
    for (name, fault, carried_out) in faults {
        let key = format!("log/{name}");
        proxy.set([Rule::new("PUT", &key, fault).times(1)]);
        let answer = store.create(&key, Bytes::from_static(b"mine")).await;
        ensure!(matches!(answer, Err(StoreError::Unknown { .. })), "{name}: {answer:?}");
        ensure!(proxy.count("PUT", &key) == 1, "{name}: the create was tried again");
        ensure!(store.get(&key).await?.is_some() == carried_out, "{name}: a read tells what happened");
        let again = store.create(&key, Bytes::from_static(b"other")).await?;
        ensure!((again == Create::Exists) == carried_out, "{name}: {again:?}");
    }
    Ok(())
}

async fn everything_else_is_tried_again(kind: S3Kind) -> Result<()> {
    let Proxied { proxy, store, server: _server } = Proxied::start(kind).await?;
    let folder = TempDir::new()?;
    let (up, down) = (folder.path().join("up"), folder.path().join("down"));
    let content = tests::random::Sequence::new(3).bytes(70_000_000);
    std::fs::write(&up, &content)?;
    proxy.set([Rule::new("PUT", "hint", Fault::Status(503, "SlowDown")).times(2)]);
    store.put("hint", Bytes::from_static(b"a hint of some length")).await?;
    proxy.set([Rule::new("GET", "hint", Fault::Truncated(5)).times(2)]);
    ensure!(store.get("hint").await?.as_deref() == Some(&b"a hint of some length"[..]), "a body that was cut off");
    proxy.set([Rule::new("GET", "list-type", Fault::AnswerLost).times(1)]);
    ensure!(store.list("hin", None, 10).await?.len() == 1, "a listing that was lost");
    proxy.set([
        Rule::new("PUT", "partNumber=2", Fault::AnswerLost).times(1),
        Rule::new("POST", "uploadId", Fault::Delay(Duration::from_millis(200))).times(1),
    ]);
    store.upload("packs/big", &up).await?;
    proxy.set([Rule::new("GET", "packs/big", Fault::Truncated(1_000_000)).times(2)]);
    ensure!(
        store.download("packs/big", &down, content.len() as u64).await? && std::fs::read(&down)? == content,
        "a download in pieces"
    );
    proxy.set([Rule::new("DELETE", "hint", Fault::AnswerLost).times(1)]);
    store.delete("hint").await?;
    Ok(())
}

async fn a_failed_transfer_leaves_nothing_behind(kind: S3Kind) -> Result<()> {
    let Proxied { proxy, store, server: _server } = Proxied::start(kind).await?;
    let folder = TempDir::new()?;
    let (up, down) = (folder.path().join("up"), folder.path().join("down"));
    std::fs::write(&up, vec![7; 70_000_000])?;
    proxy.set([Rule::new("PUT", "partNumber=2", Fault::Status(403, "AccessDenied"))]);
    let refused = store.upload("packs/big", &up).await;
    ensure!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    ensure!(proxy.count("DELETE", "uploadId") == 1, "the parts were not given up");
    ensure!(store.get("packs/big").await?.is_none(), "half an object");
    proxy.set([]);
    store.upload("packs/big", &up).await?;
    proxy.set([Rule::new("GET", "packs/big", Fault::Truncated(10))]);
    ensure!(store.download("packs/big", &down, 70_000_000).await.is_err(), "a download that never completes");
    ensure!(std::fs::read_dir(folder.path())?.count() == 1, "a half download was left in the folder");
    Ok(())
}

async fn a_large_upload_whose_last_answer_is_lost_is_there(kind: S3Kind) -> Result<()> {
    let Proxied { proxy, store, server: _server } = Proxied::start(kind).await?;
    let folder = TempDir::new()?;
    let up = folder.path().join("up");
    std::fs::write(&up, tests::random::Sequence::new(4).bytes(40_000_000))?;
    proxy.set([Rule::new("POST", "uploadId", Fault::AnswerLost)]);
    store.upload("packs/large", &up).await?;
    ensure!(proxy.count("POST", "uploadId") > 1, "the last call was not lost");
    proxy.set([Rule::new("POST", "uploadId", Fault::RequestLost)]);
    ensure!(store.upload("packs/other", &up).await.is_err(), "an upload that was never completed");
    Ok(())
}
