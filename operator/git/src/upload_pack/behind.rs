//! All that one commit leads to.

use std::sync::atomic::{AtomicBool, Ordering};

use gix::ObjectId;

use super::{ancestors::ancestors, objects::TreeWalk, tabled};
use crate::{
    odb::{Marks, Packs, ReadCache},
    pack_writer::{Error, Selection},
};

/// Selects the commit `tip` and all that it leads to, by reachability tables as far as the packs have any.
///
/// # Errors
/// When an object is missing or cannot be read, or `interrupt` was set.
pub fn behind(packs: &Packs, tip: ObjectId, interrupt: &AtomicBool) -> Result<Selection, Error> {
    let alive = || !interrupt.load(Ordering::Relaxed);
    let mut cache = ReadCache::default();
    let commits = ancestors(packs, &[tip], &alive, &mut cache)?.ok_or(Error::Interrupted)?;
    let mut marks = Marks::new(packs);
    let mut trees = TreeWalk::new(packs, &mut cache, false);
    let is_whole = tabled::introduced(packs, &commits, None, &mut marks, &alive)?
        && tabled::loose(packs, &commits, &mut trees, &alive)?;
    if !is_whole {
        return Err(Error::Interrupted);
    }
    for id in trees.found().objects.iter().chain(commits.loose.keys()) {
        marks.add(id)?;
    }
    marks.settle();
    Ok(Selection::at(marks.locations()))
}
