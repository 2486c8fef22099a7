//! A repository that is looked after while people work: it gets small again, and nobody notices.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::random::Sequence;
use tests::{Server, wait};

use crate::bed::{Bed, REPOSITORY};

/// Size of what is left of an old entry of the log.
const STUB_BYTES: u64 = 88;

/// All files below a folder with their sizes.
pub(crate) fn files(folder: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // What maintenance deletes between the listing and the look is gone, not an error.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push((entry.path(), metadata.len()));
        }
    }
    Ok(found)
}

fn bytes(folder: &Path) -> Result<u64> {
    Ok(files(folder)?.iter().map(|(_, size)| size).sum())
}

fn stubs(folder: &Path) -> Result<usize> {
    let is_stub = |(path, size): &&(PathBuf, u64)| *size == STUB_BYTES && path.to_string_lossy().contains("/log/");
    Ok(files(folder)?.iter().filter(is_stub).count())
}

/// Two servers that find everything old after a second or two.
fn hurried() -> [&'static str; 8] {
    ["--maintenance-interval", "1s", "--deletion-grace", "1s", "--unreachable-retention", "2s", "--log-retention", "2s"]
}

#[test]
fn what_nobody_needs_leaves_the_bucket_while_people_work() -> Result<()> {
    let bed = Bed::with(&hurried())?;
    let second = Server::start(bed.options().with(&hurried()))?;
    let work = bed.started()?;
    let text: String = Sequence::new(9).bytes(3_000_000).iter().map(|byte| char::from(32 + byte % 95)).collect();
    bed.git.ok(&work, &["checkout", "--quiet", "-b", "secret"])?;
    let secret = bed.git.commit(&work, "secret", &text)?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "secret"])?;
    ensure!(bytes(bed.store.path())? > 2_000_000, "the secret is not in the bucket");
    bed.git.ok(&work, &["push", "--quiet", "origin", ":secret"])?;
    bed.git.ok(&work, &["checkout", "--quiet", "main"])?;
    for number in 0..150 {
        bed.git.commit(&work, "busy", &format!("{number}\n"))?;
        let server = if number % 3 == 0 { &second } else { &bed.server };
        bed.git.ok(&work, &["push", "--quiet", &server.url("alice", REPOSITORY), "HEAD:main"])?;
    }
    wait::until("the secret to leave the bucket", Duration::from_mins(1), || {
        Ok((bytes(bed.store.path())? < 1_500_000).then_some(()))
    })?;
    wait::until("old entries to become stubs", Duration::from_mins(1), || {
        Ok((stubs(bed.store.path())? > 60).then_some(()))
    })?;
    let packs =
        files(bed.store.path())?.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "pack")).count();
    ensure!(packs <= 10, "{packs} packs are left");

    // A branch of what is gone cannot be made any more, and everything else is there.
    let refused = bed.git.run(&work, &["push", "--quiet", "origin", &format!("{secret}:refs/heads/again")])?;
    ensure!(refused.ok, "whoever still has the commit brings it again: {}", refused.stderr);
    bed.clone_is_sound("clone")?;
    let checked = Command::new(tests::binary::codekeep()?)
        .arg("fsck")
        .arg("--store")
        .arg(format!("file:{}", bed.store.path().display()))
        .arg("--cache")
        .arg(bed.git.path("fsck-cache"))
        .output()?;
    ensure!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    ensure!(!bed.server.log().contains("maintenance failed"), "{}", bed.server.log());
    Ok(())
}
