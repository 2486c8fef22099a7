//! The steps between the start of the server and its verdict.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tests::report::spinner;
use tests::{Git, Server};

use crate::source::{Second, Source};

/// Where the history goes.
pub(crate) const REPOSITORY: &str = "team-a/hello";
const RECEIVED: &str = "codekeep_git_received_bytes_total";

/// Pushes all branches and tags in one go.
pub(crate) fn push_everything(git: &Git, source: &Source, server: &Server) -> Result<Duration> {
    let progress = spinner("pushing everything");
    let started = Instant::now();
    let url = server.url("alice", REPOSITORY);
    git.ok(&source.folder, &["push", "--quiet", &url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"])?;
    progress.finish_and_clear();
    Ok(started.elapsed())
}

/// Starts a second push and kills the server when half of it has arrived; gives the bytes that had.
pub(crate) fn push_and_kill(git: &Git, second: &Second, server: &mut Server) -> Result<u64> {
    let before = server.metric(RECEIVED, "")?;
    let url = server.url("alice", REPOSITORY);
    let mut command = git.command(&second.folder, &["push", "--quiet", &url, &second.refspec()]);
    let mut push = command.stderr(Stdio::null()).spawn().context("failed to start the second push")?;
    let half = Duration::from_mins(2);
    let arrived = tests::wait::until("half of the second push", half, || {
        if push.try_wait()?.is_some() {
            bail!("the second push ended before half of it had been counted: {}", server.log());
        }
        let arrived = as_bytes(server.metric(RECEIVED, "")? - before);
        Ok((arrived > second.bytes / 3).then_some(arrived))
    })?;
    server.kill()?;
    ensure!(!push.wait()?.success(), "git believes in a push whose server was killed before the end");
    Ok(arrived)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter of bytes, far below 2^53")]
fn as_bytes(counter: f64) -> u64 {
    counter.max(0.0) as u64
}

/// Clones all refs.
pub(crate) fn clone_everything(git: &Git, server: &Server, name: &str) -> Result<(PathBuf, Duration)> {
    let progress = spinner("cloning");
    let started = Instant::now();
    git.ok(&git.path(""), &["clone", "--quiet", "--mirror", &server.url("alice", REPOSITORY), name])?;
    progress.finish_and_clear();
    Ok((git.path(name), started.elapsed()))
}

/// Compares all refs and checks all objects.
pub(crate) fn check(git: &Git, folder: &Path, expected: &str, second: &Second) -> Result<()> {
    let found = git.refs(folder)?;
    ensure!(!found.contains(&second.line()), "the push that was cut off left a branch behind");
    if found != expected {
        let missing: Vec<&str> = expected.lines().filter(|line| !found.contains(line)).take(5).collect();
        let extra: Vec<&str> = found.lines().filter(|line| !expected.contains(line)).take(5).collect();
        bail!("refs differ: missing {missing:?}, not expected {extra:?}");
    }
    let progress = spinner("git fsck --full");
    git.fsck(folder)?;
    progress.finish_and_clear();
    Ok(())
}
