//! Choosing objects by what reachability tables say that commits introduce; commits in no table go on by their trees.

use std::cell::{Cell, OnceCell};

use gix::{
    ObjectId,
    hashtable::{HashMap, HashSet},
    objs::Kind,
};

use super::{
    Route,
    ancestors::{Commits, ancestors},
    filter::Filter,
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

/// What the client has, as far as it is known.
#[derive(Default)]
pub(super) struct Held<'a> {
    /// Single objects.
    ids: HashSet<ObjectId>,
    /// All that some commits lead to.
    behind: Option<Marks<'a>>,
    /// What else can be found out.
    haves: Option<Box<Haves<'a>>>,
}

/// What commits lead to that the client has, found out object by object, and not before it was in vain for some.
pub(super) struct Haves<'a> {
    packs: &'a Packs,
    commits: Vec<ObjectId>,
    misses: Cell<u32>,
    behind: OnceCell<Option<Commits>>,
}

/// So many objects that are not known cost less than finding out what is behind the commits that the client has.
const MISSES: u32 = 8;

impl<'a> Haves<'a> {
    /// Of the client that a question is about; `None` if tables cannot tell.
    pub(super) fn of(question: &Question<'a>) -> Option<Self> {
        let Question { view, common, boundary, .. } = *question;
        let has_tables = view.packs.packs().iter().any(|pack| pack.table().is_some());
        (question.is_thin() && has_tables && boundary.cut.is_empty()).then(|| Self {
            packs: view.packs,
            commits: common.commits.iter().copied().collect(),
            misses: Cell::new(0),
            behind: OnceCell::new(),
        })
    }

    fn contains(&self, id: &gix::oid) -> bool {
        self.misses.set(self.misses.get().saturating_add(1));
        if self.misses.get() <= MISSES {
            return false;
        }
        let walk = || ancestors(self.packs, &self.commits, &|| true, &mut ReadCache::default()).ok().flatten();
        let Some(behind) = self.behind.get_or_init(walk) else { return false };
        self.packs.packs().iter().zip(&behind.tabled).any(|(pack, numbers)| {
            let found = pack.table().zip(pack.position(id));
            found.is_some_and(|(table, position)| {
                let number = table.number(position).or_else(|| table.introducer(position));
                number.is_some_and(|number| numbers.contains(number))
            })
        })
    }
}

impl<'a> Held<'a> {
    /// These objects.
    pub(super) fn these(ids: HashSet<ObjectId>) -> Self {
        Self { ids, ..Self::default() }
    }

    pub(super) fn contains(&self, id: &gix::oid) -> bool {
        self.ids.contains(id)
            || self.behind.as_ref().is_some_and(|behind| behind.contains(id))
            || self.haves.as_ref().is_some_and(|haves| haves.contains(id))
    }

    /// And what these lead to.
    pub(super) fn and_behind(self, haves: Option<Haves<'a>>) -> Self {
        Self { haves: haves.map(Box::new), ..self }
    }
}

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
    let mut trees = TreeWalk::new(view.packs, cache, thin).filtered(request.filter.as_ref(), None);
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
    let mut sieve = Sieve::new(packs, filter.cloned().unwrap_or_default());
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
