//! The commits of a pack, in the order in which they get into its table.

use std::{collections::HashMap, sync::Arc};

use gix::ObjectId;

use super::{Error, Steps, kinds};
use crate::odb::{Commit, Location, Pack, Packs, ReadCache};

/// The generation of a commit that is being found out.
const UNDER_WAY: u32 = u32::MAX;

/// What is known of a commit before its trees are looked at.
#[derive(Clone)]
pub(super) struct Fact {
    /// Position in the index.
    pub(super) position: u32,
    /// Code of the tree.
    pub(super) tree: u32,
    /// When it was committed.
    pub(super) date: i64,
    /// Its parents among all parents.
    pub(super) parents: std::ops::Range<u32>,
}

/// Gives codes to ids. Those of foreign ids are given as they are met and become final when all are known.
pub(super) struct Codes {
    pack: Arc<Pack>,
    pub(super) foreign: Vec<ObjectId>,
    /// With a random secret: whoever pushed chose what is named.
    by_id: HashMap<ObjectId, u32>,
}

impl Codes {
    pub(super) fn code(&mut self, id: &gix::oid) -> Result<u32, Error> {
        if let Some(position) = self.pack.position(id) {
            return Ok(position);
        }
        if let Some(code) = self.by_id.get(id) {
            return Ok(*code);
        }
        let next = u32::try_from(self.foreign.len()).ok().and_then(|next| next.checked_add(self.pack.len()));
        // The greatest number stays free, so that the number of codes is one as well.
        let code = next.filter(|code| *code < u32::MAX).ok_or(Error::TooMany)?;
        self.foreign.push(id.to_owned());
        self.by_id.insert(id.to_owned(), code);
        Ok(code)
    }

    pub(super) fn id(&self, code: u32) -> ObjectId {
        match code.checked_sub(self.pack.len()) {
            Some(foreign) => self.foreign[foreign as usize],
            None => self.pack.id_at(code).to_owned(),
        }
    }
}

/// The commits of a pack.
pub(super) struct Commits {
    /// Parents before children; of one generation by id.
    pub(super) facts: Vec<Fact>,
    /// Codes.
    pub(super) parents: Vec<u32>,
    /// Position and place in `facts`, sorted.
    pub(super) by_position: Vec<(u32, u32)>,
    pub(super) codes: Codes,
}

impl Commits {
    pub(super) fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    pub(super) fn parents_of(&self, fact: &Fact) -> &[u32] {
        &self.parents[fact.parents.start as usize..fact.parents.end as usize]
    }

    /// The place of the commit with this code, if it is of this pack.
    pub(super) fn find(&self, code: u32) -> Option<usize> {
        let at = self.by_position.binary_search_by_key(&code, |(position, _)| *position).ok()?;
        Some(self.by_position[at].1 as usize)
    }

    fn index(&mut self) {
        let facts = self.facts.iter().zip(0..);
        self.by_position = facts.map(|(fact, at)| (fact.position, at)).collect();
        self.by_position.sort_unstable();
    }

    /// Sorts by generation, then by id, which is by position.
    fn sort(&mut self) {
        self.index();
        let generations = self.generations();
        let mut sorted: Vec<_> = std::mem::take(&mut self.facts).into_iter().zip(generations).collect();
        sorted.sort_unstable_by_key(|(fact, generation)| (*generation, fact.position));
        self.facts = sorted.into_iter().map(|(fact, _)| fact).collect();
        self.index();
    }

    /// For each commit the length of the longest way through this pack. Histories are longer than stacks; and where damage
    /// makes a circle of one, the way is cut.
    fn generations(&self) -> Vec<u32> {
        let mut generations = vec![0_u32; self.facts.len()];
        let mut way: Vec<(usize, u32)> = Vec::new();
        for start in 0..self.facts.len() {
            if generations[start] == 0 {
                generations[start] = UNDER_WAY;
                way.push((start, 0));
            }
            while let Some((at, asked)) = way.last_mut() {
                let parents = self.parents_of(&self.facts[*at]);
                let Some(parent) = parents.get(*asked as usize) else {
                    let known = parents.iter().filter_map(|parent| self.find(*parent)).map(|at| generations[at]);
                    generations[*at] = 1 + known.filter(|known| *known != UNDER_WAY).max().unwrap_or(0);
                    way.pop();
                    continue;
                };
                *asked += 1;
                if let Some(parent) = self.find(*parent).filter(|parent| generations[*parent] == 0) {
                    generations[parent] = UNDER_WAY;
                    way.push((parent, 0));
                }
            }
        }
        generations
    }
}

/// Reads the commits of the pack at `at`, in the order in which they lie there.
pub(super) fn read(packs: &Packs, at: usize, steps: &mut Steps<'_>) -> Result<Commits, Error> {
    let ranks = kinds::commits(packs, at, steps)?;
    let pack = Arc::clone(packs.packs().get(at).ok_or_else(|| Error::Odb(outside()))?);
    let codes = Codes { pack: Arc::clone(&pack), foreign: Vec::new(), by_id: HashMap::new() };
    let mut commits =
        Commits { facts: Vec::with_capacity(ranks.len()), parents: Vec::new(), by_position: Vec::new(), codes };
    let (mut cache, mut buffer) = (ReadCache::default(), Vec::new());
    for rank in ranks {
        steps.take()?;
        let (offset, position) = pack.at_rank(rank).ok_or_else(|| Error::Odb(outside()))?;
        match packs.read(Location { pack: at, offset }, &mut buffer, &mut cache).map_err(Error::from) {
            Ok(_) => {}
            Err(error) if error.is_missing() => continue,
            Err(error) => return Err(error),
        }
        let Some(commit) = Commit::parse(&buffer) else { continue };
        let tree = commits.codes.code(&commit.tree)?;
        let end_of = |parents: &Vec<u32>| u32::try_from(parents.len()).map_err(|_| Error::TooMany);
        let start = end_of(&commits.parents)?;
        for parent in &commit.parents {
            let code = commits.codes.code(parent)?;
            commits.parents.push(code);
        }
        let parents = start..end_of(&commits.parents)?;
        commits.facts.push(Fact { position, tree, date: commit.date, parents });
    }
    commits.sort();
    Ok(commits)
}

fn outside() -> crate::odb::Error {
    crate::odb::Error::damaged("packs".as_ref(), "a location outside the open packs")
}
