//! `cargo xtask bench git`: what clones, fetches, listings and large pushes cost, side by side with both peers.
//!
//! The same history, the same clients, turn by turn in one run: ratios count, not times, since the machine's noise hits all.

mod clones;
mod fetches;
mod ingest;
mod lfs;
mod references;
mod sides;
mod ssh;
mod stock;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use tempfile::TempDir;
use tests::history::{self, Plan};
use tests::report::{bar, say};
use tests::{Git, fixture};

use crate::figures::Figures;
use sides::Sides;

type Run = fn(&Bed<'_>, &Sides, &mut Figures) -> Result<()>;

/// How much is measured.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Measure these parts only
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// Rounds per operation; medians are compared
    #[arg(long, default_value_t = 9, value_name = "N")]
    rounds: usize,
    /// A bare repository to measure with, instead of a history that is made; its HEAD is the branch that is fetched
    #[arg(long, value_name = "DIR")]
    history: Option<PathBuf>,
    /// Commits of the history that is made
    #[arg(long, default_value_t = 20_400, value_name = "N")]
    commits: usize,
    /// Refs of the repository whose refs are listed
    #[arg(long, default_value_t = 50_000, value_name = "N")]
    refs: usize,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// B4: advertisement and listings
    References,
    /// B1, B2: whole clones, one and eight; clones of a part
    Clones,
    /// B3: fetches by clients that are behind
    Fetches,
    /// B13: a push of the whole history
    Ingest,
    /// A whole clone over SSH
    Ssh,
    /// A file of 1 GB through Git LFS, on a bucket
    Lfs,
    /// The same by stock git, whose own work is most of it
    Stock,
}

/// What all parts need.
struct Bed<'a> {
    options: &'a Options,
    git: Git,
    folder: TempDir,
    history: PathBuf,
    /// The branch that is fetched.
    branch: String,
    /// What all branches and tags point at.
    tips: Vec<String>,
}

/// Measures; gives whether all bars are met.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let (git, folder) = (Git::new()?, TempDir::new()?);
    let history = history(options, &git)?;
    let branch = git.ok(&history, &["symbolic-ref", "HEAD"])?.trim().to_owned();
    let tips = tips(&git.refs(&history)?);
    let bed = Bed { options, git, folder, history, branch, tips };
    let sides = Sides::start(&bed)?;
    say(bed.describe()?);
    let mut figures = Figures::default();
    let parts: [(Part, &str, Run); 7] = [
        (Part::References, "B4", references::run),
        (Part::Clones, "B1, B2", clones::run),
        (Part::Fetches, "B3", fetches::run),
        (Part::Ingest, "B13", ingest::run),
        (Part::Ssh, "SSH", ssh::run),
        (Part::Lfs, "LFS", lfs::run),
        (Part::Stock, "stock git", stock::run),
    ];
    for (part, name, run) in parts {
        if options.only.is_empty() || options.only.contains(&part) {
            figures.part(name, |figures| run(&bed, &sides, figures));
        }
    }
    Ok(figures.print())
}

/// The history that is measured with. One that is given is copied: parts add branches to it.
fn history(options: &Options, git: &Git) -> Result<PathBuf> {
    if let Some(given) = &options.history {
        let given = given.canonicalize().context("the history is not there")?;
        git.ok(&git.path(""), &["clone", "--quiet", "--mirror", given.to_str().context("path")?, "history.git"])?;
        return Ok(git.path("history.git"));
    }
    let progress = bar(options.commits as u64, "making a history");
    let made = fixture::import(git, "history.git", |stream| {
        history::write(Plan::of(options.commits), stream, &mut |written| progress.set_position(written as u64))
    })?;
    progress.finish_and_clear();
    Ok(made)
}

impl Bed<'_> {
    fn id(&self, revision: &str) -> Result<String> {
        Ok(self.git.ok(&self.history, &["rev-parse", revision])?.trim().to_owned())
    }

    /// One line about the history.
    fn describe(&self) -> Result<String> {
        let commits = self.git.ok(&self.history, &["rev-list", "--count", "--all"])?;
        let refs = self.git.refs(&self.history)?.lines().count();
        Ok(format!("history: {} commits, {refs} refs", commits.trim()))
    }
}

/// The ids of a list of references, each once.
fn tips(refs: &str) -> Vec<String> {
    let mut ids: Vec<String> = refs.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect();
    ids.sort();
    ids.dedup();
    ids
}
