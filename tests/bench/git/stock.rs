//! The same by stock git, for which the server is the smaller part.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::Bed;
use super::references::row;
use super::sides::{HISTORY, Sides, by_turns, timed};
use crate::figures::Figures;

/// Merges that the client of a fetch lacks.
const BEHIND: usize = 100;

pub(super) fn run(bed: &Bed<'_>, sides: &Sides, figures: &mut Figures) -> Result<()> {
    let (all, home) = (sides.all(), bed.git.path(""));
    let clone = by_turns(bed, &all, 1, |side| {
        let folder = fresh(bed, "bench-clone")?;
        git(bed, &home, &["clone", "--quiet", "--mirror", &side.url(HISTORY), folder.to_str().context("path")?])
    })?;
    let behind = client_behind(bed)?;
    let refspec = format!("{0}:{0}", bed.branch);
    let fetch = by_turns(bed, &all, 1, |side| {
        let folder = fresh(bed, "bench-fetch")?;
        let status = std::process::Command::new("cp").arg("-r").arg(&behind).arg(&folder).status()?;
        ensure!(status.success(), "failed to copy a repository");
        git(bed, &folder, &["fetch", "--quiet", &side.url(HISTORY), &refspec])
    })?;
    let work = work_tree(bed)?;
    let push = by_turns(bed, &all, 1, |side| {
        bed.git.commit(&work, "bench-file", &format!("{:?}\n", Instant::now()))?;
        git(bed, &work, &["push", "--quiet", &side.url(HISTORY), "HEAD:refs/heads/bench/stock"])
    })?;
    let rows =
        [row("whole clone", &clone), row(&format!("fetch, {BEHIND} merges behind"), &fetch), row("small push", &push)];
    figures.table(&["stock git, p50 / p99", "Codekeep", "JGit", "http-backend", "our CPU"], &rows);
    for (what, samples) in [("clone", &clone), ("fetch", &fetch), ("push", &push)] {
        let (ours, theirs) = (samples[0].median(), samples[1].median().min(samples[2].median()));
        figures.at_most("", &format!("{what} by stock git, of the better peer's"), ours, theirs, 1.05);
    }
    Ok(())
}

/// A client that lacks the last merges.
fn client_behind(bed: &Bed<'_>) -> Result<PathBuf> {
    let (home, source) = (bed.git.path(""), bed.history.to_str().context("path")?);
    bed.git.ok(&home, &["init", "--quiet", "--bare", "behind.git"])?;
    let folder = bed.git.path("behind.git");
    let old = bed.id(&format!("{}~{BEHIND}", bed.branch))?;
    bed.git.ok(&bed.history, &["update-ref", "refs/heads/bench-old", &old])?;
    bed.git.ok(&folder, &["fetch", "--quiet", source, &format!("refs/heads/bench-old:{}", bed.branch)])?;
    Ok(folder)
}

fn work_tree(bed: &Bed<'_>) -> Result<PathBuf> {
    let source = bed.history.to_str().context("path")?;
    let branch = bed.branch.trim_start_matches("refs/heads/");
    let arguments = ["clone", "--quiet", "--shared", "--branch", branch, source, "bench-work"];
    bed.git.ok(&bed.git.path(""), &arguments)?;
    Ok(bed.git.path("bench-work"))
}

fn fresh(bed: &Bed<'_>, name: &str) -> Result<PathBuf> {
    let folder = bed.git.path(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(folder)
}

fn git(bed: &Bed<'_>, folder: &Path, arguments: &[&str]) -> Result<Duration> {
    timed(|| bed.git.ok(folder, arguments).map(drop))
}
