//! Stock git that asks for a bundle by itself, which the system's may be too old for: `cargo xtask test peers`.

use anyhow::{Result, ensure};
use tests::binary::path_with_newer_git;
use tests::{Server, wait};

use super::{Doors, Offer, PATIENCE, bundle, first_bundle};
use crate::bed::REPOSITORY;

/// Bare clones with and without the wish for a bundle; what the server sent for each.
fn clones(offer: &Offer, doors: &Doors, server: &Server, url: &str, name: &str) -> Result<()> {
    let (path, before) = (path_with_newer_git(), offer.clients.count("GET", ".bundle"));
    let sent = || server.metric("codekeep_git_sent_bytes_total", "");
    let (start, plain) = (sent()?, format!("{name}-plain"));
    let trace = doors.run(offer, &path, &["clone", "--bare", url, &plain])?;
    let without = sent()? - start;
    ensure!(!trace.contains("command=bundle-uri"), "a client that did not want it asked for a bundle");
    ensure!(offer.clients.count("GET", ".bundle") == before, "and read it");

    let start = sent()?;
    let trace = doors.run(offer, &path, &["-c", "transfer.bundleURI=true", "clone", "--bare", url, name])?;
    let with = sent()? - start;
    for part in ["command=bundle-uri", "bundle.mode=all", "bundle.heuristic=creationToken", "git-remote-http"] {
        ensure!(trace.contains(part), "{part} is not in {trace}");
    }
    ensure!(offer.clients.count("GET", ".bundle") == before + 1, "the bundle was not read: {trace}");
    ensure!(with < without / 2.0, "the server sent {with} bytes with a bundle, and {without} without");
    offer.is_like_any_clone(&offer.git.path(name), server)?;
    // What is there is fetched on top of, as always.
    doors.run(offer, &path, &["-C", name, "fetch", "origin", "+refs/heads/*:refs/heads/*"])?;
    Ok(())
}

#[test]
fn a_client_that_wants_bundles_reads_one_over_http_and_over_ssh() -> Result<()> {
    let offer = Offer::new()?;
    let doors = Doors::new(&offer)?;
    let server = doors.server(&offer)?;
    offer.started(&server)?;
    first_bundle(&server)?;
    clones(&offer, &doors, &server, &server.url("alice", REPOSITORY), "http.git")?;
    clones(&offer, &doors, &server, &doors.url(), "ssh.git")
}

#[test]
fn a_client_that_wants_bundles_does_without_one_that_is_lost() -> Result<()> {
    let offer = Offer::new()?;
    let doors = Doors::new(&offer)?;
    let server = doors.server(&offer)?;
    offer.started(&server)?;
    let (_, token) = first_bundle(&server)?;
    offer.lose_bundles()?;
    let before = offer.clients.count("GET", ".bundle");
    let url = server.url("alice", REPOSITORY);
    let arguments = ["-c", "transfer.bundleURI=true", "clone", "--bare", &url, "clone.git"];
    let trace = doors.run(&offer, &path_with_newer_git(), &arguments)?;
    ensure!(trace.contains("command=bundle-uri"), "{trace}");
    ensure!(offer.clients.count("GET", ".bundle") == before + 1, "it was not tried: {trace}");
    ensure!(
        wait::until("the same bundle", PATIENCE, || bundle(&server))?.1 == token,
        "it was not the one that is lost"
    );
    offer.is_like_any_clone(&offer.git.path("clone.git"), &server)
}
