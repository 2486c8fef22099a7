//! Where the history comes from.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tests::Git;
use tests::fixture::{self, Commit};
use tests::history::{self, Plan};
use tests::random::Sequence;
use tests::report::{bar, spinner};

/// A bare repository to push from.
pub(crate) struct Source {
    pub(crate) folder: PathBuf,
    pub(crate) commits: u64,
    pub(crate) pack_bytes: u64,
    /// As [`Git::refs`] gives them.
    pub(crate) refs: String,
}

/// A branch for the second push.
pub(crate) struct Second {
    pub(crate) folder: PathBuf,
    id: String,
    pub(crate) bytes: u64,
}

impl Second {
    pub(crate) const NAME: &str = "refs/heads/second-push";

    /// What to push.
    pub(crate) fn refspec(&self) -> String {
        format!("{}:{}", self.id, Self::NAME)
    }

    /// Its line in [`Git::refs`].
    pub(crate) fn line(&self) -> String {
        format!("{} {}\n", self.id, Self::NAME)
    }
}

/// Makes a history; the same one every time.
pub(crate) fn make(git: &Git, commits: usize) -> Result<Source> {
    let progress = bar(commits as u64, "making a history");
    let folder = fixture::import(git, "source.git", |stream| {
        history::write(Plan::of(commits), stream, &mut |written| progress.set_position(written as u64))
    })?;
    progress.finish_and_clear();
    describe(git, folder)
}

/// Copies the branches and tags of a given repository, so that it is not touched again.
pub(crate) fn copy(git: &Git, path: &Path) -> Result<Source> {
    let path = path.canonicalize().with_context(|| format!("there is no repository at {}", path.display()))?;
    let progress = spinner("copying the repository");
    git.ok(&git.path(""), &["init", "--quiet", "--bare", "source.git"])?;
    let folder = git.path("source.git");
    let from = path.to_str().context("the path of the repository is not UTF-8")?;
    git.ok(
        &folder,
        &["-c", "safe.directory=*", "fetch", "--quiet", from, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"],
    )?;
    progress.finish_and_clear();
    describe(git, folder)
}

fn describe(git: &Git, folder: PathBuf) -> Result<Source> {
    let commits = git.ok(&folder, &["rev-list", "--count", "--branches", "--tags"])?.trim().parse()?;
    let refs = git.refs(&folder)?;
    let counts = git.ok(&folder, &["count-objects", "--verbose"])?;
    let kibibytes = counts.lines().filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        matches!(name, "size" | "size-pack").then(|| value.parse::<u64>().ok())?
    });
    Ok(Source { commits, pack_bytes: kibibytes.sum::<u64>() * 1024, refs, folder })
}

/// 24 MB more on top of some branch, on a branch of its own.
pub(crate) fn more(git: &Git, source: &Source) -> Result<Second> {
    let mut random = Sequence::new(11);
    let blobs: Vec<(String, Vec<u8>)> = (0..48).map(|n| (format!("second/{n}.bin"), random.bytes(500_000))).collect();
    fixture::import_into(git, &source.folder, |stream| {
        let mut parents = Vec::new();
        for (path, content) in &blobs {
            let files: &[(&str, &[u8])] = &[(path, content)];
            let commit = Commit { branch: "demo-second", parents: &parents, message: "More", files };
            parents = vec![stream.commit(commit)?];
        }
        Ok(())
    })?;
    let id = git.ok(&source.folder, &["rev-parse", "refs/heads/demo-second"])?.trim().to_owned();
    Ok(Second { folder: source.folder.clone(), id, bytes: blobs.iter().map(|(_, content)| content.len() as u64).sum() })
}
