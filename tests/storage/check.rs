//! `codekeep store check`: what is fit, what is not, what cannot be asked; and nothing is left in the store.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use store::ObjectStore as _;
use tempfile::TempDir;
use tests::fault_proxy::{Fault, Rule};
use tests::s3::{S3Kind, S3Server, SeaweedFs};
use tests::{process, store_check, wait};

use crate::fixture::{ADMIN, Proxied, client, on_each_server};

on_each_server!(a_bucket_is_fit);

#[test]
fn a_folder_is_fit_and_left_as_it_was() -> Result<()> {
    let folder = TempDir::new()?;
    let url = format!("file:{}", folder.path().display());
    let report = store_check::report(&url, &[])?;
    ensure!(report.code == 0 && report.json["verdict"] == "fit", "{}", report.json);
    ensure!(report.check("race-of-many")?["outcome"] == "ok", "{}", report.json);
    let figures = report.check("latency")?["measures"].as_array().context("no figures")?;
    ensure!(figures.iter().any(|figure| figure["name"] == "create.p99" && figure["value"].as_f64() > Some(0.0)));
    let probes = std::fs::read_dir(folder.path().join("probe"))?.count();
    ensure!(probes == 0, "{probes} folders were left");
    let text = store_check::text(&url, &[])?;
    ensure!(text.ok && text.stdout.contains("ok        create-if-absent"), "{}", text.stdout);
    // How fast the disk is at the moment is not what is tested.
    let verdict = text.stdout.replace("; look at the warnings (latency)", "");
    ensure!(verdict.trim_end().ends_with(&format!("Codekeep runs on {url}.")), "{}", text.stdout);
    Ok(())
}

async fn a_bucket_is_fit(kind: S3Kind) -> Result<()> {
    let bucket = Proxied::start(kind).await?;
    let report = store_check::report(&bucket.url(), &S3Server::credentials())?;
    ensure!(report.code == 0 && report.json["verdict"] == "fit", "{}", report.json);
    let warnings = report.ended("warning").into_iter().filter(|name| name != "latency");
    ensure!(warnings.eq(["encryption"]), "{}", report.json);
    ensure!(report.check("wrong-secret")?["found"] == "reading with a wrong secret is refused (403)");
    ensure!(bucket.store.list("", None, 10).await?.is_empty(), "the checks left something");
    Ok(())
}

#[tokio::test]
async fn each_flaw_of_a_bucket_has_its_line_on_minio() -> Result<()> {
    let bucket = Proxied::start(S3Kind::MinIo).await?;
    let (url, credentials) = (bucket.url(), S3Server::credentials());
    for (rule, check, outcome, words) in [
        (
            Rule::new("PUT", "/once", Fault::DoneBut(200, "")).after(1),
            "create-if-absent",
            "failed",
            "ignores If-None-Match",
        ),
        (Rule::new("GET", "/missing", Fault::Status(403, "AccessDenied")), "missing-key", "failed", "s3:ListBucket"),
        (Rule::new("PUT", "/race-32-0", Fault::DoneBut(200, "")), "race-of-many", "failed", "simultaneous creates"),
        (Rule::new("GET", "/ranges", Fault::DoneBut(200, "")), "ranges", "failed", "whole objects"),
        (Rule::new("GET", "/secret", Fault::DoneBut(200, "")), "anonymous", "warning", "THE BUCKET IS OPEN"),
        (
            Rule::new("POST", "/large", Fault::Status(501, "NotImplemented")),
            "large-object",
            "failed",
            "does not implement",
        ),
        (Rule::new("DELETE", "/deleted", Fault::Status(403, "AccessDenied")), "delete", "failed", "s3:DeleteObject"),
    ] {
        bucket.proxy.set([rule]);
        let report = store_check::report(&url, &credentials)?;
        let found = report.check(check)?;
        ensure!(
            found["outcome"] == outcome && found["found"].as_str().is_some_and(|text| text.contains(words)),
            "{found}"
        );
        ensure!(found["advice"].is_string() && found["why"].is_string(), "{found}");
        ensure!(report.code == i32::from(outcome == "failed"), "{check}: {:?}", report.ended("failed"));
    }
    bucket.proxy.set([]);
    let left = bucket.store.list("", None, 10).await?;
    // Only what it was not allowed to delete.
    ensure!(left.iter().all(|object| object.key.ends_with("/deleted")), "the checks left {left:?}");
    Ok(())
}

#[tokio::test]
async fn whether_clients_can_use_the_address_that_they_get_is_told() -> Result<()> {
    let bucket = Proxied::start(S3Kind::SeaweedFs).await?;
    let (url, nobody) = (bucket.url(), tests::server::free_address()?);
    let outside = format!("localhost:{}", bucket.server.address().port());
    for (address, outcome, words) in
        [(outside, "ok", "can send nothing else"), (nobody.to_string(), "warning", "not by the address of lfs-direct")]
    {
        let report = store_check::report(&format!("{url}&lfs-direct=http://{address}"), &S3Server::credentials())?;
        let check = report.check("direct-upload")?;
        ensure!(report.code == 0 && check["outcome"] == outcome, "{check}");
        ensure!(check["found"].as_str().is_some_and(|text| text.contains(words)), "{check}");
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_asked_has_no_verdict_and_what_may_only_read_is_refused() -> Result<()> {
    let server = SeaweedFs::start()?;
    let url = server.bucket("asked")?;
    let mut wrong = SeaweedFs::credentials();
    wrong[1].1 = "wrong".to_owned();
    let nobody = tests::server::free_address()?;
    let away = format!("s3://asked?region=us-east-1&endpoint=http://{nobody}&path-style=true");
    let absent = url.replace("s3://asked", "s3://absent");
    for (url, credentials, code, check, words) in [
        (&url, wrong, 2, "reach", "access key"),
        (&away, SeaweedFs::credentials(), 2, "reach", "check endpoint"),
        (&absent, SeaweedFs::credentials(), 2, "reach", "create the bucket"),
        (&url, SeaweedFs::read_only_credentials(), 1, "create-if-absent", "s3:PutObject"),
    ] {
        let report = store_check::report(url, &credentials)?;
        ensure!(report.code == code, "{url}: {} {}", report.code, report.json);
        let found = report.check(check)?.to_string();
        ensure!(found.contains(words), "{found}: should speak of {words}");
    }
    Ok(())
}

#[tokio::test]
async fn a_check_that_is_stopped_leaves_nothing() -> Result<()> {
    let bucket = Proxied::start(S3Kind::SeaweedFs).await?;
    bucket.proxy.set([Rule::new("PUT", "partNumber=2", Fault::Delay(Duration::from_mins(1)))]);
    let mut child = store_check::start(&bucket.url(), &S3Server::credentials())?;
    wait::until("the upload in parts", Duration::from_mins(2), || {
        Ok((bucket.proxy.count("PUT", "partNumber=2") > 0).then_some(()))
    })?;
    process::signal(child.id(), "INT")?;
    let status = child.wait()?;
    let mut text = String::new();
    child.stdout.take().context("no standard output")?.read_to_string(&mut text)?;
    ensure!(status.code() == Some(2) && text.contains("it was stopped"), "{status}: {text}");
    ensure!(bucket.store.list("", None, 10).await?.is_empty(), "the checks left something");
    ensure!(bucket.proxy.count("DELETE", "uploadId") > 0, "the upload in parts was not given up");
    let direct = client("test", bucket.server.address(), ADMIN).await?;
    ensure!(direct.list("", None, 10).await?.is_empty(), "the checks left something behind the proxy");
    Ok(())
}
