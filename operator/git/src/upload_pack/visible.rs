//! Which objects are not for everybody: what only hidden references, or tips that were dropped, lead to.

use gix::{ObjectId, hashtable::HashSet, objs::Kind};

use super::{ancestors::ancestors, objects::TreeWalk, tabled};
use crate::{
    odb::{Error, Marks, ReadCache},
    peel::peel,
    view::RepositoryView,
};

/// Whether nothing is in the packs but what visible references lead to.
pub(super) fn is_everything(view: &RepositoryView<'_>) -> bool {
    let is_dropped = view.complete_walk_needed || !view.dropped_tips.is_empty();
    !is_dropped && !view.refs.has_hidden() && view.packs.packs().iter().all(|pack| pack.parts().exact)
}

/// Those of the `asked` objects that no visible reference leads to; what is not there at all may be among them.
pub(super) fn hidden(
    view: &RepositoryView<'_>,
    asked: &HashSet<ObjectId>,
    cache: &mut ReadCache,
) -> Result<HashSet<ObjectId>, Error> {
    if asked.is_empty() || is_everything(view) {
        return Ok(HashSet::default());
    }
    let (packs, always) = (view.packs, || true);
    let mut left = asked.clone();
    let (mut tips, mut others) = (HashSet::default(), Vec::new());
    for reference in view.refs.visible(b"refs/") {
        left.remove(&reference.id);
        let mut tip = reference.id;
        if reference.peeled.is_some()
            && let Some(peeled) = peel(packs, &tip, cache)?
        {
            for tag in &peeled.tags {
                left.remove(tag);
            }
            tip = peeled.target;
        }
        match packs.kind(&tip, cache)? {
            Some(Kind::Commit) => {
                tips.insert(tip);
            }
            Some(kind) => others.push((tip, kind)),
            None => return Err(Error::Missing(tip)),
        }
    }
    if left.is_empty() {
        return Ok(left);
    }
    let tips: Vec<ObjectId> = tips.into_iter().collect();
    let Some(commits) = ancestors(packs, &tips, &always, cache)? else { return Ok(left) };
    left.retain(|id| !commits.contains(packs, id));
    if left.is_empty() {
        return Ok(left);
    }
    let mut marks = Marks::new(packs);
    tabled::introduced(packs, &commits, None, &mut marks, &always)?;
    let mut trees = TreeWalk::new(packs, cache, false);
    tabled::loose(packs, &commits, &mut trees, &always)?;
    others.iter().try_for_each(|(id, kind)| trees.object(*id, *kind))?;
    let found: HashSet<ObjectId> = trees.found().objects.into_iter().collect();
    marks.settle();
    left.retain(|id| !found.contains(id) && !marks.contains(id));
    Ok(left)
}
