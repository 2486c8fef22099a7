//! Git LFS: the real `git-lfs` against one server, two servers and a bucket.

mod direct;
mod faults;
mod locks;
mod quota;
mod raw;
mod scrub;
mod unused;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tests::manifests::PASSWORD;
use tests::random::Sequence;
use tests::s3::SeaweedFs;
use tests::{Git, Manifests, Server, ServerOptions, fixture};

use crate::bed::{Bed, REPOSITORY};

const MIB: u64 = 1 << 20;

/// Makes git-lfs known to the user. Whoever lacks it is told how to get it.
pub(crate) fn install(git: &Git) -> Result<()> {
    let installed = git.ok(&git.path(""), &["lfs", "install", "--skip-repo"]);
    installed.map(drop).context("git-lfs is missing: apt-get install --no-install-recommends git-lfs")
}

fn bed() -> Result<Bed> {
    let bed = Bed::new()?;
    install(&bed.git)?;
    Ok(bed)
}

/// Bytes that do not compress.
pub(crate) fn random(seed: u64, bytes: usize) -> Vec<u8> {
    Sequence::new(seed).bytes(bytes)
}

/// A work tree in which `*.bin` is tracked, with these files committed; nothing is pushed.
pub(crate) fn tracked(git: &Git, url: &str, name: &str, files: &[(&str, &[u8])]) -> Result<PathBuf> {
    let work = git.init(name)?;
    git.ok(&work, &["remote", "add", "origin", url])?;
    git.ok(&work, &["lfs", "track", "*.bin"])?;
    for (file, content) in files {
        std::fs::write(work.join(file), content)?;
    }
    git.ok(&work, &["add", "--all"])?;
    git.ok(&work, &["commit", "--quiet", "--message", "Add large files"])?;
    Ok(work)
}

/// How many requests there were.
fn requests(bed: &Bed, label: &str) -> Result<String> {
    Ok(bed.server.metric("codekeep_git_requests_total", label)?.to_string())
}

/// Keys of LFS contents in a `file:` store.
fn stored(store: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for repository in std::fs::read_dir(store)? {
        let folder = repository?.path().join("lfs");
        let Ok(objects) = std::fs::read_dir(folder) else { continue };
        for object in objects {
            found.push(object?.file_name().to_string_lossy().into_owned());
        }
    }
    found.retain(|name| !matches!(name.rsplit('.').next(), Some("sums" | "gone")));
    found.sort();
    Ok(found)
}

#[test]
fn what_is_pushed_through_one_server_is_cloned_through_another() -> Result<()> {
    let bed = bed()?;
    let second = Server::start(bed.options())?;
    let (large, small) = (random(1, 5_000_000), random(2, 10));
    let work = tracked(&bed.git, &bed.url(), "work", &[("large.bin", &large), ("small.bin", &small)])?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "main"])?;
    assert_eq!(requests(&bed, "outcome=\"ok\",transport=\"http\",verb=\"lfs-upload\"")?, "2");

    // git-lfs sends its first object without a credential; the refusal must reach it, or it begins anew.
    assert_eq!(requests(&bed, "verb=\"lfs-batch\"")?, "1");

    let clone = bed.git.clone(&second.url("alice", REPOSITORY), "clone")?;
    assert!(std::fs::read(clone.join("large.bin"))? == large, "the large file came back as another one");
    assert!(std::fs::read(clone.join("small.bin"))? == small);
    let pointer = bed.git.ok(&clone, &["show", "HEAD:large.bin"])?;
    assert!(pointer.starts_with("version https://git-lfs.github.com/spec/v1"), "{pointer}");
    bed.git.ok(&clone, &["lfs", "fsck"])?;

    let more = random(3, 200_000);
    std::fs::write(clone.join("more.bin"), &more)?;
    bed.git.commit(&clone, "note", "more\n")?;
    bed.git.ok(&clone, &["push", "--quiet"])?;
    bed.git.ok(&work, &["pull", "--quiet", "origin", "main"])?;
    assert!(std::fs::read(work.join("more.bin"))? == more, "a pull did not bring the object");
    assert_eq!(requests(&bed, "outcome=\"error\"")?, "0", "{}", bed.server.log());
    Ok(())
}

#[test]
fn the_same_content_is_stored_once() -> Result<()> {
    let bed = bed()?;
    let content = random(1, 100_000);
    let work = tracked(&bed.git, &bed.url(), "work", &[("one.bin", &content), ("two.bin", &content)])?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "main"])?;
    // Another user with a history of their own; their git-lfs has never seen this server.
    let other = tracked(&bed.git, &bed.url(), "other", &[("three.bin", &content)])?;
    bed.git.ok(&other, &["push", "--quiet", "origin", "HEAD:refs/heads/other"])?;
    assert_eq!(stored(bed.store.path())?.len(), 1);
    assert_eq!(requests(&bed, "outcome=\"ok\",transport=\"http\",verb=\"lfs-upload\"")?, "1");
    Ok(())
}

#[test]
fn who_may_not_push_stores_nothing_and_reads_why() -> Result<()> {
    let bed = bed()?;
    let content = random(1, 1_000);
    let work = tracked(&bed.git, &bed.server.url("bob", REPOSITORY), "work", &[("a.bin", &content)])?;
    let refusal = bed.git.run(&work, &["lfs", "push", "origin", "main"])?.refused()?;
    assert!(refusal.contains("no AccessPolicy allows codecommit:GitPush"), "{refusal}");

    // Alice may push, but not to a release branch: git-lfs says for which branch the objects are.
    bed.git.ok(&work, &["remote", "set-url", "origin", &bed.url()])?;
    bed.git.ok(&work, &["checkout", "--quiet", "-b", "release/1"])?;
    let refusal = bed.git.run(&work, &["lfs", "push", "origin", "release/1"])?.refused()?;
    assert!(refusal.contains("releases-are-closed"), "{refusal}");
    assert!(stored(bed.store.path())?.is_empty());
    Ok(())
}

#[test]
fn credentials_come_from_a_helper_when_the_server_asks_for_them() -> Result<()> {
    let bed = bed()?;
    let address = bed.server.address();
    std::fs::write(bed.git.path(".git-credentials"), format!("http://alice:{PASSWORD}@{address}\n"))?;
    bed.git.ok(&bed.git.path(""), &["config", "--global", "credential.helper", "store"])?;
    let content = random(1, 300_000);
    // The other shape of addresses, in which the credential names the namespace.
    let url = bed.server.bare_url("v1/repos/hello");
    let work = tracked(&bed.git, &url, "work", &[("a.bin", &content)])?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "main"])?;
    let clone = bed.git.clone(&url, "clone")?;
    assert!(std::fs::read(clone.join("a.bin"))? == content);
    Ok(())
}

#[test]
fn an_object_larger_than_the_limit_is_refused_in_words_before_it_is_sent() -> Result<()> {
    let manifests = Manifests::standard()?;
    manifests.write(
        "repository-team-a-hello.yaml",
        "apiVersion: codekeep.dev/v1alpha1\nkind: Repository\nmetadata: {name: hello, namespace: team-a}\n\
         spec: {limits: {lfsObjectSize: 1M}}\n",
    )?;
    let bed = Bed::of(manifests, &[])?;
    install(&bed.git)?;
    let work = tracked(&bed.git, &bed.url(), "work", &[("a.bin", &random(1, 1_000_001))])?;
    let refusal = bed.git.run(&work, &["lfs", "push", "origin", "main"])?.refused()?;
    assert!(refusal.contains("lfsObjectSize"), "{refusal}");
    assert!(stored(bed.store.path())?.is_empty());
    Ok(())
}

#[test]
fn a_bucket_holds_objects_in_parts_and_gives_them_back_to_an_empty_server() -> Result<()> {
    let (git, manifests, s3) = (Git::new()?, Manifests::standard()?, SeaweedFs::start()?);
    install(&git)?;
    let mut options = ServerOptions::new(manifests.path(), s3.bucket("large-files")?);
    options.environment = SeaweedFs::credentials();
    let (first, second) = (Server::start(options.clone())?, Server::start(options)?);
    let (large, small) = (random(1, 40_000_000), random(2, 70_000));
    let files: [(&str, &[u8]); 2] = [("large.bin", &large), ("small.bin", &small)];
    let work = tracked(&git, &first.url("alice", REPOSITORY), "work", &files)?;
    git.ok(&work, &["push", "--quiet", "origin", "main"])?;
    git.ok(&work, &["lfs", "lock", "large.bin"])?;
    let clone = git.clone(&second.url("alice", REPOSITORY), "clone")?;
    assert!(std::fs::read(clone.join("large.bin"))? == large);
    assert!(std::fs::read(clone.join("small.bin"))? == small);
    assert!(git.ok(&clone, &["lfs", "locks"])?.contains("large.bin"));
    Ok(())
}

#[test]
#[ignore = "full tier: moves 400 MB"]
fn an_object_of_200_mb_costs_a_server_next_to_no_memory() -> Result<()> {
    let bed = bed()?;
    let source = fixture::linear(&bed.git, "source.git", 1)?;
    bed.git.ok(&source, &["push", "--quiet", &bed.url(), "main:first"])?;
    let idle = bed.server.peak_memory()?;
    let content = random(1, 200_000_000);
    let work = tracked(&bed.git, &bed.url(), "work", &[("a.bin", &content)])?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "main"])?;
    let clone = bed.git.clone(&bed.url(), "clone")?;
    assert!(std::fs::read(clone.join("a.bin"))? == content);
    let more = bed.server.peak_memory()?.saturating_sub(idle);
    eprintln!("200 MB up and down took {} MiB above idle", more / MIB);
    assert!(more <= 40 * MIB, "the object took {} MiB above idle", more / MIB);
    Ok(())
}
