//! Choosing objects by what reachability tables say that commits introduce; commits in no table go on by their trees.

use gix::{
    ObjectId,
    hashtable::{HashMap, HashSet},
    objs::Kind,
};

use super::{
    Route,
    ancestors::{Commits, ancestors},
    filter::Filter,
    held::{Haves, Held},
    objects::{self, TreeWalk},
    plan::{Chosen, Plan, Question, parents_first},
};
use crate::{
    odb::{Bits, Commit, Error, Location, Marks, Packs, ReadCache},
    pack_writer::Selection,
    reach::{Code, Introduced, Table},
};

/// What the client has is found out commit by commit, too, when no more commits than this are in the tables for each that is
/// sent: it costs less than sending. Else the trees at the edge are read.
const COMMITS_FOR_EACH_SENT: usize = 64;

/// Chooses what `commits` bring, `tags`, and what is wanted for itself. What is in the trees of the `edge` the client has.
pub(super) fn choose<'a>(
    question: &Question<'a>,
    commits: &Commits,
    tags: &HashSet<ObjectId>,
    edge: &[ObjectId],
    cache: &mut ReadCache,
) -> Result<Plan<'a>, Error> {
    let Question { request, view, wants, common, alive, .. } = *question;
    let thin = question.is_thin();
    let mut marks = Marks::new(view.packs);
    let sent = introduced(view.packs, commits, request.filter.as_ref(), &mut marks, alive)?;
    let Some(mut held) = held(question, commits, edge, cache)?.filter(|_| sent) else { return Ok(Plan::Interrupted) };
    let mut trees = TreeWalk::new(view.packs, cache, thin).filtered(request.filter);
    for (id, kind) in wants.others.iter().filter(|(id, _)| !common.others.contains(id)) {
        trees.object(*id, *kind)?;
    }
    if !loose(view.packs, commits, &mut trees, alive)? {
        return Ok(Plan::Interrupted);
    }
    let found = trees.found();
    for id in found.objects.iter().chain(&question.commits_sent(commits.loose.keys().copied())).chain(tags) {
        marks.add(id)?;
    }
    marks.settle();
    for id in &held.ids {
        marks.remove(id);
    }
    if let Some(behind) = &held.behind {
        marks.remove_all(behind);
    }
    held.ids.extend(found.known);
    if thin {
        // Commits and tags build deltas on one another as well.
        held.ids.extend(common.commits.iter().chain(&common.others));
    }
    let haves = if held.behind.is_none() { Haves::of(question) } else { None };
    let held = held.and_behind(haves);
    let route = if commits.in_tables() > 0 { Route::Tabled } else { Route::Walked };
    let selection = Selection::at(marks.locations());
    Ok(Plan::Walked(Chosen { selection, known: held, replaces: found.replaces, route }))
}

/// Finds out what the client has. `None`: it was given up.
fn held<'a>(
    question: &Question<'a>,
    commits: &Commits,
    edge: &[ObjectId],
    cache: &mut ReadCache,
) -> Result<Option<Held<'a>>, Error> {
    let Question { view, common, alive, .. } = *question;
    let mut held = Held::default();
    if edge.is_empty() {
        return Ok(Some(held));
    }
    let in_tables: usize =
        view.packs.packs().iter().filter_map(|pack| pack.table()).map(|table| table.len() as usize).sum();
    let mut at_the_edge = true;
    // What is behind where a client's history ends it does not have.
    if question.boundary.cut.is_empty() && in_tables / COMMITS_FOR_EACH_SENT <= commits.in_tables() {
        let haves: Vec<ObjectId> = common.commits.iter().copied().collect();
        let Some(behind) = ancestors(view.packs, &haves, alive, cache)? else { return Ok(None) };
        let mut marks = Marks::new(view.packs);
        if !introduced(view.packs, &behind, None, &mut marks, alive)? {
            return Ok(None);
        }
        marks.settle();
        held.behind = Some(marks);
        at_the_edge = !behind.loose.is_empty();
    }
    if at_the_edge {
        held.ids = objects::held(view.packs, edge, cache)?;
    }
    Ok(Some(held))
}

/// Adds what the commits in tables introduce, and these commits, as far as a filter leaves them. `false`: it was given up.
pub(super) fn introduced(
    packs: &Packs,
    commits: &Commits,
    filter: Option<&Filter>,
    marks: &mut Marks<'_>,
    alive: &dyn Fn() -> bool,
) -> Result<bool, Error> {
    let mut found = Introduced::default();
    let mut sieve = Sieve::new(packs, filter.copied().unwrap_or_default());
    for ((at, pack), numbers) in packs.packs().iter().enumerate().zip(&commits.tabled) {
        let Some(table) = pack.table().filter(|_| numbers.len() > 0) else { continue };
        let mut lists = table.lists();
        let mut foreign = Bits::default();
        for (step, number) in numbers.iter().enumerate() {
            if step.is_multiple_of(1_024) && !alive() {
                return Ok(false);
            }
            if sieve.filter.sends(Kind::Commit) {
                marks.add_at(at, table.position(number));
            }
            if !sieve.filter.looks_into_trees() {
                continue;
            }
            lists.read(number, &mut found)?;
            sieve.sift(at, table, &mut found)?;
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

/// Leaves out of lists what a filter leaves out.
struct Sieve<'a> {
    packs: &'a Packs,
    filter: Filter,
    cache: ReadCache,
}

impl<'a> Sieve<'a> {
    fn new(packs: &'a Packs, filter: Filter) -> Self {
        Self { packs, filter, cache: ReadCache::default() }
    }

    fn sift(&mut self, at: usize, table: &Table, found: &mut Introduced) -> Result<(), Error> {
        if !self.filter.sends(Kind::Tree) {
            found.trees.clear();
        }
        if !self.filter.sends(Kind::Blob) {
            found.blobs.clear();
        }
        let Some(limit) = self.filter.size_limit() else { return Ok(()) };
        let pack = self.packs.pack(at)?;
        let mut kept = Vec::with_capacity(found.blobs.len());
        for code in &found.blobs {
            let size = match table.code(*code) {
                Code::Own(position) => {
                    let location = Location { pack: at, offset: pack.offset_at(position) };
                    Some(self.packs.header_at(location, &mut self.cache)?.1)
                }
                Code::Foreign(id) => self.packs.header(&id, &mut self.cache)?.map(|(_, size)| size),
            };
            if size.is_none_or(|size| size < limit) {
                kept.push(*code);
            }
        }
        found.blobs = kept;
        Ok(())
    }
}

/// Walks the trees of the commits that are in no table. `false`: it was given up.
pub(super) fn loose(
    packs: &Packs,
    commits: &Commits,
    trees: &mut TreeWalk<'_>,
    alive: &dyn Fn() -> bool,
) -> Result<bool, Error> {
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
