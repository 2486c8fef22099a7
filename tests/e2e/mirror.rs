//! `codekeep store mirror` between two real S3 servers while people push; then the first one dies for good.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tests::s3::SeaweedFs;
use tests::{Git, Server, ServerOptions, binary, wait};

use crate::bed::REPOSITORY;
use crate::{encryption, lfs};

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn mirror(from: &str, to: &str, cache: &TempDir, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(binary::codekeep()?);
    command.args(["store", "mirror", from, to, "--cache"]).arg(cache.path()).args(arguments);
    command.envs(SeaweedFs::credentials()).stdin(Stdio::null());
    Ok(command)
}

#[test]
fn the_first_bucket_is_lost_for_good_and_the_copy_is_served() -> Result<()> {
    let (mut first, second, git, cache) = (SeaweedFs::start()?, SeaweedFs::start()?, Git::new()?, TempDir::new()?);
    let (from, to) = (first.bucket("first")?, second.bucket("second")?);
    let manifests = encryption::encrypted()?;
    let options = |store: &str| ServerOptions {
        environment: SeaweedFs::credentials(),
        ..ServerOptions::new(manifests.path(), store)
    };
    lfs::install(&git)?;
    let server = Server::start(options(&from))?;
    let content = lfs::random(1, 12_000_000);
    let work = lfs::tracked(&git, &server.url("alice", REPOSITORY), "work", &[("large.bin", &content)])?;
    git.ok(&work, &["push", "--quiet", "origin", "main"])?;
    let copying = Running(mirror(&from, &to, &cache, &["--every", "1s"])?.stdout(Stdio::null()).spawn()?);
    for round in 0..6 {
        git.commit(&work, "note", &format!("{round}\n"))?;
        git.ok(&work, &["push", "--quiet", "origin", "main"])?;
    }
    let last = TempDir::new()?;
    wait::until("a copy of everything", Duration::from_mins(1), || {
        let done = mirror(&from, &to, &last, &["--dry-run"])?.output()?;
        Ok(done.status.success().then_some(()))
    })?;
    first.kill()?;
    drop((server, copying));

    let server = Server::start(options(&to))?;
    let clone = git.clone(&server.url("alice", REPOSITORY), "clone")?;
    ensure!(std::fs::read(clone.join("large.bin"))? == content, "the large file is another one");
    ensure!(std::fs::read_to_string(clone.join("note"))? == "5\n");
    git.fsck(&clone)?;
    git.commit(&clone, "note", "life goes on\n")?;
    git.ok(&clone, &["push", "--quiet", "origin", "main"])?;
    Ok(())
}

#[test]
fn what_is_no_copy_is_not_touched() -> Result<()> {
    let (s3, git, cache) = (SeaweedFs::start()?, Git::new()?, TempDir::new()?);
    let (from, to) = (s3.bucket("source")?, s3.bucket("copy")?);
    let manifests = encryption::encrypted()?;
    let options = |store: &str| ServerOptions {
        environment: SeaweedFs::credentials(),
        ..ServerOptions::new(manifests.path(), store)
    };
    let server = Server::start(options(&from))?;
    let source = tests::fixture::linear(&git, "source.git", 12)?;
    git.ok(&source, &["push", "--quiet", &server.url("alice", REPOSITORY), "main"])?;
    let done = mirror(&from, &to, &cache, &[])?.output()?;
    ensure!(
        done.status.success() && String::from_utf8_lossy(&done.stdout).contains("team-a/hello: copied"),
        "{done:?}"
    );
    // Somebody serves the copy, and pushes to both.
    let other = Server::start(options(&to))?;
    git.ok(&source, &["push", "--quiet", &other.url("alice", REPOSITORY), "main:refs/heads/there"])?;
    git.ok(&source, &["push", "--quiet", &server.url("alice", REPOSITORY), "main:refs/heads/here"])?;
    let refused = mirror(&from, &to, &cache, &[])?.output()?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(1) && told.contains("is not the one of the source"), "{told}");
    ensure!(git.remote_refs(&other.url("alice", REPOSITORY))?.contains("refs/heads/there"));
    let same = mirror(&from, &from, &cache, &[])?.output()?;
    ensure!(String::from_utf8_lossy(&same.stderr).contains("the same place"), "{same:?}");
    let gone = mirror("s3://nothing?region=us-east-1&endpoint=http://127.0.0.1:9&path-style=true", &to, &cache, &[])?;
    let gone = {
        let mut gone = gone;
        gone.output().context("failed to start codekeep")?
    };
    ensure!(!gone.status.success());
    Ok(())
}
