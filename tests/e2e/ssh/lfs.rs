//! Git LFS by an SSH remote: git-lfs is given a pass over SSH and goes on over HTTP.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests::{raw_http, wait};

use super::SshBed;
use crate::lfs::{install, random, tracked};

/// What `git-lfs-authenticate` says to alice.
fn authenticate(bed: &SshBed, operation: &str) -> Result<Value> {
    let (status, answer) = bed.ssh.run("alice", bed.address, &["git-lfs-authenticate /team-a/hello.git", operation])?;
    anyhow::ensure!(status == Some(0), "{}", answer.stderr);
    Ok(serde_json::from_str(&answer.stdout)?)
}

#[test]
fn large_files_of_an_ssh_remote_are_pushed_cloned_and_locked() -> Result<()> {
    let bed = SshBed::new()?;
    let git = &bed.bed.git;
    install(git)?;
    let content = random(1, 2_000_000);
    let work = tracked(git, &bed.url(), "work", &[("large.bin", &content)])?;
    git.ok(&work, &["config", "core.sshCommand", &bed.ssh.command_line("alice")])?;
    git.ok(&work, &["push", "--quiet", "origin", "main"])?;
    bed.ok(&bed.home(), &["clone", "--quiet", &bed.url(), "clone"])?;
    assert!(std::fs::read(git.path("clone").join("large.bin"))? == content, "it came back as another one");
    git.ok(&work, &["lfs", "lock", "large.bin"])?;
    assert!(git.ok(&work, &["lfs", "locks"])?.contains("alice"));

    let other = tracked(git, &bed.url(), "other", &[("new.bin", &random(2, 1_000))])?;
    git.ok(&other, &["config", "core.sshCommand", &bed.ssh.command_line("bob")])?;
    let refusal = git.run(&other, &["lfs", "push", "origin", "main"])?.refused()?;
    assert!(refusal.contains("no AccessPolicy allows codecommit:GitPush"), "{refusal}");
    Ok(())
}

#[test]
fn a_pass_is_for_the_large_files_of_one_repository_and_ends_with_the_key() -> Result<()> {
    let bed = SshBed::new()?;
    let answer = authenticate(&bed, "upload")?;
    let header = answer["header"]["Authorization"].as_str().context("no header")?;
    let href = answer["href"].as_str().context("no address")?;
    assert_eq!(href, format!("{}/info/lfs", bed.bed.server.bare_url("team-a/hello")));
    assert!(answer["expires_in"].as_u64().is_some_and(|seconds| (60..=3_600).contains(&seconds)), "{answer}");
    let get = |target: &str| -> Result<u16> {
        Ok(raw_http::send(bed.bed.server.address(), "GET", target, &[("Authorization", header)], b"")?.status)
    };
    assert_eq!(get("/team-a/hello/info/lfs/locks")?, 200);
    assert_eq!(get("/team-a/other/info/lfs/locks")?, 401);
    assert_eq!(get("/team-a/hello/info/refs?service=git-upload-pack")?, 401);
    bed.bed.manifests.remove("ssh-key-team-a-alice-laptop.yaml")?;
    wait::until("the end of the pass", Duration::from_secs(10), || {
        Ok((get("/team-a/hello/info/lfs/locks")? == 401).then_some(()))
    })
}
