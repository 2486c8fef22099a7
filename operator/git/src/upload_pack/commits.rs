//! Walking commits: what is reachable from the wants and not from what the client has.

use std::collections::BinaryHeap;

use gix::{
    ObjectId,
    hashtable::{HashMap, HashSet},
};

use crate::odb::{Commit, Error, Packs, ReadCache};

/// How many commits are looked at after the last wanted one, because dates lie; git's own number.
const SLOP: u32 = 5;

/// A commit on a walk.
struct Seen {
    commit: Commit,
    unwanted: bool,
    /// It left the queue: its parents were seen.
    passed: bool,
}

/// Result of a walk.
pub(crate) struct Walked {
    /// Commits to send, in the order of the walk: about youngest first.
    pub(crate) commits: Vec<(ObjectId, Commit)>,
    /// Trees of commits at the edge, which the client has. Not complete: of parents of sent commits only.
    pub(crate) edge: Vec<ObjectId>,
}

/// Walks from `wants`, leaving out what `haves` reach. Both are commits that are there.
pub(crate) struct Walk<'a> {
    packs: &'a Packs,
    cache: &'a mut ReadCache,
    buffer: Vec<u8>,
    seen: HashMap<ObjectId, Seen>,
    queue: BinaryHeap<(i64, ObjectId)>,
    /// Commits in the queue that are wanted.
    wanted: usize,
    /// Commits that are treated as if they had no parents.
    cut: Option<&'a HashSet<ObjectId>>,
    /// Commits that are older are not wanted.
    since: i64,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(packs: &'a Packs, cache: &'a mut ReadCache) -> Self {
        Self {
            packs,
            cache,
            buffer: Vec::new(),
            seen: HashMap::default(),
            queue: BinaryHeap::new(),
            wanted: 0,
            cut: None,
            since: i64::MIN,
        }
    }

    /// The walk does not look behind these commits.
    pub(crate) fn cut(self, cut: &'a HashSet<ObjectId>) -> Self {
        Self { cut: Some(cut), ..self }
    }

    /// Commits that are older than this, in seconds, are not wanted.
    pub(crate) fn since(self, since: i64) -> Self {
        Self { since, ..self }
    }

    pub(crate) fn run(
        mut self,
        wants: &[ObjectId],
        haves: &[ObjectId],
        alive: &dyn Fn() -> bool,
    ) -> Result<Option<Walked>, Error> {
        for id in haves {
            self.meet(id, true, None)?;
        }
        for id in wants {
            self.meet(id, false, None)?;
        }
        let mut order = Vec::new();
        let mut slop = SLOP;
        let mut oldest_sent = i64::MAX;
        while let Some((date, id)) = self.queue.pop() {
            if self.seen.len().is_multiple_of(1_024) && !alive() {
                return Ok(None);
            }
            let Some(seen) = self.seen.get_mut(&id) else { continue };
            seen.passed = true;
            if date < self.since && !seen.unwanted {
                self.wanted -= 1;
                continue;
            }
            let unwanted = seen.unwanted;
            let parents = seen.commit.parents.clone();
            let near = seen.commit.place.map(|place| place.pack);
            if !unwanted {
                self.wanted -= 1;
                oldest_sent = oldest_sent.min(date);
                order.push(id);
            }
            // As git does: go on while something is wanted or dates are in disorder, then a little further.
            slop = if !unwanted || self.wanted > 0 || oldest_sent <= date { SLOP } else { slop - 1 };
            if slop == 0 {
                break;
            }
            for parent in &parents {
                self.meet(parent, unwanted, near)?;
            }
        }
        Ok(Some(self.finish(order)))
    }

    /// Sees a commit, or learns that one seen before is unwanted.
    fn meet(&mut self, id: &ObjectId, unwanted: bool, near: Option<usize>) -> Result<(), Error> {
        let Some(seen) = self.seen.get_mut(id) else {
            let mut commit = self.packs.commit(id, near, &mut self.buffer, self.cache)?;
            if self.cut.is_some_and(|cut| cut.contains(id)) {
                // Nor does a table know what it brings then.
                (commit.parents, commit.place) = (Box::default(), None);
            }
            self.queue.push((commit.date, *id));
            self.wanted += usize::from(!unwanted);
            self.seen.insert(*id, Seen { commit, unwanted, passed: false });
            return Ok(());
        };
        if unwanted && !seen.unwanted {
            self.spread(*id);
        }
        Ok(())
    }

    /// Marks a commit and all of its ancestors that were seen as unwanted.
    fn spread(&mut self, id: ObjectId) {
        let mut todo = vec![id];
        while let Some(id) = todo.pop() {
            let Some(seen) = self.seen.get_mut(&id) else { continue };
            if seen.unwanted {
                continue;
            }
            seen.unwanted = true;
            if seen.passed {
                todo.extend_from_slice(&seen.commit.parents);
            } else {
                self.wanted -= 1;
            }
        }
    }

    fn finish(mut self, order: Vec<ObjectId>) -> Walked {
        let mut edge = HashSet::default();
        let kept: Vec<_> =
            order.into_iter().filter(|id| self.seen.get(id).is_some_and(|seen| !seen.unwanted)).collect();
        for id in &kept {
            let parents = self.seen.get(id).map_or_else(Box::default, |seen| seen.commit.parents.clone());
            for parent in &parents {
                if let Some(seen) = self.seen.get(parent).filter(|seen| seen.unwanted) {
                    edge.insert(seen.commit.tree);
                }
            }
        }
        let commits = kept.into_iter().filter_map(|id| self.seen.remove(&id).map(|seen| (id, seen.commit))).collect();
        Walked { commits, edge: edge.into_iter().collect() }
    }
}

/// Whether every want reaches a common commit, or is one: then the client has said enough. Looks at `budget` commits at most.
pub(crate) fn all_reach(
    packs: &Packs,
    wants: &[ObjectId],
    common: &HashSet<ObjectId>,
    budget: usize,
    cache: &mut ReadCache,
) -> Result<bool, Error> {
    let mut buffer = Vec::new();
    let mut oldest = i64::MAX;
    for id in common {
        oldest = oldest.min(packs.commit(id, None, &mut buffer, cache)?.date);
    }
    let mut search = Search { packs, common, oldest, left: budget, answers: HashMap::default(), buffer, cache };
    for want in wants {
        if !search.reaches(*want)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A search for common commits, depth first, with the answers so far.
struct Search<'a> {
    packs: &'a Packs,
    common: &'a HashSet<ObjectId>,
    /// Nothing common is older than this.
    oldest: i64,
    left: usize,
    answers: HashMap<ObjectId, bool>,
    buffer: Vec<u8>,
    cache: &'a mut ReadCache,
}

/// A commit on the way, and how many of its parents were asked.
type Step = (ObjectId, Commit, usize);

impl Search<'_> {
    /// Whether `want` reaches something common. The way is kept in a list: histories are longer than stacks.
    fn reaches(&mut self, want: ObjectId) -> Result<bool, Error> {
        let mut path: Vec<Step> = Vec::new();
        let mut answer = self.look(want, None, &mut path)?;
        while let Some((id, commit, at)) = path.last_mut() {
            if answer {
                self.answers.insert(*id, true);
                path.pop();
            } else if let Some(parent) = commit.parents.get(*at).copied() {
                *at += 1;
                let near = commit.place.map(|place| place.pack);
                answer = self.look(parent, near, &mut path)?;
            } else {
                path.pop();
            }
        }
        Ok(answer)
    }

    /// What is known of a commit; if its parents must be asked, it is put on the path.
    fn look(&mut self, id: ObjectId, near: Option<usize>, path: &mut Vec<Step>) -> Result<bool, Error> {
        if self.common.contains(&id) {
            return Ok(true);
        }
        if let Some(known) = self.answers.get(&id) {
            return Ok(*known);
        }
        let Some(left) = self.left.checked_sub(1) else { return Ok(false) };
        self.left = left;
        self.answers.insert(id, false);
        let commit = self.packs.commit(&id, near, &mut self.buffer, self.cache)?;
        if commit.date >= self.oldest {
            path.push((id, commit, 0));
        }
        Ok(false)
    }
}

/// Whether every one of `targets` is an ancestor of (or equal to) one of `tips`, found by walking at most `budget` commits.
pub(crate) fn reachable(
    packs: &Packs,
    tips: &[ObjectId],
    targets: &[ObjectId],
    budget: usize,
    cache: &mut ReadCache,
) -> Result<bool, Error> {
    let mut missing: HashSet<ObjectId> = targets.iter().copied().collect();
    let mut buffer = Vec::new();
    let mut oldest = i64::MAX;
    for id in targets {
        oldest = oldest.min(packs.commit(id, None, &mut buffer, cache)?.date);
    }
    let mut seen: HashSet<ObjectId> = tips.iter().copied().collect();
    let mut queue = BinaryHeap::new();
    for tip in &seen {
        queue.push((packs.commit(tip, None, &mut buffer, cache)?.date, *tip));
    }
    // Ancestors are older than their children, unless a clock was wrong: a day of grace, as a bound on the work.
    let cutoff = oldest.saturating_sub(86_400);
    while let Some((date, id)) = queue.pop() {
        missing.remove(&id);
        if missing.is_empty() {
            return Ok(true);
        }
        if date < cutoff || seen.len() > budget {
            return Ok(false);
        }
        let commit = packs.commit(&id, None, &mut buffer, cache)?;
        let near = commit.place.map(|place| place.pack);
        for parent in &commit.parents {
            if seen.insert(*parent) {
                queue.push((packs.commit(parent, near, &mut buffer, cache)?.date, *parent));
            }
        }
    }
    Ok(missing.is_empty())
}
