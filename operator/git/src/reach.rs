//! Reachability tables: which objects each commit of a pack brings, so that nobody has to compare trees to find it out.
//!
//! A table belongs to one immutable pack and takes the place of git's commit-graph and of its reachability bitmaps. It lists
//! the commits of the pack with tree, parents and date, and for each commit the trees and blobs that it **introduces**: those
//! that are reached from its tree and are not found at the same place in the tree of any of its parents. Below a tree that all
//! parents have elsewhere, or not at all, the walk goes on; below one that a parent has at that place it does not. What a
//! revert brings back is introduced again. A tree that a commit has at several places is compared at the first one only, which
//! leaves nothing out (what is equal there is in the parent) and makes a tree of trees of trees harmless.
//!
//! The invariant, for every set of commits that holds the parents of its members: what they reach is these commits and what
//! they introduce. And what some commits reach and others do not is introduced by the commits behind the former and not behind
//! the latter, which may bring a few objects more: such as merely moved.
//!
//! A table is a pure function of the objects of its pack and of what these lead to. Left out of it are commits that are cut
//! off from something that they need (junk may be), that are not what they claim, and those that would make the table much
//! greater than the pack is ([`MAX_CODES`]); readers look at the objects of such a commit instead.
//!
//! # Format
//!
//! Numbers are big endian, as in git's own files.
//!
//! | Part | Bytes | What |
//! |---|---|---|
//! | header | 52 or 64 | `CKREACH`; 1 where ids are of SHA-1 and take 20 bytes, 2 where they are of SHA-256 and take 32; trailer of the pack (20 or 32); objects of the pack, commits, parents, foreign ids (4 each); bytes of the lists (8) |
//! | foreign ids | 20 or 32 each | sorted ids of objects that are named here and are not in the pack |
//! | commits | 28 each | position in the index (4), code of the tree (4), seconds of the committer (8), number of its first parent among all parents (4), start of its list (8) |
//! | parents | 4 each | codes |
//! | by position | 8 each | position in the index, number of the commit; sorted |
//! | lists | | for each commit: how many trees, their codes, how many blobs, their codes; sorted, each as difference to the one before, as LEB128 |
//!
//! A **code** below the number of objects is a position in the pack's index; the codes from there on count foreign ids. A
//! commit has a greater number than its parents.

use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::odb::{self, Packs};

mod build;
mod commits;
mod file;
mod format;
mod introduced;
mod kinds;
mod lists;
mod table;

pub use build::MAX_CODES;
pub use lists::{Introduced, Lists};
pub use table::{Code, Table};

/// Every how many steps it is looked whether to give up.
const STEPS: u32 = 256;

/// A table that was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Built {
    /// Length of the file.
    pub bytes: u64,
    /// Commits in the table.
    pub commits: u64,
}

/// Why a table could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The objects cannot be read.
    #[error(transparent)]
    Odb(#[from] odb::Error),
    /// The file cannot be written.
    #[error("failed to write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// More objects than codes.
    #[error("the pack and what it names are more objects than a reachability table can tell apart")]
    TooMany,
    /// The server stops or the work was given up.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Whether something is merely not there, as with junk that nothing refers to.
    fn is_missing(&self) -> bool {
        matches!(self, Self::Odb(odb::Error::Missing(_) | odb::Error::MissingBase { .. }))
    }
}

/// Writes the table of the pack at position `at` of `packs` to the new file `out`, and syncs it; `None`, and no file, when it
/// would have no commit. The packs before it must be there as far as its objects lead to them; others do not matter.
///
/// # Errors
/// When the packs cannot be read, the file not written, or `interrupt` was set. Then there is no file.
pub fn build(packs: &Packs, at: usize, out: &Path, interrupt: &AtomicBool) -> Result<Option<Built>, Error> {
    let mut steps = Steps { interrupt, taken: 0 };
    let commits = commits::read(packs, at, &mut steps)?;
    if commits.is_empty() {
        return Ok(None);
    }
    let finished = build::build(packs, at, commits, &mut steps)?;
    if finished.is_empty() { Ok(None) } else { file::write(&finished, out).map(Some) }
}

/// Counts steps, and looks now and then whether to give up.
struct Steps<'a> {
    interrupt: &'a AtomicBool,
    taken: u32,
}

impl Steps<'_> {
    fn take(&mut self) -> Result<(), Error> {
        self.taken = self.taken.wrapping_add(1);
        let asked = self.taken.is_multiple_of(STEPS) && self.interrupt.load(Ordering::Relaxed);
        if asked { Err(Error::Interrupted) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
