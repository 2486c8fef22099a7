//! The objects of a repository: packs on the local disk or in memory, read as one database.
//!
//! Packs may be thin: a delta may build on an object of another pack. The order of the packs matters for that: a base is
//! looked for in the delta's own pack first, then in older packs (nearest first), then in younger ones. A pack was accepted when
//! its bases lay in older packs, so chains of deltas go strictly backwards and end, whatever duplicates there are.
//!
//! Files are read with `pread`, never mapped: a cache file that is cut short becomes an error here and not a killed process,
//! and the memory of a clone stays what its buffers are. Indexes are mapped, checked in size when opened.
//!
//! ```no_run
//! # fn main() -> Result<(), git::odb::Error> {
//! use git::odb::{PackParts, Packs, ReadCache};
//! use model::{Arriving, Content};
//! let (pack, index) = (Content::File("a.pack".into()), Content::File("a.idx".into()));
//! let packs = Packs::open(&[PackParts { pack, index, exact: true, arriving: None }])?;
//! let (mut cache, mut buffer) = (ReadCache::default(), Vec::new());
//! let id = gix::ObjectId::null(gix::hash::Kind::Sha1);
//! assert!(packs.find(&id, &mut buffer, &mut cache)?.is_none());
//! # Ok(()) }
//! ```

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use gix::{ObjectId, objs::Kind};
use model::{Arriving, Content, ObjectFormat};

mod commit;
mod delta;
mod diff;
mod index;
mod marks;
mod pack;
mod read;
mod side;

pub use pack::{Entry, EntryKind, Pack};
pub use read::ReadCache;

pub(crate) use commit::{Commit, Place};
pub(crate) use diff::encode as encode_delta;
pub(crate) use marks::{Bits, Marks};
pub(crate) use pack::{Facts, HEADER, MAX_ENTRY_HEAD};
pub(crate) use side::{Side, same};

/// One pack: where it is, and what is known of it. Two are equal when they are the same pack.
#[derive(Debug, Clone)]
pub struct PackParts {
    /// The pack.
    pub pack: Content,
    /// Its index, version 2.
    pub index: Content,
    /// Every object of the pack was reachable from the tips that were pushed with it.
    pub exact: bool,
    /// The file of the pack is still being filled.
    pub arriving: Option<Arc<dyn Arriving>>,
}

impl PartialEq for PackParts {
    fn eq(&self, other: &Self) -> bool {
        (&self.pack, &self.index, self.exact) == (&other.pack, &other.index, other.exact)
    }
}

impl Eq for PackParts {}

/// Why packs cannot be read. All of these are faults of ours or damage, never of a client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be opened or read.
    #[error("failed to read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A delta builds on an object that no pack has.
    #[error("object {base} is missing; a delta in {path} builds on it")]
    MissingBase {
        /// The file with the delta.
        path: PathBuf,
        /// What it builds on.
        base: ObjectId,
    },
    /// An object that must be there is not.
    #[error("object {0} is missing")]
    Missing(ObjectId),
    /// A tag of a tag of a tag, and so on.
    #[error("the tag {0} points at more than {max} tags in a row", max = crate::peel::MAX_TAGS)]
    TagChain(ObjectId),
}

impl Error {
    /// A damaged file.
    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }

    /// What the caller should do about it.
    #[must_use]
    pub fn kind(&self) -> model::error::Kind {
        model::error::Kind::Internal
    }
}

/// Where an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Position of the pack among the packs.
    pub pack: usize,
    /// Offset of its entry in the pack.
    pub offset: u64,
}

/// An object: its kind and its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object<'a> {
    /// Commit, tree, blob or tag.
    pub kind: Kind,
    /// The whole content.
    pub data: &'a [u8],
}

/// Packs, oldest first, as one database. Cheap to clone; opened files are shared.
#[derive(Clone, Default)]
pub struct Packs {
    packs: Arc<[Arc<Pack>]>,
    joint: Arc<Joint>,
}

/// What is found out about the packs together, once.
#[derive(Default)]
struct Joint {
    disjoint: OnceLock<bool>,
    joined_trailer: OnceLock<ObjectId>,
}

impl Packs {
    /// Opens packs; `parts` are in the order of the log, oldest first.
    ///
    /// # Errors
    /// When a file is missing or obviously damaged.
    pub fn open(parts: &[PackParts]) -> Result<Self, Error> {
        Self::default().extended(parts)
    }

    /// These packs with `more` after them. A pack that is open already is not opened again and keeps its place.
    ///
    /// # Errors
    /// When a file is missing or obviously damaged.
    pub fn extended(&self, more: &[PackParts]) -> Result<Self, Error> {
        let mut packs = self.packs.to_vec();
        for parts in more {
            if !packs.iter().any(|pack| pack.parts().pack == parts.pack) {
                packs.push(Arc::new(Pack::open(parts)?));
            }
        }
        Ok(Self { packs: packs.into(), joint: Arc::default() })
    }

    /// Exactly the packs of `parts`, in that order, taking over those that are open already.
    ///
    /// # Errors
    /// When a file is missing or obviously damaged.
    pub fn replaced(&self, parts: &[PackParts]) -> Result<Self, Error> {
        // Nearly always they are those that are open, in the same order, with one more: the next one is looked at first, so that
        // a thousand packs cost a thousand looks and not a million.
        let mut next = 0;
        let mut by_pack: Option<HashMap<&Content, usize>> = None;
        let mut packs = Vec::with_capacity(parts.len());
        for wanted in parts {
            let mut at = next;
            if self.packs.get(at).is_none_or(|pack| pack.parts() != wanted) {
                let all = || self.packs.iter().enumerate().map(|(at, pack)| (&pack.parts().pack, at)).collect();
                let found = by_pack.get_or_insert_with(all).get(&wanted.pack);
                at = found.copied().filter(|at| self.packs[*at].parts() == wanted).unwrap_or(usize::MAX);
            }
            if let Some(pack) = self.packs.get(at) {
                packs.push(Arc::clone(pack));
                next = at + 1;
            } else {
                packs.push(Arc::new(Pack::open(wanted)?));
            }
        }
        Ok(Self { packs: packs.into(), joint: Arc::default() })
    }

    /// The packs, oldest first.
    #[must_use]
    pub fn packs(&self) -> &[Arc<Pack>] {
        &self.packs
    }

    /// Whose ids they have; all of a repository have the same.
    #[must_use]
    pub fn format(&self) -> ObjectFormat {
        self.packs.first().map_or(ObjectFormat::Sha1, |pack| pack.format())
    }

    /// Entries in all packs; an object that is in two packs counts twice.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.packs.iter().map(|pack| u64::from(pack.len())).sum()
    }

    /// Whether the object is there.
    #[must_use]
    pub fn contains(&self, id: &gix::oid) -> bool {
        self.packs.iter().rev().any(|pack| pack.contains(id))
    }

    /// Where the object is; of several copies the youngest.
    #[must_use]
    pub fn locate(&self, id: &gix::oid) -> Option<Location> {
        let find = |(at, pack): (usize, &Arc<Pack>)| pack.offset(id).map(|offset| Location { pack: at, offset });
        self.packs.iter().enumerate().rev().find_map(find)
    }

    /// Where the object is; of several copies the oldest. Deltas between oldest copies never form a cycle.
    #[must_use]
    pub fn locate_oldest(&self, id: &gix::oid) -> Option<Location> {
        let find = |(at, pack): (usize, &Arc<Pack>)| pack.offset(id).map(|offset| Location { pack: at, offset });
        self.packs.iter().enumerate().find_map(find)
    }

    /// Where the base of a delta in the pack at `pack` is; see the module's text for the order.
    #[must_use]
    pub fn locate_base(&self, pack: usize, base: &gix::oid) -> Option<Location> {
        let (older, younger) = self.packs.split_at((pack + 1).min(self.packs.len()));
        let backwards = older.iter().enumerate().rev();
        let forwards = younger.iter().enumerate().map(|(at, found)| (at + pack + 1, found));
        let find = |(at, found): (usize, &Arc<Pack>)| found.offset(base).map(|offset| Location { pack: at, offset });
        backwards.chain(forwards).find_map(find)
    }

    /// The object, read into `buffer`; `None` when it is not there.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn find<'a>(
        &self,
        id: &gix::oid,
        buffer: &'a mut Vec<u8>,
        cache: &mut ReadCache,
    ) -> Result<Option<Object<'a>>, Error> {
        let Some(location) = self.locate(id) else {
            buffer.clear();
            return Ok(None);
        };
        let kind = self.read(location, buffer, cache)?;
        Ok(Some(Object { kind, data: buffer }))
    }

    /// The object, which must be there.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub fn get<'a>(&self, id: &gix::oid, buffer: &'a mut Vec<u8>, cache: &mut ReadCache) -> Result<Object<'a>, Error> {
        self.find(id, buffer, cache)?.ok_or_else(|| Error::Missing(id.to_owned()))
    }

    /// Whether no object is in two packs. Found out once.
    #[must_use]
    pub fn disjoint(&self) -> bool {
        *self.joint.disjoint.get_or_init(|| {
            let mut packs: Vec<_> = self.packs.iter().collect();
            packs.sort_by_key(|pack| pack.len());
            // Every smaller pack against every greater one: the big one is asked, not walked.
            let apart = |(at, small): (usize, &&Arc<Pack>)| {
                packs[at + 1..].iter().all(|big| !(0..small.len()).any(|entry| big.contains(small.id_at(entry))))
            };
            packs.iter().enumerate().all(apart)
        })
    }

    /// Whether it was found out before that no object is in two packs.
    pub(crate) fn known_disjoint(&self) -> bool {
        self.packs.len() < 2 || self.joint.disjoint.get() == Some(&true)
    }

    /// The trailer of all packs joined, if it was computed before.
    pub(crate) fn joined_trailer(&self) -> &OnceLock<ObjectId> {
        &self.joint.joined_trailer
    }
}
