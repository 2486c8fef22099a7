//! Deciding which objects a client gets, and how they are put together.

use gix::{
    ObjectId,
    hashtable::{HashMap, HashSet},
};

use super::{commits::Walk, negotiate::Common, objects::TreeWalk, request::Request, wants::Wants};
use crate::{
    odb::{Commit, Error, ReadCache},
    pack_writer::Selection,
    peel::peel,
    view::RepositoryView,
};

/// How the pack is made.
pub(super) enum Plan {
    /// The only pack, as it lies.
    Verbatim,
    /// All packs, one after the other.
    Joined,
    /// All objects, entry by entry.
    Whole,
    /// These objects.
    Walked(Chosen),
    /// The request was given up.
    Interrupted,
}

/// What a walk chose.
pub(super) struct Chosen {
    /// What to send.
    pub(super) selection: Selection,
    /// What the client has, as far as deltas may need it.
    pub(super) known: HashSet<ObjectId>,
    /// For what is sent, what it replaces.
    pub(super) replaces: HashMap<ObjectId, ObjectId>,
}

/// Makes the plan.
pub(super) fn plan(
    request: &Request,
    view: &RepositoryView<'_>,
    wants: &Wants,
    common: &Common,
    alive: &dyn Fn() -> bool,
    cache: &mut ReadCache,
) -> Result<Plan, Error> {
    if common.is_empty() && everything_is_wanted(view, wants) {
        return Ok(match view.packs.packs() {
            _ if !request.ofs_delta => Plan::Whole,
            [_] => Plan::Verbatim,
            _ if view.packs.disjoint() => Plan::Joined,
            _ => Plan::Whole,
        });
    }
    walk(request, view, wants, common, alive, cache)
}

/// Whether all that is in the packs is visible, and all that is visible is wanted: then nothing need be looked at.
pub(super) fn everything_is_wanted(view: &RepositoryView<'_>, wants: &Wants) -> bool {
    if view.complete_walk_needed || !view.dropped_tips.is_empty() || view.refs.has_hidden() {
        return false;
    }
    if view.packs.packs().iter().any(|pack| !pack.parts().exact) {
        return false;
    }
    let named: HashSet<ObjectId> = wants.named.iter().chain(&wants.commits).chain(&wants.tags).copied().collect();
    view.refs.visible(b"refs/").all(|reference| named.contains(&reference.id))
}

/// Chooses by walking from the wants to what is common.
fn walk(
    request: &Request,
    view: &RepositoryView<'_>,
    wants: &Wants,
    common: &Common,
    alive: &dyn Fn() -> bool,
    cache: &mut ReadCache,
) -> Result<Plan, Error> {
    let haves: Vec<ObjectId> = common.commits.iter().copied().collect();
    let Some(walked) = Walk::new(view.packs, cache).run(&wants.commits, &haves, alive)? else {
        return Ok(Plan::Interrupted);
    };
    let mut tags: HashSet<ObjectId> = wants.tags.iter().copied().filter(|id| !common.others.contains(id)).collect();
    let sent: HashMap<ObjectId, &Commit> = walked.commits.iter().map(|(id, commit)| (*id, commit)).collect();
    if request.include_tag {
        follow_tags(view, &sent, common, &mut tags, cache)?;
    }
    let thin = request.thin_pack && !common.is_empty();
    let mut outside = HashMap::default();
    let mut buffer = Vec::new();
    for (_, commit) in &walked.commits {
        for parent in commit.parents.iter().filter(|parent| !sent.contains_key(*parent)) {
            if !outside.contains_key(parent) {
                let near = commit.place.map(|place| place.pack);
                outside.insert(*parent, view.packs.commit(parent, near, &mut buffer, cache)?.tree);
            }
        }
    }
    let mut trees = TreeWalk::new(view.packs, cache, thin);
    for (at, commit) in parents_first(&walked.commits, &sent).into_iter().enumerate() {
        if at.is_multiple_of(256) && !alive() {
            return Ok(Plan::Interrupted);
        }
        let tree_of = |id| sent.get(id).map(|commit| commit.tree).or_else(|| outside.get(id).copied());
        trees.commit(commit, commit.parents.iter().filter_map(tree_of).collect())?;
    }
    for (id, kind) in wants.others.iter().filter(|(id, _)| !common.others.contains(id)) {
        trees.object(*id, *kind)?;
    }
    drop(outside);
    let mut found = trees.finish(&walked.edge)?;
    let commits = walked.commits.iter().map(|(id, _)| *id);
    let objects = std::mem::take(&mut found.objects);
    let selection = Selection::of(view.packs, commits.chain(tags).chain(objects))?;
    if thin {
        // Commits and tags build deltas on one another as well.
        found.known.extend(common.commits.iter().chain(&common.others));
    }
    Ok(Plan::Walked(Chosen { selection, known: found.known, replaces: found.replaces }))
}

/// The commits, each after all of its parents. The walk over trees relies on it: what a tree has in common with the tree of
/// a parent was dealt with there. Dates would not do, and without an order a change and its revert vouch for each other.
fn parents_first<'a>(commits: &'a [(ObjectId, Commit)], sent: &HashMap<ObjectId, &'a Commit>) -> Vec<&'a Commit> {
    let mut order = Vec::with_capacity(commits.len());
    let mut met = HashSet::default();
    let mut path: Vec<(&Commit, usize)> = Vec::new();
    // Oldest first: most parents are there already and the path stays short.
    for (id, commit) in commits.iter().rev() {
        if met.insert(*id) {
            path.push((commit, 0));
        }
        while let Some((commit, at)) = path.last_mut() {
            let Some(parent) = commit.parents.get(*at) else {
                order.push(*commit);
                path.pop();
                continue;
            };
            *at += 1;
            if let Some(next) = sent.get(parent).filter(|_| met.insert(*parent)) {
                path.push((*next, 0));
            }
        }
    }
    order
}

/// Adds the tags of commits that are sent.
fn follow_tags(
    view: &RepositoryView<'_>,
    sent: &HashMap<ObjectId, &Commit>,
    common: &Common,
    tags: &mut HashSet<ObjectId>,
    cache: &mut ReadCache,
) -> Result<(), Error> {
    let mut tips = Vec::new();
    view.refs.leading_to(&sent.keys().copied().collect(), &mut |reference| {
        let target = reference.peeled.filter(|target| reference.is_tag() && sent.contains_key(target));
        tips.extend(target.map(|_| reference.id));
    });
    for tip in tips {
        let peeled = peel(view.packs, &tip, cache)?;
        tags.extend(peeled.into_iter().flat_map(|peeled| peeled.tags).filter(|id| !common.others.contains(id)));
    }
    Ok(())
}
