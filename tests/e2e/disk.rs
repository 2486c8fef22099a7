//! A disk that is full, and two servers on one folder.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use tests::random::Sequence;
use tests::{Git, Manifests, Server, ServerOptions};

use crate::bed::{Bed, REPOSITORY};
use crate::encryption;

/// A file system of a few megabytes; unmounted when dropped.
pub(crate) struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    pub(crate) fn mount(megabytes: usize) -> Result<Self> {
        let folder = tempfile::TempDir::new()?;
        let size = format!("size={megabytes}m");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).status()?;
        ensure!(status.success(), "this test needs a small disk and may not mount one: run it as root");
        Ok(Self { folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}

fn random_text(random: &mut Sequence, size: usize) -> String {
    random.bytes(size).iter().map(|byte| char::from(32 + byte % 95)).collect()
}

/// Fills the disk by pushes; what was acknowledged stays, the refusal is in words, and small reads go on.
fn fill(store: &Path, cache: &Path, manifests: &Manifests) -> Result<()> {
    let git = Git::new()?;
    let options = ServerOptions::new(manifests.path(), format!("file:{}", store.display())).with_cache(cache);
    let server = Server::start(options)?;
    let url = server.url("alice", REPOSITORY);
    let work = git.init("work")?;
    let mut random = Sequence::new(7);
    let (mut acknowledged, mut refusal) = (String::new(), None);
    for number in 0..40 {
        let id = git.commit(&work, &format!("file-{number}"), &random_text(&mut random, 1_500_000))?;
        let answer = git.run(&work, &["push", "--quiet", &url, "HEAD:refs/heads/main"])?;
        if !answer.ok {
            refusal = Some(answer.stderr);
            break;
        }
        acknowledged = id;
    }
    let refusal = refusal.unwrap_or_default();
    assert!(!refusal.is_empty(), "forty pushes of 1.5 MB fitted a disk of 16 MB");
    assert!(refusal.contains("request ") || refusal.contains("remote:"), "no word for the user: {refusal}");
    assert!(!server.log().contains("panicked"), "{}", server.log());
    assert!(git.remote_refs(&url)?.contains(&acknowledged), "the acknowledged push is gone");
    Ok(())
}

#[test]
fn a_full_store_disk_refuses_pushes_in_words_and_loses_nothing() -> Result<()> {
    let (disk, cache) = (SmallDisk::mount(16)?, tempfile::TempDir::new()?);
    fill(&disk.path().join("store"), cache.path(), &Manifests::standard()?)
}

#[test]
fn a_full_cache_disk_refuses_pushes_in_words_and_loses_nothing() -> Result<()> {
    let (disk, store) = (SmallDisk::mount(16)?, tempfile::TempDir::new()?);
    fill(store.path(), &disk.path().join("cache"), &Manifests::standard()?)
}

#[test]
fn a_full_cache_disk_refuses_pushes_to_an_encrypted_repository_in_words_and_loses_nothing() -> Result<()> {
    let (disk, store) = (SmallDisk::mount(16)?, tempfile::TempDir::new()?);
    fill(store.path(), &disk.path().join("cache"), &encryption::encrypted()?)
}

#[test]
fn two_servers_on_one_folder_and_one_cache_work_or_the_second_refuses_in_words() -> Result<()> {
    let bed = Bed::new()?;
    bed.started()?;
    let cache = bed.git.path("shared-cache");
    let first = Server::start(bed.options().with_cache(&cache))?;
    match Server::start(bed.options().with_cache(&cache)) {
        Ok(second) => {
            let shown = bed.git.remote_refs(&first.url("alice", REPOSITORY))?;
            assert_eq!(bed.git.remote_refs(&second.url("alice", REPOSITORY))?, shown);
        }
        Err(error) => {
            let text = format!("{error:#}");
            assert!(text.contains("cache") && !text.contains("panicked"), "{text}");
        }
    }
    bed.clone_is_sound("clone")
}
