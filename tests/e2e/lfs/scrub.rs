//! Damage in a large file is found by the scrub before somebody needs the file, and is never served.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::wait;

use super::{Bed, install, random, stored, tracked};

/// Flips a bit of the only object.
fn flip(bed: &Bed) -> Result<PathBuf> {
    let oid = stored(bed.store.path())?.remove(0);
    let folders =
        std::fs::read_dir(bed.store.path())?.filter_map(|entry| Some(entry.ok()?.path().join("lfs").join(&oid)));
    let file = folders.into_iter().find(|path| path.exists()).context("there is no object")?;
    let mut bytes = std::fs::read(&file)?;
    bytes[2_000_000] ^= 4;
    std::fs::write(&file, bytes)?;
    Ok(file)
}

#[test]
fn a_flipped_bit_is_found_by_the_scrub_and_never_served() -> Result<()> {
    let bed = Bed::with(&["--maintenance-interval", "1s", "--scrub-interval", "1s"])?;
    install(&bed.git)?;
    let content = random(1, 2_500_000);
    let work = tracked(&bed.git, &bed.url(), "work", &[("a.bin", &content)])?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "main"])?;
    let found = || bed.server.metric("codekeep_maintenance_done_total", "task=\"scrub-damaged\"");
    ensure!(found()? < 1.0, "damage was found where there is none");
    let file = flip(&bed)?;
    wait::until("the scrub to find it", Duration::from_mins(1), || Ok((found()? >= 1.0).then_some(())))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let log = bed.server.log();
    ensure!(log.contains("damage in the store") && log.contains(&name), "{log}");

    let mut clone = bed.git.command(&bed.git.path(""), &["clone", "--quiet", &bed.url(), "clone"]);
    ensure!(clone.env("GIT_LFS_SKIP_SMUDGE", "1").status()?.success(), "the clone without objects failed");
    let clone = bed.git.path("clone");
    bed.git.ok(&clone, &["config", "lfs.transfer.maxretries", "1"])?;
    ensure!(!bed.git.run(&clone, &["lfs", "pull"])?.ok, "a damaged object was served");
    flip(&bed)?;
    bed.git.ok(&clone, &["lfs", "pull"])?;
    ensure!(std::fs::read(clone.join("a.bin"))? == content);
    Ok(())
}
