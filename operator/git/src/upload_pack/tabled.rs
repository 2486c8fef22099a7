//! Choosing objects by what reachability tables say that commits introduce; commits in no table go on by their trees.

use gix::{
    ObjectId,
    hashtable::{HashMap, HashSet},
};

use super::{
    Route,
    ancestors::Commits,
    objects::{TreeWalk, held},
    plan::{Chosen, Plan, Question, parents_first},
};
use crate::{
    odb::{Bits, Commit, Error, Marks, Packs, ReadCache},
    pack_writer::Selection,
    reach::{Code, Introduced},
};

/// Chooses what `commits` bring, `tags`, and what is wanted for itself. What is in the trees of the `edge` the client has.
pub(super) fn choose(
    question: &Question<'_>,
    commits: &Commits,
    tags: &HashSet<ObjectId>,
    edge: &[ObjectId],
    cache: &mut ReadCache,
) -> Result<Plan, Error> {
    let Question { request, view, wants, common, alive } = question;
    let thin = request.thin_pack && !common.is_empty();
    let mut marks = Marks::new(view.packs);
    if !introduced(view.packs, commits, &mut marks, alive)? {
        return Ok(Plan::Interrupted);
    }
    let held = if edge.is_empty() { HashSet::default() } else { held(view.packs, edge, cache)? };
    let mut trees = TreeWalk::new(view.packs, cache, thin);
    if !loose(view.packs, commits, &mut trees, alive)? {
        return Ok(Plan::Interrupted);
    }
    for (id, kind) in wants.others.iter().filter(|(id, _)| !common.others.contains(id)) {
        trees.object(*id, *kind)?;
    }
    let found = trees.found();
    for id in found.objects.iter().chain(commits.loose.keys()).chain(tags) {
        marks.add(id)?;
    }
    let mut known = found.known;
    for id in &held {
        marks.remove(id);
    }
    known.extend(held);
    if thin {
        // Commits and tags build deltas on one another as well.
        known.extend(common.commits.iter().chain(&common.others));
    }
    let route = if commits.in_tables() > 0 { Route::Tabled } else { Route::Walked };
    let selection = Selection::at(marks.locations());
    Ok(Plan::Walked(Chosen { selection, known, replaces: found.replaces, route }))
}

/// Adds what the commits in tables introduce, and these commits. `false`: it was given up.
fn introduced(
    packs: &Packs,
    commits: &Commits,
    marks: &mut Marks<'_>,
    alive: &dyn Fn() -> bool,
) -> Result<bool, Error> {
    let mut found = Introduced::default();
    for ((at, pack), numbers) in packs.packs().iter().enumerate().zip(&commits.tabled) {
        let Some(table) = pack.table().filter(|_| numbers.len() > 0) else { continue };
        let mut lists = table.lists();
        let mut foreign = Bits::default();
        for (step, number) in numbers.iter().enumerate() {
            if step.is_multiple_of(1_024) && !alive() {
                return Ok(false);
            }
            marks.add_at(at, table.position(number));
            lists.read(number, &mut found)?;
            for code in found.codes() {
                match code.checked_sub(pack.len()) {
                    None => marks.add_at(at, code),
                    Some(code) => drop(foreign.insert(code, table.codes() - pack.len())),
                }
            }
        }
        for code in foreign.iter() {
            if let Code::Foreign(id) = table.code(pack.len() + code) {
                marks.add(&id)?;
            }
        }
    }
    Ok(true)
}

/// Walks the trees of the commits that are in no table. `false`: it was given up.
fn loose(packs: &Packs, commits: &Commits, trees: &mut TreeWalk<'_>, alive: &dyn Fn() -> bool) -> Result<bool, Error> {
    let sent: HashMap<ObjectId, &Commit> = commits.loose.iter().map(|(id, commit)| (*id, commit)).collect();
    let mut outside: HashMap<ObjectId, ObjectId> = HashMap::default();
    let (mut buffer, mut cache) = (Vec::new(), ReadCache::default());
    let mut order: Vec<(&ObjectId, &Commit)> = commits.loose.iter().collect();
    order.sort_unstable_by_key(|(id, commit)| (std::cmp::Reverse(commit.date), **id));
    for (at, commit) in parents_first(order.into_iter(), &sent).into_iter().enumerate() {
        if at.is_multiple_of(256) && !alive() {
            return Ok(false);
        }
        let mut parents = Vec::with_capacity(commit.parents.len());
        for parent in &commit.parents {
            let known = sent.get(parent).map(|commit| commit.tree).or_else(|| outside.get(parent).copied());
            let tree = match known {
                Some(tree) => tree,
                None => packs.commit(parent, None, &mut buffer, &mut cache)?.tree,
            };
            if known.is_none() {
                outside.insert(*parent, tree);
            }
            parents.push(tree);
        }
        trees.commit(commit, parents)?;
    }
    Ok(true)
}
