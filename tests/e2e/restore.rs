//! `codekeep restore` and `codekeep export`: what was comes back, by the binary alone, also of an encrypted repository and with a server
//! that runs.

use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tests::{Server, binary};

use crate::bed::{Bed, REPOSITORY};
use crate::{encryption, lfs};

/// Runs a subcommand on the bed's store, with a cache of its own.
fn codekeep(bed: &Bed, arguments: &[&str]) -> Result<Output> {
    let cache = TempDir::new()?;
    let mut command = Command::new(binary::codekeep()?);
    command.args(arguments).arg("--store").arg(format!("file:{}", bed.store.path().display()));
    command.arg("--manifests").arg(bed.manifests.path()).arg("--cache").arg(cache.path());
    command.output().context("failed to start codekeep")
}

fn done(bed: &Bed, arguments: &[&str]) -> Result<String> {
    let output = codekeep(bed, arguments)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn refused(bed: &Bed, arguments: &[&str]) -> Result<String> {
    let output = codekeep(bed, arguments)?;
    ensure!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The number of the newest entry.
fn newest(bed: &Bed) -> Result<u64> {
    let listed = done(bed, &["restore", REPOSITORY])?;
    let first = listed.lines().next().and_then(|line| line.split(' ').next());
    first.context("nothing is listed")?.parse().with_context(|| listed.clone())
}

#[test]
fn a_branch_that_was_rewound_and_one_that_was_deleted_come_back() -> Result<()> {
    let bed = Bed::of(encryption::encrypted()?, &[])?;
    let work = bed.started()?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "HEAD:refs/heads/feature"])?;
    bed.git.ok(&work, &["tag", "--annotate", "--message", "One", "first"])?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "first"])?;
    let good = newest(&bed)?;
    let refs = bed.git.remote_refs(&bed.url())?;
    bed.git.ok(&work, &["push", "--quiet", "--force", "origin", "HEAD~3:main", ":feature", ":first"])?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "HEAD~2:refs/heads/unwanted"])?;
    ensure!(bed.git.remote_refs(&bed.url())? != refs);

    let listed = done(&bed, &["restore", REPOSITORY])?;
    ensure!(listed.contains("refs/heads/feature deleted") && listed.contains("alice"), "{listed}");
    let at = good.to_string();
    let shown = done(&bed, &["restore", REPOSITORY, "--at", &at, "--dry-run"])?;
    ensure!(shown.contains("refs/heads/unwanted deleted") && shown.contains("nothing was changed"), "{shown}");
    ensure!(bed.git.remote_refs(&bed.url())? != refs, "a dry run changed something");
    done(&bed, &["restore", REPOSITORY, "--at", &at])?;
    // The server that runs tells of it with its next answer.
    ensure!(bed.git.remote_refs(&bed.url())? == refs);
    bed.clone_is_sound("clone.git")?;
    ensure!(done(&bed, &["restore", REPOSITORY, "--at", &at])?.contains("nothing to change"));
    ensure!(refused(&bed, &["restore", REPOSITORY, "--at", "1000000"])?.contains("the log ends with entry"));
    ensure!(refused(&bed, &["restore", "team-a/nothing", "--at", "1"])?.contains("no store holds"));
    ensure!(refused(&bed, &["restore", REPOSITORY, "--at", "yesterday"])?.contains("neither a time"));
    let long_ago = done(&bed, &["restore", REPOSITORY, "--at", "1990-01-01T00:00:00Z", "--dry-run"])?;
    ensure!(long_ago.contains("refs/heads/main deleted"), "{long_ago}");
    Ok(())
}

#[test]
fn another_repository_is_made_of_a_moment_with_its_large_files() -> Result<()> {
    let bed = Bed::of(encryption::encrypted()?, &[])?;
    lfs::install(&bed.git)?;
    let content = lfs::random(1, 3_000_000);
    let work = lfs::tracked(&bed.git, &bed.url(), "work", &[("a.bin", &content)])?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "main"])?;
    let good = newest(&bed)?.to_string();
    bed.git.commit(&work, "note", "more\n")?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "main"])?;
    let refs = bed.git.remote_refs(&bed.url())?;
    // From one that is encrypted to one that is not.
    let made = done(&bed, &["restore", REPOSITORY, "--at", &good, "--as", "team-a/other"])?;
    ensure!(made.contains("1 Git LFS objects"), "{made}");
    let clone = bed.git.clone(&bed.server.url("alice", "team-a/other"), "clone")?;
    ensure!(std::fs::read(clone.join("a.bin"))? == content);
    bed.git.fsck(&clone)?;
    let again = refused(&bed, &["restore", REPOSITORY, "--at", &good, "--as", "team-a/other"])?;
    ensure!(again.contains("is not empty"), "{again}");
    ensure!(bed.git.remote_refs(&bed.url())? == refs, "the first one was changed");
    ensure!(!clone.join("note").exists(), "it is of a later moment");
    Ok(())
}

#[test]
fn a_bundle_is_cloned_by_git_alone() -> Result<()> {
    let bed = Bed::of(encryption::encrypted()?, &[])?;
    let work = bed.started()?;
    bed.git.ok(&work, &["tag", "--annotate", "--message", "One", "first"])?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "first"])?;
    let bundle = bed.git.path("hello.bundle");
    let file = bundle.to_str().context("the folder is not UTF-8")?;
    done(&bed, &["export", REPOSITORY, "--output", file])?;
    bed.git.ok(&work, &["bundle", "verify", file])?;
    bed.git.ok(&bed.git.path(""), &["clone", "--quiet", "--mirror", file, "from-bundle.git"])?;
    ensure!(bed.git.refs(&bed.git.path("from-bundle.git"))? == bed.git.remote_refs(&bed.url())?);
    ensure!(refused(&bed, &["export", REPOSITORY, "--output", file])?.contains("exists"));
    // And back in, as the last resort.
    bed.git.ok(
        &bed.git.path("from-bundle.git"),
        &["push", "--quiet", "--mirror", &bed.server.url("alice", "team-a/other")],
    )?;
    ensure!(bed.git.remote_refs(&bed.server.url("alice", "team-a/other"))? == bed.git.remote_refs(&bed.url())?);
    Ok(())
}

#[test]
fn an_empty_installation_serves_what_the_bucket_has() -> Result<()> {
    let bed = Bed::of(encryption::encrypted()?, &[])?;
    bed.started()?;
    let refs = bed.git.remote_refs(&bed.url())?;
    // Another machine: nothing but the bucket and the manifests, which are in Git themselves.
    let second = Server::start(bed.options())?;
    ensure!(bed.git.remote_refs(&second.url("alice", REPOSITORY))? == refs);
    let clone = bed.git.clone(&second.url("alice", REPOSITORY), "clone")?;
    bed.git.fsck(&clone)
}
