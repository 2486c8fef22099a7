//! Reachability tables in use: maintenance makes one, a fresh server answers from it, and does without when it is damaged.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::history::{self, Plan};
use tests::{Server, fixture, wait};

use crate::bed::{Bed, REPOSITORY};
use crate::maintenance::files;

const HURRIED: [&str; 2] = ["--maintenance-interval", "1s"];
/// Maintenance that nobody sees.
const NEVER: [&str; 2] = ["--maintenance-interval", "30d"];

fn table(bed: &Bed) -> Result<Option<PathBuf>> {
    let is_table = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "reach");
    Ok(files(bed.store.path())?.into_iter().map(|(path, _)| path).find(is_table))
}

/// A clone of one branch, and how the server says that it made the pack.
fn clone_branch(bed: &Bed, server: &Server, name: &str) -> Result<String> {
    let (home, before) = (bed.git.path(""), server.log().len());
    let url = server.url("alice", REPOSITORY);
    bed.git
        .ok(&home, &["clone", "--quiet", "--bare", "--single-branch", "--no-tags", "--branch", "main", &url, name])?;
    bed.git.fsck(&bed.git.path(name))?;
    let log = server.log();
    let line = log[before..].lines().rev().find(|line| line.contains("fetch answered"));
    Ok(line.context("no fetch was answered")?.to_owned())
}

#[test]
fn a_clone_of_one_branch_is_answered_from_a_table_and_without_one_the_same() -> Result<()> {
    let bed = Bed::with(&HURRIED)?;
    let source =
        fixture::import(&bed.git, "source.git", |stream| history::write(Plan::of(1_500), stream, &mut |_| {}))?;
    bed.git.ok(&source, &["push", "--quiet", "--mirror", &bed.url()])?;
    let table = wait::until("a reachability table", Duration::from_mins(2), || table(&bed))?;
    wait::until("the log to name it", Duration::from_mins(1), || {
        Ok((bed.server.metric("codekeep_maintenance_done_total", "tabulate")? > 0.0).then_some(()))
    })?;
    let expected = bed.git.ok(&source, &["rev-list", "--objects", "refs/heads/main"])?.lines().count();

    let fresh = Server::start(bed.options().with(&NEVER))?;
    let mut number = 0;
    wait::until("an answer from the table", Duration::from_mins(1), || {
        number += 1;
        let name = format!("clone-{number}");
        let line = clone_branch(&bed, &fresh, &name)?;
        let objects = bed.git.ok(&bed.git.path(&name), &["rev-list", "--objects", "--all"])?.lines().count();
        ensure!(objects == expected, "{objects} objects instead of {expected}: {line}");
        Ok(line.contains("fetch.route=\"tabled\"").then_some(()))
    })?;

    let mut bytes = std::fs::read(&table)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&table, bytes)?;
    let unlucky = Server::start(bed.options().with(&NEVER))?;
    clone_branch(&bed, &unlucky, "first")?;
    wait::until("the damage to be told", Duration::from_secs(30), || {
        Ok(unlucky.log().contains("a reachability table cannot be used").then_some(()))
    })?;
    let line = clone_branch(&bed, &unlucky, "second")?;
    ensure!(line.contains("fetch.route=\"walked\""), "a damaged table was used: {line}");
    ensure!(!bed.server.log().contains("maintenance failed"), "{}", bed.server.log());
    Ok(())
}
