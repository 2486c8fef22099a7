//! LFS while things break: a server that is killed in the middle of an upload, a bucket that dies in the middle of a download, a cache
//! disk that is full.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::fault_proxy::{Fault, FaultProxy, Rule};
use tests::manifests::PASSWORD;
use tests::raw_http::{basic, send};
use tests::s3::S3Kind;
use tests::{Git, Manifests, Server, ServerOptions, wait};

use super::{REPOSITORY, install, random, tracked};
use crate::disk::SmallDisk;
use crate::pair::Servers;

const PATIENCE: Duration = Duration::from_mins(1);

fn two_servers() -> Result<Servers> {
    let servers = Servers::start(S3Kind::SeaweedFs, 2)?;
    install(&servers.git)?;
    Ok(servers)
}

/// The name of the only object of a work tree.
fn oid(git: &Git, work: &Path) -> Result<String> {
    let listed = git.ok(work, &["lfs", "ls-files", "--long"])?;
    Ok(listed.chars().take(64).collect())
}

/// A new clone without the objects; they come with `git lfs pull`.
fn bare_of_objects(git: &Git, url: &str, name: &str) -> Result<std::path::PathBuf> {
    let mut command = git.command(&git.path(""), &["clone", "--quiet", "--branch", "large", url, name]);
    ensure!(command.env("GIT_LFS_SKIP_SMUDGE", "1").status()?.success(), "the clone without objects failed");
    Ok(git.path(name))
}

#[test]
fn a_server_killed_before_the_sums_are_written_leaves_nothing_to_be_seen() -> Result<()> {
    let mut servers = two_servers()?;
    let content = random(1, 9_000_000);
    let work = tracked(&servers.git, &servers.url(0), "work", &[("a.bin", &content)])?;
    let oid = oid(&servers.git, &work)?;
    servers.proxies[0].set([Rule::new("PUT", ".sums", Fault::RequestLost)]);
    let mut push = servers.git.command(&work, &["push", "--quiet", "origin", "HEAD:refs/heads/large"]);
    let mut push = push.stderr(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let reached = wait::until("the sums to be written", PATIENCE, || {
        Ok((servers.proxies[0].count("PUT", ".sums") > 0).then_some(()))
    });
    servers.running.remove(0).kill()?;
    let pushed = push.wait()?;
    reached?;
    ensure!(!pushed.success(), "a push through a killed server succeeded");
    ensure!(
        servers.proxies[0].count("PUT", &format!("/lfs/{oid}?")) + servers.proxies[0].count("POST", &oid) > 0,
        "the content was not sent"
    );

    // The other server has nothing, says so, and takes it.
    let url = servers.url(0);
    let authorization = basic("alice", PASSWORD);
    let target = format!("/{REPOSITORY}/info/lfs/objects/{oid}");
    let asked = send(servers.running[0].address(), "GET", &target, &[("Authorization", &authorization)], b"")?;
    ensure!(asked.status == 404, "{} {}", asked.status, asked.text());
    ensure!(!servers.git.remote_refs(&url)?.contains("refs/heads/large"), "the branch came without its object");
    servers.git.ok(&work, &["push", "--quiet", &url, "HEAD:refs/heads/large"])?;
    ensure!(servers.proxies[1].count("PUT", ".sums") == 1, "the object was taken for one that is there");
    let clone = bare_of_objects(&servers.git, &url, "clone")?;
    servers.git.ok(&clone, &["lfs", "pull"])?;
    ensure!(std::fs::read(clone.join("a.bin"))? == content);
    Ok(())
}

#[test]
fn a_bucket_that_dies_in_a_download_fails_it_cleanly_and_git_lfs_goes_on_when_it_is_back() -> Result<()> {
    let servers = two_servers()?;
    let content = random(1, 6_000_000);
    let work = tracked(&servers.git, &servers.url(0), "work", &[("a.bin", &content)])?;
    servers.git.ok(&work, &["push", "--quiet", "origin", "HEAD:refs/heads/large"])?;
    let (git, part) = (&servers.git, format!("/lfs/{}?", oid(&servers.git, &work)?));
    let dies = |first| {
        [Rule::new("GET", &part, Fault::Truncated(2_500_000)).times(first), Rule::new("GET", &part, Fault::RequestLost)]
    };
    let clone = bare_of_objects(git, &servers.url(1), "clone")?;
    git.ok(&clone, &["config", "lfs.transfer.maxretries", "1"])?;
    servers.proxies[1].set(dies(1));
    let failed = git.run(&clone, &["lfs", "pull"])?;
    ensure!(!failed.ok, "a download from a dead bucket succeeded");
    let pointer = std::fs::read(clone.join("a.bin"))?;
    ensure!(pointer.starts_with(b"version https://git-lfs"), "something else than the pointer is in the work tree");
    ensure!(servers.running[1].log().contains("lfs download failed"), "{}", servers.running[1].log());
    servers.proxies[1].set([]);
    git.ok(&clone, &["lfs", "pull"])?;
    ensure!(std::fs::read(clone.join("a.bin"))? == content, "other bytes came back");

    // One that comes back in time is noticed by nobody.
    let clone = bare_of_objects(git, &servers.url(1), "second")?;
    servers.proxies[1].set([Rule::new("GET", &part, Fault::Truncated(2_500_000)).times(2)]);
    git.ok(&clone, &["lfs", "pull"])?;
    ensure!(servers.proxies[1].faults() > 2, "the bucket was never asked");
    ensure!(std::fs::read(clone.join("a.bin"))? == content, "other bytes came back");
    Ok(())
}

#[test]
fn a_line_that_breaks_in_the_middle_costs_what_was_not_there_yet() -> Result<()> {
    let bed = super::bed()?;
    let line = FaultProxy::start(bed.server.address())?;
    let url = format!("http://alice:{PASSWORD}@{}/{REPOSITORY}", line.address());
    let content = random(1, 3_000_000);
    let work = tracked(&bed.git, &url, "work", &[("a.bin", &content)])?;
    // An upload is sent again as a whole. The first request for an object is without a credential, and refused.
    line.set([Rule::new("PUT", "/objects/", Fault::RequestLost).after(1).times(1)]);
    bed.git.ok(&work, &["push", "--quiet", "origin", "HEAD:refs/heads/large"])?;
    ensure!(line.faults() == 1 && line.count("PUT", "/objects/") >= 3, "the upload did not break off");

    let clone = bare_of_objects(&bed.git, &url, "clone")?;
    let before = bed.server.metric("codekeep_git_sent_bytes_total", "")?;
    // The server has sent all of it, and the line has lost the last million.
    line.set([Rule::new("GET", "/objects/", Fault::Truncated(2_000_000)).after(1).times(1)]);
    bed.git.ok(&clone, &["lfs", "pull"])?;
    ensure!(std::fs::read(clone.join("a.bin"))? == content);
    ensure!(line.faults() == 2 && line.count("GET", "/objects/") == 3, "the download did not break off");
    let sent = bed.server.metric("codekeep_git_sent_bytes_total", "")? - before;
    ensure!((4e6..4.2e6).contains(&sent), "{sent} bytes were sent");
    Ok(())
}

#[test]
fn a_full_cache_disk_refuses_an_object_in_words_and_the_server_lives_on() -> Result<()> {
    let (disk, store) = (SmallDisk::mount(16)?, tempfile::TempDir::new()?);
    let (git, manifests) = (Git::new()?, Manifests::standard()?);
    install(&git)?;
    let cache = disk.path().join("cache");
    let options = ServerOptions::new(manifests.path(), format!("file:{}", store.path().display())).with_cache(&cache);
    let server = Server::start(options)?;
    let url = server.url("alice", REPOSITORY);
    let large = tracked(&git, &url, "large", &[("a.bin", &random(1, 30_000_000))])?;
    git.ok(&large, &["config", "lfs.transfer.maxretries", "1"])?;
    let refusal = git.run(&large, &["lfs", "push", "origin", "main"])?.refused()?;
    ensure!(refusal.contains("no room"), "{refusal}");
    ensure!(server.metric("codekeep_git_requests_total", "verb=\"lfs-upload\"")? >= 1.0);
    let content = random(2, 3_000_000);
    let small = tracked(&git, &url, "small", &[("b.bin", &content)])?;
    git.ok(&small, &["push", "--quiet", "origin", "main"])?;
    let clone = git.clone(&url, "clone")?;
    ensure!(std::fs::read(clone.join("b.bin"))? == content);
    ensure!(!server.log().contains("panicked"), "{}", server.log());
    // Nothing of what was refused is left on the disk.
    let used = Command::new("du").arg("-sb").arg(disk.path()).output()?;
    let used = String::from_utf8_lossy(&used.stdout).split('\t').next().unwrap_or_default().parse::<u64>()?;
    ensure!(used < 4_000_000, "{used} bytes are left on the disk");
    Ok(())
}
