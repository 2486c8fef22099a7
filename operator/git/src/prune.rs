//! Pruning: packs become one pack with what some tips lead to, and nothing else.

use std::{
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use gix::{
    ObjectId,
    hashtable::HashSet,
    objs::{CommitRefIter, Kind, TagRefIter, TreeRefIter},
};

use crate::{
    fold::{self, Folded},
    odb::{self, EntryKind, Location, Pack, Packs, ReadCache},
    pack_writer::{self, Receiver, Selection},
};

/// Writes one pack with everything that `tips` lead to, and its index, into `folder`; `None` when that is nothing. Both are synced.
///
/// # Errors
/// When an object is missing or cannot be read, a file not written, or `interrupt` was set.
pub fn prune(
    packs: &Packs,
    tips: &[ObjectId],
    folder: &Path,
    interrupt: &AtomicBool,
) -> Result<Option<Folded>, fold::Error> {
    let reached = Walk::new(packs, None, interrupt).run(tips)?;
    if reached.is_empty() {
        return Ok(None);
    }
    let selection = Selection::of(packs, reached)?;
    let receiver = Receiver { ofs_delta: true, has: None, replaces: None };
    fold::write(packs, &selection, &receiver, folder, interrupt).map(Some)
}

/// Whether `packs` hold everything that `tips` lead to, and every copy of every object can be read from its own pack and older ones.
///
/// Every copy: of several, a later fold keeps the oldest, and whoever reads takes the youngest. With `complete`, the first pack is known to
/// stand alone, and to hold whatever its objects lead to: it is not looked at.
///
/// # Errors
/// When a pack cannot be read, or `interrupt` was set.
pub fn covers(
    packs: &Packs,
    complete: bool,
    tips: &[ObjectId],
    interrupt: &AtomicBool,
) -> Result<bool, pack_writer::Error> {
    let is_missing = |error: &odb::Error| matches!(error, odb::Error::Missing(_) | odb::Error::MissingBase { .. });
    let (mut buffer, mut cache) = (Vec::new(), ReadCache::default());
    for (number, pack) in packs.packs().iter().enumerate().skip(usize::from(complete)) {
        if !stands_on(pack, &packs.packs()[..number])? {
            return Ok(false);
        }
        for (at, (_, offset, _)) in pack.iter().enumerate() {
            if at.is_multiple_of(256) && interrupt.load(Ordering::Relaxed) {
                return Err(pack_writer::Error::Interrupted);
            }
            packs.read(Location { pack: number, offset }, &mut buffer, &mut cache)?;
        }
    }
    match Walk::new(packs, complete.then_some(0), interrupt).run(tips) {
        Ok(_) => Ok(true),
        Err(pack_writer::Error::Odb(error)) if is_missing(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether every delta of a pack builds on an object of the pack or of older ones. So deltas never go round in a circle, whichever copies
/// are left in the end.
fn stands_on(pack: &Pack, older: &[Arc<Pack>]) -> Result<bool, odb::Error> {
    let mut stands = true;
    pack.heads(&mut |_, entry| {
        if let EntryKind::RefDelta(base) = entry.kind {
            stands = pack.contains(&base) || older.iter().any(|older| older.contains(&base));
        }
        Ok::<_, odb::Error>(if stands { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(stands)
}

/// A walk over everything that tips lead to.
struct Walk<'a> {
    packs: &'a Packs,
    /// The position of a pack whose objects are not followed.
    complete: Option<usize>,
    interrupt: &'a AtomicBool,
    seen: HashSet<ObjectId>,
    /// Commits, trees and tags that are to be read.
    todo: Vec<ObjectId>,
}

impl<'a> Walk<'a> {
    fn new(packs: &'a Packs, complete: Option<usize>, interrupt: &'a AtomicBool) -> Self {
        Self { packs, complete, interrupt, seen: HashSet::default(), todo: Vec::new() }
    }

    /// All objects that were met outside of the complete pack, each once.
    fn run(mut self, tips: &[ObjectId]) -> Result<HashSet<ObjectId>, pack_writer::Error> {
        tips.iter().try_for_each(|tip| self.meet(*tip, true))?;
        let (mut buffer, mut cache, mut read) = (Vec::new(), ReadCache::default(), 0_usize);
        while let Some(id) = self.todo.pop() {
            read += 1;
            if read.is_multiple_of(256) && self.interrupt.load(Ordering::Relaxed) {
                return Err(pack_writer::Error::Interrupted);
            }
            let kind = self.packs.get(&id, &mut buffer, &mut cache)?.kind;
            self.follow(&id, kind, &buffer)?;
        }
        Ok(self.seen)
    }

    fn meet(&mut self, id: ObjectId, leads_on: bool) -> Result<(), odb::Error> {
        if self.complete.is_some_and(|at| self.packs.packs()[at].contains(&id)) || !self.seen.insert(id) {
            return Ok(());
        }
        if !self.packs.contains(&id) {
            return Err(odb::Error::Missing(id));
        }
        if leads_on {
            self.todo.push(id);
        }
        Ok(())
    }

    fn follow(&mut self, id: &ObjectId, kind: Kind, data: &[u8]) -> Result<(), odb::Error> {
        let hash = id.kind();
        let unreadable = || odb::Error::damaged("packs".as_ref(), format!("{id} is not a {kind} that can be read"));
        match kind {
            Kind::Blob => Ok(()),
            Kind::Tree => TreeRefIter::from_bytes(data, hash).try_for_each(|entry| {
                let entry = entry.map_err(|_| unreadable())?;
                // What a submodule points at is in another repository.
                if entry.mode.is_commit() { Ok(()) } else { self.meet(entry.oid.to_owned(), entry.mode.is_tree()) }
            }),
            Kind::Commit => {
                let tree = CommitRefIter::from_bytes(data, hash).tree_id().map_err(|_| unreadable())?;
                self.meet(tree, true)?;
                CommitRefIter::from_bytes(data, hash).parent_ids().try_for_each(|parent| self.meet(parent, true))
            }
            Kind::Tag => {
                let target = TagRefIter::from_bytes(data, hash).target_id().map_err(|_| unreadable())?;
                self.meet(target, true)
            }
        }
    }
}
