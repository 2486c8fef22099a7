//! The start-up proof: passed by what is fit, refused in words by what is not.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use model::clock::SystemRandom;
use store::{Direct, ObjectStore, probe};
use tests::fault_proxy::{Fault, Rule};
use tests::s3::S3Kind;

use crate::fixture::{ADMIN, Proxied, READER, client, folder, metrics, on_each_server};

on_each_server!(a_bucket_passes_and_each_flaw_is_refused, what_clients_could_do_beyond_what_was_signed_is_found);

#[tokio::test]
async fn a_folder_passes_and_is_left_clean() -> Result<()> {
    let (_folder, store) = folder().await?;
    probe::prove(&store, &SystemRandom).await?;
    ensure!(store.list("", None, 10).await?.is_empty(), "the proof left something");
    Ok(())
}

async fn a_bucket_passes_and_each_flaw_is_refused(kind: S3Kind) -> Result<()> {
    let Proxied { proxy, store, server } = Proxied::start(kind).await?;
    let start = Instant::now();
    probe::prove(&store, &SystemRandom).await?;
    eprintln_duration(start);
    ensure!(store.list("", None, 10).await?.is_empty(), "the proof left something");
    let flaws = [
        (Rule::new("PUT", "/once", Fault::DoneBut(200, "")).after(1), "ignores If-None-Match"),
        (Rule::new("PUT", "/once", Fault::Status(500, "InternalError")).after(1), "does not answer 412"),
        (Rule::new("GET", "/missing", Fault::Status(403, "AccessDenied")), "s3:ListBucket"),
        (Rule::new("PUT", "/probe/", Fault::Status(403, "RequestTimeTooSkewed")), "synchronise"),
        (Rule::new("PUT", "/probe/", Fault::Status(301, "PermanentRedirect")), "region="),
        (Rule::new("PUT", "/probe/", Fault::Status(501, "NotImplemented")), "does not implement"),
    ];
    for (rule, words) in flaws {
        proxy.set([rule]);
        let refusal = refusal(&store).await;
        ensure!(refusal.contains(words), "{refusal}: should speak of {words}");
    }
    let mut strangers = vec![("absent", ADMIN, "create the bucket"), ("test", ("testkey", "wrong"), "access key")];
    if kind == S3Kind::SeaweedFs {
        // Who may only read is known to this one only.
        strangers.push(("test", READER, "s3:PutObject"));
    }
    for (bucket, key, words) in strangers {
        let refusal = refusal(&client(bucket, server.address(), key).await?).await;
        ensure!(refusal.contains(words), "{refusal}: should speak of {words}");
    }
    Ok(())
}

async fn what_clients_could_do_beyond_what_was_signed_is_found(kind: S3Kind) -> Result<()> {
    let bucket = Proxied::start(kind).await?;
    let (keys, url) = (tempfile::TempDir::new()?, format!("{}&lfs-direct=true", bucket.url()));
    for (name, value) in [("AWS_ACCESS_KEY_ID", ADMIN.0), ("AWS_SECRET_ACCESS_KEY", ADMIN.1)] {
        std::fs::write(keys.path().join(name), value)?;
    }
    let flaw = async || {
        let opened = Direct::open(&url.parse()?, Some(keys.path()), &metrics()?, &SystemRandom).await?;
        let direct = opened.context("clients do not reach it")?;
        anyhow::Ok(direct.flaw().map(str::to_owned))
    };
    ensure!(flaw().await?.is_none(), "{:?}", flaw().await?);
    // In this order: other bytes, no headers, a copy, what was signed, the same again.
    let at = |nth, fault| Rule::new("PUT", "/direct?", fault).after(nth).times(1);
    for (rule, words) in [
        (at(0, Fault::DoneBut(200, "")), "bytes that do not have the SHA-256"),
        (at(1, Fault::DoneBut(200, "")), "without headers that were signed"),
        (at(2, Fault::DoneBut(200, "")), "copies any other object"),
        (at(2, Fault::Status(500, "InternalError")), "not clearly refuse"),
        (at(3, Fault::Status(403, "AccessDenied")), "refuses what was signed"),
        (at(4, Fault::DoneBut(200, "")), "write it again"),
    ] {
        bucket.proxy.set([rule]);
        let found = flaw().await?.unwrap_or_default();
        ensure!(found.contains(words), "{found:?}: should speak of {words}");
    }
    ensure!(bucket.store.list("", None, 10).await?.is_empty(), "the proof left something");
    Ok(())
}

async fn refusal(store: &dyn ObjectStore) -> String {
    probe::prove(store, &SystemRandom)
        .await
        .map_or_else(|refusal| format!("{:#}", anyhow::Error::from(refusal)), |()| "passed".to_owned())
}

/// For whoever runs this by hand: contention is slow on some servers.
#[expect(clippy::print_stderr, reason = "a figure of the test run")]
fn eprintln_duration(start: Instant) {
    eprintln!("the proof took {:?}", start.elapsed());
}
