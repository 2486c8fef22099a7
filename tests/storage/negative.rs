//! Servers that would lose pushes: `codekeep store check` and `codekeep serve` refuse each of them, and say why.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::s3::{Unfit, UnfitServer};
use tests::{Manifests, Server, ServerOptions, store_check};

/// Both refuse, for the reason that this check has found.
fn refused(kind: Unfit, check: &str, words: &str) -> Result<()> {
    let (server, manifests) = (UnfitServer::start(kind)?, Manifests::standard()?);
    let report = store_check::report(&server.url(), &server.credentials())?;
    ensure!(report.code == 1 && report.json["verdict"] == "refused", "{kind:?}: {}", report.json);
    let found = report.check(check)?;
    ensure!(found["outcome"] == "failed", "{kind:?}: {found}");
    ensure!(found["found"].as_str().is_some_and(|text| text.contains(words)), "{kind:?}: {found}");
    let text = store_check::text(&server.url(), &server.credentials())?;
    ensure!(
        !text.ok && text.stdout.contains("Codekeep DOES NOT RUN") && text.stdout.contains(words),
        "{}",
        text.stdout
    );

    let mut options = ServerOptions::new(manifests.path(), server.url());
    options.environment = server.credentials();
    let log = Server::start_in_vain(options, Duration::from_mins(2))?;
    ensure!(log.contains("refused to serve from the store") && log.contains(words), "{kind:?}: {log}");
    Ok(())
}

#[test]
fn s3rver_ignores_the_condition() -> Result<()> {
    refused(Unfit::S3rver, "create-if-absent", "it ignores If-None-Match")
}

#[test]
fn rclone_ignores_the_condition() -> Result<()> {
    refused(Unfit::Rclone, "create-if-absent", "it ignores If-None-Match")
}

#[test]
fn garage_ignores_the_condition() -> Result<()> {
    refused(Unfit::Garage, "create-if-absent", "it ignores If-None-Match")
}

#[test]
fn s3s_fs_checks_the_condition_without_a_lock() -> Result<()> {
    refused(Unfit::S3sFs, "race", "simultaneous creates of one key")
}

#[test]
fn a_server_that_asks_nobody_for_a_signature_is_called_open() -> Result<()> {
    let server = UnfitServer::start(Unfit::S3rver)?;
    let report = store_check::report(&server.url(), &server.credentials())?;
    for check in ["anonymous", "wrong-secret"] {
        let found = report.check(check)?;
        let open = found["found"].as_str().is_some_and(|text| text.contains("THE BUCKET IS OPEN"));
        ensure!(found["outcome"] == "warning" && open, "{found}");
    }
    ensure!(report.ended("failed").contains(&"ranges".to_owned()), "{}", report.json);
    Ok(())
}
