//! What receiving a push asks of the objects that a repository already has.
//!
//! A seam of two questions, so that ingest and its rules are tested without packs on disk.

use std::sync::{Mutex, PoisonError};

use gix::{ObjectId, objs::Kind};

use crate::odb::{Packs, ReadCache};

/// An object of the repository could not be read: damage or a fault of the disk, never the client's doing.
#[derive(Debug, thiserror::Error)]
#[error("failed to read object {id} of the repository")]
pub struct ReadError {
    /// Which object.
    pub id: ObjectId,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// The objects of a repository before (or with) a push.
pub trait Existing: Sync {
    /// Whether the object is there.
    fn contains(&self, id: &gix::oid) -> bool;

    /// The whole object into `buffer` (which is cleared first), or `None` when it is not there.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    fn read(&self, id: &gix::oid, buffer: &mut Vec<u8>) -> Result<Option<Kind>, ReadError>;

    /// A commit, when it is known without reading the object.
    fn known_commit(&self, _id: &gix::oid) -> Option<Commit> {
        None
    }
}

/// A commit and what walks need of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its tree.
    pub tree: ObjectId,
    /// Its parents.
    pub parents: Vec<ObjectId>,
    /// When it was committed.
    pub seconds: i64,
}

/// A repository without objects.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nothing;

impl Existing for Nothing {
    fn contains(&self, _id: &gix::oid) -> bool {
        false
    }

    fn read(&self, _id: &gix::oid, buffer: &mut Vec<u8>) -> Result<Option<Kind>, ReadError> {
        buffer.clear();
        Ok(None)
    }
}

/// The objects of packs on disk, with what was read lately kept in memory. One per push.
pub struct Stored<'a> {
    packs: &'a Packs,
    cache: Mutex<ReadCache>,
}

impl<'a> Stored<'a> {
    /// Reads `packs`.
    #[must_use]
    pub fn new(packs: &'a Packs) -> Self {
        Self { packs, cache: Mutex::new(ReadCache::default()) }
    }
}

impl Existing for Stored<'_> {
    fn contains(&self, id: &gix::oid) -> bool {
        self.packs.contains(id)
    }

    fn read(&self, id: &gix::oid, buffer: &mut Vec<u8>) -> Result<Option<Kind>, ReadError> {
        // A thread that panicked left at worst a cache without some entries.
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |source| ReadError { id: id.to_owned(), source: Box::new(source) };
        let found = self.packs.find(id, buffer, &mut cache).map_err(failed)?;
        Ok(found.map(|object| object.kind))
    }

    fn known_commit(&self, id: &gix::oid) -> Option<Commit> {
        // Reading the object says what is wrong, if something is.
        let commit = self.packs.tabled(self.packs.place(id)?).ok()?;
        Some(Commit { tree: commit.tree, parents: commit.parents.into(), seconds: commit.date })
    }
}
