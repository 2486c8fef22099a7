//! Building a table: what each commit introduces, then the codes of foreign ids, which are known when all were met.

use std::collections::HashMap;

use gix::ObjectId;

use super::{
    Error, Steps,
    commits::{Commits, Fact},
    format::{self, Header},
    introduced::Comparison,
};
use crate::odb::{Packs, ReadCache};

/// How many codes the lists of a table have at most for each object of the pack, and a million more. Histories that
/// people make have one or two; without a bound a small pack could go back and forth between two big trees.
pub const MAX_CODES: u64 = 16;

/// How many codes any table may have.
const FREE_CODES: u64 = 1 << 20;

/// A table, ready to be written.
pub(super) struct Finished {
    pub(super) header: Header,
    pub(super) foreign: Vec<ObjectId>,
    pub(super) commits: Vec<Record>,
    pub(super) parents: Vec<u32>,
    pub(super) lists: Vec<u8>,
}

/// A commit in it.
pub(super) struct Record {
    pub(super) position: u32,
    pub(super) tree: u32,
    pub(super) date: i64,
    pub(super) first_parent: u32,
    pub(super) list: u64,
}

impl Finished {
    pub(super) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }
}

/// Lists of codes as they were found.
struct Listed {
    lists: Vec<u8>,
    /// The commits that have one, and where it begins.
    kept: Vec<(Fact, u64)>,
}

/// Builds the table of the pack at `at` with these commits.
pub(super) fn build(packs: &Packs, at: usize, mut commits: Commits, steps: &mut Steps<'_>) -> Result<Finished, Error> {
    let mut listed = list(packs, at, &mut commits, steps)?;
    let pack = packs.pack(at)?;
    let objects = pack.len();
    let foreign = foreign(&mut listed, &commits, objects, steps)?;
    let code = |code: u32| code.checked_sub(objects).map_or(code, |at| objects + foreign.new[at as usize]);
    let (mut records, mut parents) = (Vec::with_capacity(listed.kept.len()), Vec::new());
    for (fact, list) in &listed.kept {
        let first_parent = u32::try_from(parents.len()).map_err(|_| Error::TooMany)?;
        parents.extend(commits.parents_of(fact).iter().map(|parent| code(*parent)));
        records.push(Record {
            position: fact.position,
            tree: code(fact.tree),
            date: fact.date,
            first_parent,
            list: *list,
        });
    }
    let count = |length: usize| u32::try_from(length).map_err(|_| Error::TooMany);
    let header = Header {
        pack: pack.trailer(),
        objects,
        commits: count(records.len())?,
        parents: count(parents.len())?,
        foreign: count(foreign.ids.len())?,
        lists: listed.lists.len() as u64,
    };
    Ok(Finished { header, foreign: foreign.ids, commits: records, parents, lists: listed.lists })
}

/// Finds out what each commit introduces.
fn list(packs: &Packs, at: usize, commits: &mut Commits, steps: &mut Steps<'_>) -> Result<Listed, Error> {
    let mut listed = Listed { lists: Vec::new(), kept: Vec::with_capacity(commits.facts.len()) };
    let mut left = u64::from(packs.pack(at)?.len()) * MAX_CODES + FREE_CODES;
    let mut comparison = Comparison::new(packs, at);
    let mut outside = Outside { packs, trees: HashMap::new(), buffer: Vec::new(), cache: ReadCache::default() };
    for fact in &commits.facts {
        steps.take()?;
        let mut parents = Vec::new();
        for code in commits.parents_of(fact) {
            let tree = match commits.find(*code) {
                Some(parent) => Some(commits.codes.id(commits.facts[parent].tree)),
                None => outside.tree(*code, &commits.codes.id(*code))?,
            };
            parents.push(tree);
        }
        let Some(parents) = parents.into_iter().collect::<Option<Vec<_>>>() else { continue };
        let tree = commits.codes.id(fact.tree);
        if comparison.commit(&mut commits.codes, (tree, parents), left, steps)? {
            let found = &comparison.found;
            left -= (found.trees.len() + found.blobs.len()) as u64;
            let start = listed.lists.len() as u64;
            format::push_codes(&found.trees, &mut listed.lists);
            format::push_codes(&found.blobs, &mut listed.lists);
            listed.kept.push((fact.clone(), start));
        }
    }
    Ok(listed)
}

/// Trees of commits that are not of the pack.
struct Outside<'a> {
    packs: &'a Packs,
    /// By code; `None`: the commit is missing.
    trees: HashMap<u32, Option<ObjectId>>,
    buffer: Vec<u8>,
    cache: ReadCache,
}

impl Outside<'_> {
    fn tree(&mut self, code: u32, id: &gix::oid) -> Result<Option<ObjectId>, Error> {
        if let Some(known) = self.trees.get(&code) {
            return Ok(*known);
        }
        let tree = match self.packs.commit(id, None, &mut self.buffer, &mut self.cache).map_err(Error::from) {
            Ok(commit) => Some(commit.tree),
            Err(error) if error.is_missing() => None,
            Err(error) => return Err(error),
        };
        self.trees.insert(code, tree);
        Ok(tree)
    }
}

/// The foreign ids that the table names.
struct Foreign {
    /// Sorted.
    ids: Vec<ObjectId>,
    /// For each foreign id in the order in which they were met its place among those.
    new: Vec<u32>,
}

/// Sorts the foreign ids that are named by commits that were kept, and gives the lists their final codes.
fn foreign(listed: &mut Listed, commits: &Commits, objects: u32, steps: &mut Steps<'_>) -> Result<Foreign, Error> {
    let met = &commits.codes.foreign;
    if met.is_empty() {
        return Ok(Foreign { ids: Vec::new(), new: Vec::new() });
    }
    let mut named = vec![false; met.len()];
    let mut name = |code: &u32| {
        if let Some(at) = code.checked_sub(objects) {
            named[at as usize] = true;
        }
    };
    let mut codes = Vec::new();
    let mut rest = listed.lists.as_slice();
    for (fact, _) in &listed.kept {
        steps.take()?;
        name(&fact.tree);
        commits.parents_of(fact).iter().for_each(&mut name);
        for _ in 0..2 {
            take(&mut rest, &mut codes);
            codes.iter().for_each(&mut name);
        }
    }
    let mut ids: Vec<(ObjectId, usize)> =
        met.iter().zip(0..).filter(|(_, at)| named[*at]).map(|(id, at)| (*id, at)).collect();
    ids.sort_unstable();
    let mut new = vec![0; met.len()];
    for ((_, at), place) in ids.iter().zip(0_u32..) {
        new[*at] = place;
    }
    let mut lists = Vec::with_capacity(listed.lists.len());
    let mut rest = listed.lists.as_slice();
    for (_, start) in &mut listed.kept {
        steps.take()?;
        *start = lists.len() as u64;
        for _ in 0..2 {
            take(&mut rest, &mut codes);
            for code in &mut codes {
                *code = code.checked_sub(objects).map_or(*code, |at| objects + new[at as usize]);
            }
            codes.sort_unstable();
            format::push_codes(&codes, &mut lists);
        }
    }
    listed.lists = lists;
    Ok(Foreign { ids: ids.into_iter().map(|(id, _)| id).collect(), new })
}

/// Takes back a list that was just made.
fn take(rest: &mut &[u8], codes: &mut Vec<u32>) {
    format::take_codes(rest, u32::MAX, codes).expect("because these bytes were written by push_codes");
}
