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

use super::{
    filter::Filter,
    held::Haves,
    sparse::{At, Sieve, Sparse},
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
    /// What was looked at, and how far below a root tree, if that matters.
    seen: HashMap<ObjectId, u64>,
    /// Something appeared at a place where no parent has anything: it may have moved there.
    appeared: bool,
}

/// A tree, the trees that it replaces, how far below the root it is, and where, if that matters.
type Work = (ObjectId, Vec<ObjectId>, u64, At);

/// Walks the trees of commits.
pub(crate) struct TreeWalk<'a> {
    packs: &'a Packs,
    cache: &'a mut ReadCache,
    found: Found,
    /// Bases for thin deltas are asked for.
    thin: bool,
    buffers: Vec<Vec<u8>>,
    filter: Filter,
    /// What is left out by where it is.
    sieve: Option<Sieve<'a>>,
}

impl<'a> TreeWalk<'a> {
    pub(crate) fn new(packs: &'a Packs, cache: &'a mut ReadCache, thin: bool) -> Self {
        Self {
            packs,
            cache,
            found: Found::default(),
            thin,
            buffers: Vec::new(),
            filter: Filter::default(),
            sieve: None,
        }
    }

    /// Leaves out what a filter leaves out; `sparse` are its patterns.
    pub(super) fn filtered(self, filter: Option<&Filter>, sparse: Option<&'a Sparse>) -> Self {
        let filter = filter.cloned().unwrap_or_default();
        Self { sieve: sparse.filter(|_| filter.minds_paths()).map(Sieve::new), filter, ..self }
    }

    /// Whether the filter asks for more work than anybody needs; then the walk has ended early.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.sieve.as_ref().is_some_and(Sieve::is_exhausted)
    }

    /// What `commit` brings; `parents` are the trees of its parents, which were dealt with before.
    pub(crate) fn commit(&mut self, commit: &Commit, parents: Vec<ObjectId>) -> Result<(), Error> {
        if parents.contains(&commit.tree) || !self.filter.looks_into_trees() {
            return Ok(());
        }
        let at = self.sieve.as_ref().map(Sieve::root).unwrap_or_default();
        self.tree(commit.tree, parents, at)
    }

    /// An object that is wanted for itself: no filter leaves it out, but perhaps what is below it.
    pub(crate) fn object(&mut self, id: ObjectId, kind: Kind) -> Result<(), Error> {
        if kind == Kind::Tree && self.filter.looks_into_trees() {
            if !self.filter.sends(Kind::Tree) {
                self.found.objects.push(id);
            }
            // No pattern is asked about what was named.
            return self.tree(id, Vec::new(), At::default());
        }
        if self.found.seen.insert(id, 0).is_none() {
            self.found.objects.push(id);
        }
        Ok(())
    }

    /// Looks at an object so far below a root tree; false if it was looked at before. What is new and is to be sent is noted.
    fn meet(&mut self, id: ObjectId, kind: Kind, depth: u64, at: &At) -> Result<bool, Error> {
        if let Some(sieve) = &mut self.sieve {
            if kind == Kind::Tree {
                if self.found.seen.insert(id, 0).is_none() && self.filter.sends(kind) {
                    self.found.objects.push(id);
                }
                return Ok(sieve.enter(id, at));
            }
            if !sieve.sends(at) {
                // It may be at another place as well.
                return Ok(false);
            }
        }
        let depth = if self.filter.minds_depth() { depth } else { 0 };
        let before = self.found.seen.get(&id).copied();
        if before.is_some_and(|before| before <= depth) {
            return Ok(false);
        }
        // What was met before was sent, but what is below it may have been too far below.
        if before.is_none() && self.filter.sends(kind) && !self.is_too_large(&id, kind)? {
            self.found.objects.push(id);
        }
        self.found.seen.insert(id, depth);
        Ok(true)
    }

    fn is_too_large(&mut self, id: &ObjectId, kind: Kind) -> Result<bool, Error> {
        match self.filter.size_limit().filter(|_| kind == Kind::Blob) {
            Some(limit) => Ok(self.packs.header(id, self.cache)?.is_some_and(|(_, size)| size >= limit)),
            None => Ok(false),
        }
    }

    fn tree(&mut self, tree: ObjectId, parents: Vec<ObjectId>, at: At) -> Result<(), Error> {
        if !self.meet(tree, Kind::Tree, 0, &at)? {
            return Ok(());
        }
        if let Some(parent) = parents.first().filter(|_| self.thin) {
            self.found.replaces.insert(tree, *parent);
        }
        let mut todo = if self.filter.reaches(1) { vec![(tree, parents, 0, at)] } else { vec![] };
        while let Some(work) = todo.pop().filter(|_| !self.is_exhausted()) {
            self.compare(&work, &mut todo)?;
        }
        Ok(())
    }

    /// Compares one tree with those that it replaces, and remembers the trees below to compare.
    fn compare(&mut self, (tree, parents, depth, at): &Work, todo: &mut Vec<Work>) -> Result<(), Error> {
        while self.buffers.len() <= parents.len() {
            self.buffers.push(Vec::new());
        }
        let mut buffers = std::mem::take(&mut self.buffers);
        for (id, buffer) in std::iter::once(tree).chain(parents).zip(&mut buffers) {
            if self.packs.get(id, buffer, self.cache)?.kind != Kind::Tree {
                return Err(Error::damaged("packs".as_ref(), format!("{id} is not a tree")));
            }
        }
        let mut sides: Vec<_> =
            buffers[1..=parents.len()].iter().map(|buffer| Side::new(buffer, tree.kind())).collect();
        for entry in TreeRefIter::from_bytes(&buffers[0], tree.kind()) {
            let entry =
                entry.map_err(|_| Error::damaged("packs".as_ref(), format!("the tree {tree} cannot be read")))?;
            self.entry(&entry, &mut sides, (depth + 1, at), todo)?;
        }
        drop(sides);
        self.buffers = buffers;
        if self.thin {
            self.found.known.extend(parents);
        }
        Ok(())
    }

    /// One entry of a tree, against the entries of the same name in the trees that it replaces.
    fn entry(
        &mut self,
        entry: &EntryRef<'_>,
        sides: &mut [Side<'_>],
        (depth, above): (u64, &At),
        todo: &mut Vec<Work>,
    ) -> Result<(), Error> {
        let kind = if entry.mode.is_tree() { Kind::Tree } else { Kind::Blob };
        let is_left_out = kind == Kind::Blob && !self.filter.sends(Kind::Blob) || !self.filter.reaches(depth);
        if entry.mode.is_commit() || is_left_out {
            return Ok(());
        }
        // Nearly all entries end here.
        if sides.iter_mut().any(|side| side.find(entry).is_some_and(|other| odb::same(&other, entry))) {
            return Ok(());
        }
        let id = entry.oid.to_owned();
        let sieve = self.sieve.as_mut();
        let at = sieve.map(|sieve| sieve.below(above, entry.filename, kind == Kind::Tree)).unwrap_or_default();
        if !self.meet(id, kind, depth, &at)? {
            return Ok(());
        }
        let others = sides.iter_mut().filter_map(|side| side.find(entry)).filter(|other| !other.mode.is_commit());
        let replaced: Vec<_> = others.map(|other| (other.oid.to_owned(), other.mode.is_tree())).collect();
        self.found.appeared |= replaced.is_empty();
        if self.thin {
            self.found.known.extend(replaced.iter().map(|(id, _)| *id));
            let base = replaced.iter().find(|(_, is_tree)| *is_tree == entry.mode.is_tree());
            self.found.replaces.extend(base.map(|(base, _)| (id, *base)));
        }
        if kind == Kind::Tree && self.filter.reaches(depth + 1) {
            todo.push((
                id,
                replaced.into_iter().filter(|(_, is_tree)| *is_tree).map(|(id, _)| id).collect(),
                depth,
                at,
            ));
        }
        Ok(())
    }

    /// What was found so far.
    pub(crate) fn found(self) -> Found {
        self.found
    }

    /// Ends the walk. What the client has is taken out, for it only moved: what its `haves` lead to, if that is known, else what is in
    /// the trees of the `edge`.
    pub(crate) fn finish(mut self, edge: &[ObjectId], haves: Option<&Haves<'_>>) -> Result<Found, Error> {
        // A client that leaves out what is at some places may lack what was there, and has to get it where it moved to.
        if self.sieve.is_some() || !self.found.appeared || edge.is_empty() || self.found.objects.is_empty() {
            return Ok(self.found);
        }
        if let Some(haves) = haves.filter(|haves| haves.tell_all()) {
            self.found.objects.retain(|id| !haves.lead_to(id));
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
        for entry in TreeRefIter::from_bytes(object.data, tree.kind()).flatten() {
            if !entry.mode.is_commit() && held.insert(entry.oid.to_owned()) && entry.mode.is_tree() {
                todo.push(entry.oid.to_owned());
            }
        }
    }
    Ok(held)
}
