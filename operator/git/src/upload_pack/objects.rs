//! Walking trees: what commits bring that their parents do not have.
//!
//! Each tree is compared with the trees at the same place in the commit's parents. What is the same as in one parent is
//! either sent with that parent or known to the client, so the walk never looks at it; the work is the size of the change,
//! not of the tree. Commits must come after their parents: then "sent with that parent" has happened already.

use gix::{
    ObjectId,
    hashtable::{HashMap, HashSet},
    objs::{Kind, TreeRefIter, tree::EntryRef},
};

use crate::odb::{self, Commit, Error, Packs, ReadCache, Side};

/// Most trees of the edge that are read to find out whether something merely moved.
const MAX_EDGE_TREES: usize = 20_000;

/// What a walk over trees finds.
#[derive(Default)]
pub(crate) struct Found {
    /// Trees and blobs to send, each once.
    pub(crate) objects: Vec<ObjectId>,
    /// Objects that the client has or will have, met on the way: bases for thin deltas.
    pub(crate) known: HashSet<ObjectId>,
    /// For what is sent, what it replaces: the best guess at a base.
    pub(crate) replaces: HashMap<ObjectId, ObjectId>,
    seen: HashSet<ObjectId>,
    /// Something appeared at a place where no parent has anything: it may have moved there.
    appeared: bool,
}

/// A tree and the trees that it replaces.
type Work = (ObjectId, Vec<ObjectId>);

/// Walks the trees of commits.
pub(crate) struct TreeWalk<'a> {
    packs: &'a Packs,
    cache: &'a mut ReadCache,
    found: Found,
    /// Bases for thin deltas are asked for.
    thin: bool,
    buffers: Vec<Vec<u8>>,
}

impl<'a> TreeWalk<'a> {
    pub(crate) fn new(packs: &'a Packs, cache: &'a mut ReadCache, thin: bool) -> Self {
        Self { packs, cache, found: Found::default(), thin, buffers: Vec::new() }
    }

    /// What `commit` brings; `parents` are the trees of its parents, which were dealt with before.
    pub(crate) fn commit(&mut self, commit: &Commit, parents: Vec<ObjectId>) -> Result<(), Error> {
        self.tree(commit.tree, parents)
    }

    /// An object that is wanted for itself.
    pub(crate) fn object(&mut self, id: ObjectId, kind: Kind) -> Result<(), Error> {
        if kind == Kind::Tree {
            return self.tree(id, Vec::new());
        }
        if self.found.seen.insert(id) {
            self.found.objects.push(id);
        }
        Ok(())
    }

    fn tree(&mut self, tree: ObjectId, parents: Vec<ObjectId>) -> Result<(), Error> {
        if parents.contains(&tree) || !self.found.seen.insert(tree) {
            return Ok(());
        }
        self.found.objects.push(tree);
        if let Some(parent) = parents.first().filter(|_| self.thin) {
            self.found.replaces.insert(tree, *parent);
        }
        let mut todo = vec![(tree, parents)];
        while let Some((tree, parents)) = todo.pop() {
            self.compare(tree, &parents, &mut todo)?;
        }
        Ok(())
    }

    /// Compares one tree with those that it replaces, and remembers the trees below to compare.
    fn compare(&mut self, tree: ObjectId, parents: &[ObjectId], todo: &mut Vec<Work>) -> Result<(), Error> {
        while self.buffers.len() <= parents.len() {
            self.buffers.push(Vec::new());
        }
        let mut buffers = std::mem::take(&mut self.buffers);
        for (id, buffer) in std::iter::once(&tree).chain(parents).zip(&mut buffers) {
            if self.packs.get(id, buffer, self.cache)?.kind != Kind::Tree {
                return Err(Error::damaged("packs".as_ref(), format!("{id} is not a tree")));
            }
        }
        let mut sides: Vec<_> = buffers[1..=parents.len()].iter().map(|buffer| Side::new(buffer)).collect();
        for entry in TreeRefIter::from_bytes(&buffers[0], gix::hash::Kind::Sha1) {
            let entry =
                entry.map_err(|_| Error::damaged("packs".as_ref(), format!("the tree {tree} cannot be read")))?;
            self.entry(&entry, &mut sides, todo);
        }
        drop(sides);
        self.buffers = buffers;
        if self.thin {
            self.found.known.extend(parents);
        }
        Ok(())
    }

    /// One entry of a tree, against the entries of the same name in the trees that it replaces.
    fn entry(&mut self, entry: &EntryRef<'_>, sides: &mut [Side<'_>], todo: &mut Vec<Work>) {
        if entry.mode.is_commit() {
            return;
        }
        let mut replaced = Vec::new();
        let mut same = false;
        for side in sides {
            let Some(other) = side.find(entry) else { continue };
            same |= odb::same(&other, entry);
            if !other.mode.is_commit() {
                replaced.push((other.oid.to_owned(), other.mode.is_tree()));
            }
        }
        if same || self.found.seen.contains(entry.oid) {
            return;
        }
        let id = entry.oid.to_owned();
        self.found.appeared |= replaced.is_empty();
        self.found.seen.insert(id);
        self.found.objects.push(id);
        if self.thin {
            self.found.known.extend(replaced.iter().map(|(id, _)| *id));
            let base = replaced.iter().find(|(_, is_tree)| *is_tree == entry.mode.is_tree());
            self.found.replaces.extend(base.map(|(base, _)| (id, *base)));
        }
        if entry.mode.is_tree() {
            todo.push((id, replaced.into_iter().filter(|(_, is_tree)| *is_tree).map(|(id, _)| id).collect()));
        }
    }

    /// What was found so far.
    pub(crate) fn found(self) -> Found {
        self.found
    }

    /// Ends the walk. What is in the trees of the `edge`, which the client has, is taken out: it only moved.
    pub(crate) fn finish(mut self, edge: &[ObjectId]) -> Result<Found, Error> {
        if !self.found.appeared || edge.is_empty() || self.found.objects.is_empty() {
            return Ok(self.found);
        }
        let held = held(self.packs, edge, self.cache)?;
        self.found.objects.retain(|id| !held.contains(id));
        self.found.known.extend(held);
        Ok(self.found)
    }
}

/// What is in the trees of the `edge`, which the client has, as far as it is looked at.
pub(crate) fn held(packs: &Packs, edge: &[ObjectId], cache: &mut ReadCache) -> Result<HashSet<ObjectId>, Error> {
    let mut held: HashSet<ObjectId> = edge.iter().copied().collect();
    let mut todo = edge.to_vec();
    let mut buffer = Vec::new();
    let mut left = MAX_EDGE_TREES;
    while let (Some(tree), Some(rest)) = (todo.pop(), left.checked_sub(1)) {
        left = rest;
        let object = packs.get(&tree, &mut buffer, cache)?;
        for entry in TreeRefIter::from_bytes(object.data, gix::hash::Kind::Sha1).flatten() {
            if !entry.mode.is_commit() && held.insert(entry.oid.to_owned()) && entry.mode.is_tree() {
                todo.push(entry.oid.to_owned());
            }
        }
    }
    Ok(held)
}
