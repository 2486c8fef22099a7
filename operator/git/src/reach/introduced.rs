//! What one commit introduces: its trees, compared with those of its parents.

use gix::{
    ObjectId,
    hashtable::HashSet,
    objs::{Kind, TreeRefIter, tree::EntryRef},
};

use super::{Error, Introduced, Steps, commits::Codes};
use crate::odb::{self, Location, Packs, ReadCache, Side};

/// Memory for trees that were read lately.
const CACHE_BYTES: usize = 48 << 20;

/// A set that grew beyond this is not worth clearing for the next commit.
const MAX_KEPT: usize = 1 << 12;

/// A tree and the trees that it replaces.
type Work = (ObjectId, Vec<ObjectId>);

/// Why a commit does not get into the table, if nothing is wrong with the packs.
enum LeftOut {
    /// It introduces too much.
    TooMuch,
    /// It has a tree that is none.
    NoTree,
}

/// A walk was ended.
enum End {
    LeftOut(LeftOut),
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<odb::Error> for End {
    fn from(error: odb::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Compares trees, commit after commit.
pub(super) struct Comparison<'a> {
    packs: &'a Packs,
    /// The pack that is looked into first.
    at: usize,
    cache: ReadCache,
    buffers: Vec<Vec<u8>>,
    /// Trees of this commit.
    seen: HashSet<ObjectId>,
    todo: Vec<Work>,
    /// What the last commit introduced.
    pub(super) found: Introduced,
    /// How many codes this commit may have.
    most: u64,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(packs: &'a Packs, at: usize) -> Self {
        Self {
            packs,
            at,
            cache: ReadCache::new(CACHE_BYTES),
            buffers: Vec::new(),
            seen: HashSet::default(),
            todo: Vec::new(),
            found: Introduced::default(),
            most: 0,
        }
    }

    /// Finds out what a commit with this tree introduces, given the trees of its parents. `false`: it is to be left out, because
    /// that is more than `most` objects, or something is not there or not what it should be.
    pub(super) fn commit(
        &mut self,
        codes: &mut Codes,
        (tree, parents): Work,
        most: u64,
        steps: &mut Steps<'_>,
    ) -> Result<bool, Error> {
        self.found.clear();
        self.most = most;
        self.todo.clear();
        if self.seen.capacity() > MAX_KEPT {
            self.seen = HashSet::default();
        }
        self.seen.clear();
        match self.walk(codes, tree, parents, steps) {
            Ok(()) => {
                self.found.sort();
                Ok(true)
            }
            Err(End::LeftOut(LeftOut::TooMuch | LeftOut::NoTree)) => Ok(false),
            Err(End::Failed(error)) if error.is_missing() => Ok(false),
            Err(End::Failed(error)) => Err(error),
        }
    }

    fn walk(
        &mut self,
        codes: &mut Codes,
        tree: ObjectId,
        parents: Vec<ObjectId>,
        steps: &mut Steps<'_>,
    ) -> Result<(), End> {
        if parents.contains(&tree) {
            return Ok(());
        }
        self.add_tree(codes, tree, parents)?;
        while let Some((tree, parents)) = self.todo.pop() {
            steps.take()?;
            self.compare(codes, tree, &parents)?;
        }
        Ok(())
    }

    fn compare(&mut self, codes: &mut Codes, tree: ObjectId, parents: &[ObjectId]) -> Result<(), End> {
        while self.buffers.len() <= parents.len() {
            self.buffers.push(Vec::new());
        }
        let mut buffers = std::mem::take(&mut self.buffers);
        for (id, buffer) in std::iter::once(&tree).chain(parents).zip(&mut buffers) {
            let own = self.packs.pack(self.at)?.offset(id).map(|offset| Location { pack: self.at, offset });
            let location = own.or_else(|| self.packs.locate(id)).ok_or(odb::Error::Missing(*id))?;
            if self.packs.read(location, buffer, &mut self.cache)? != Kind::Tree {
                return Err(End::LeftOut(LeftOut::NoTree));
            }
        }
        let mut sides: Vec<_> =
            buffers[1..=parents.len()].iter().map(|buffer| Side::new(buffer, tree.kind())).collect();
        for entry in TreeRefIter::from_bytes(&buffers[0], tree.kind()) {
            let entry = entry.map_err(|_| End::LeftOut(LeftOut::NoTree))?;
            self.entry(codes, &entry, &mut sides)?;
        }
        drop(sides);
        self.buffers = buffers;
        Ok(())
    }

    /// One entry of a tree, against the entries of the same name in the trees that it replaces.
    fn entry(&mut self, codes: &mut Codes, entry: &EntryRef<'_>, sides: &mut [Side<'_>]) -> Result<(), End> {
        if entry.mode.is_commit() {
            return Ok(());
        }
        let mut replaced = Vec::new();
        for side in sides {
            let Some(other) = side.find(entry) else { continue };
            if odb::same(&other, entry) {
                return Ok(());
            }
            if other.mode.is_tree() {
                replaced.push(other.oid.to_owned());
            }
        }
        if entry.mode.is_tree() {
            return self.add_tree(codes, entry.oid.to_owned(), replaced);
        }
        self.found.blobs.push(codes.code(entry.oid)?);
        self.within_bounds()
    }

    fn add_tree(&mut self, codes: &mut Codes, tree: ObjectId, parents: Vec<ObjectId>) -> Result<(), End> {
        if self.seen.insert(tree) {
            self.found.trees.push(codes.code(&tree)?);
            self.todo.push((tree, parents));
        }
        self.within_bounds()
    }

    fn within_bounds(&self) -> Result<(), End> {
        let found = (self.found.trees.len() + self.found.blobs.len()) as u64;
        if found > self.most { Err(End::LeftOut(LeftOut::TooMuch)) } else { Ok(()) }
    }
}
