//! LFS objects that nothing names any more leave the bucket; those that somebody pushes late do not.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::{Server, wait};

use super::{Bed, REPOSITORY, install, random, stored, tracked};

/// Two servers that find everything old after seconds.
pub(super) const HURRIED: [&str; 10] = [
    "--maintenance-interval",
    "1s",
    "--deletion-grace",
    "1s",
    "--unreachable-retention",
    "2s",
    "--lfs-retention",
    "6s",
    "--lfs-retention-floor",
    "1s",
];
const PATIENCE: Duration = Duration::from_mins(1);

fn bed() -> Result<(Bed, Server)> {
    let bed = Bed::with(&HURRIED)?;
    install(&bed.git)?;
    let second = Server::start(bed.options().with(&HURRIED))?;
    Ok((bed, second))
}

/// The marker of an object that was given up.
fn is_given_up(store: &Path, oid: &str) -> Result<bool> {
    for repository in std::fs::read_dir(store)? {
        if repository?.path().join("lfs").join(format!("{oid}.gone")).exists() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn deleted(servers: [&Server; 2]) -> Result<f64> {
    let mut sum = 0.0;
    for server in servers {
        sum += server.metric("codekeep_maintenance_done_total", "task=\"lfs-delete\"")?;
    }
    Ok(sum)
}

#[test]
fn the_objects_of_a_deleted_branch_leave_the_bucket_and_can_come_back() -> Result<()> {
    let (bed, second) = bed()?;
    let (kept, secret) = (random(1, 300_000), random(2, 2_000_000));
    let work = tracked(&bed.git, &bed.url(), "work", &[("kept.bin", &kept)])?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "main"])?;
    let only = stored(bed.store.path())?;
    bed.git.ok(&work, &["checkout", "--quiet", "-b", "topic"])?;
    std::fs::write(work.join("secret.bin"), &secret)?;
    bed.git.commit(&work, "note", "with a secret\n")?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "topic"])?;
    ensure!(stored(bed.store.path())?.len() == 2, "the secret is not in the bucket");
    bed.git.ok(&work, &["push", "--quiet", "origin", ":topic"])?;
    wait::until("the secret to leave the bucket", PATIENCE, || Ok((stored(bed.store.path())? == only).then_some(())))?;
    wait::until("operators to see that something was deleted", PATIENCE, || {
        Ok((deleted([&bed.server, &second])? >= 1.0).then_some(()))
    })?;
    let clone = bed.git.clone(&second.url("alice", REPOSITORY), "clone")?;
    ensure!(std::fs::read(clone.join("kept.bin"))? == kept, "the other object is not what it was");

    bed.git.ok(&work, &["push", "--quiet", "origin", "topic"])?;
    ensure!(stored(bed.store.path())?.len() == 2, "git-lfs did not send the object again");
    bed.git.ok(&clone, &["fetch", "--quiet"])?;
    bed.git.ok(&clone, &["checkout", "--quiet", "topic"])?;
    ensure!(std::fs::read(clone.join("secret.bin"))? == secret);
    bed.git.ok(&clone, &["lfs", "fsck"])?;
    Ok(())
}

#[test]
fn objects_stay_whose_pointers_are_pushed_long_after_they_were_uploaded() -> Result<()> {
    let (bed, second) = bed()?;
    let content = random(1, 1_500_000);
    let work = tracked(&bed.git, &bed.url(), "work", &[("a.bin", &content)])?;
    bed.git.ok(&work, &["lfs", "push", "origin", "main"])?;
    let oid = stored(bed.store.path())?.remove(0);
    wait::until("the object to be given up", PATIENCE, || Ok(is_given_up(bed.store.path(), &oid)?.then_some(())))?;
    // As if git-lfs had asked a moment before, and had been told that the object is there.
    bed.git.ok(&work, &["push", "--quiet", "--no-verify", "origin", "main"])?;
    wait::until("the object to get a new life", PATIENCE, || {
        Ok((stored(bed.store.path())? == [format!("{oid}.1")]).then_some(()))
    })?;
    std::thread::sleep(Duration::from_secs(14));
    let clone = bed.git.clone(&second.url("alice", REPOSITORY), "clone")?;
    ensure!(std::fs::read(clone.join("a.bin"))? == content);
    for server in [&bed.server, &second] {
        ensure!(!server.log().contains("maintenance failed"), "{}", server.log());
    }
    Ok(())
}

#[test]
fn a_retention_in_which_nobody_can_push_is_refused() -> Result<()> {
    let bed = Bed::new()?;
    let log = Server::start_in_vain(bed.options().with(&["--lfs-retention", "23h"]), PATIENCE)?;
    ensure!(log.contains("--lfs-retention is shorter than 24 hours"), "{log}");
    Ok(())
}
