//! What a client wants to push: edits and the objects that come with them.

use std::collections::BTreeSet;

use model::{ObjectId, RefName};
use store::RefEdit;

use super::{Client, reference};
use crate::client;
use crate::dice::Dice;
use crate::git::Objects;
use crate::refs::Refs;

/// Branches that all clients push to.
const SHARED: [&str; 3] = ["refs/heads/main", "refs/heads/shared", "refs/heads/busy"];

/// A push in the making.
#[derive(Debug, Clone)]
pub(super) struct Intent {
    pub(super) atomic: bool,
    pub(super) edits: Vec<RefEdit>,
    /// What the new values lead to, and the server does not have as far as the client knows.
    pub(super) objects: Objects,
    /// Nothing comes with it that nothing leads to.
    pub(super) exact: bool,
    pub(super) bulky: bool,
}

impl Client {
    /// Something to push on top of these references; `None` when there is nothing sensible.
    pub(super) fn intent(&mut self, refs: &Refs) -> Option<Intent> {
        let own = self.own();
        let mut atomic = false;
        let client::Habits { churn, flip, .. } = self.habits;
        let edits = match self.dice.weighed(&[30, 24, churn, churn, churn, churn, flip, 16]) {
            0 => vec![self.advance(refs, &own)?],
            1 => {
                let shared = self.shared();
                vec![self.advance(refs, &shared)?]
            }
            2 => vec![self.delete(refs)?],
            3 => vec![self.branch_off(refs)?],
            4 => vec![self.force(refs)?],
            5 => vec![self.revive(refs)?],
            6 => vec![self.flip(refs)?],
            _ => {
                atomic = self.dice.chance(600);
                self.several(refs)
            }
        };
        if edits.is_empty() {
            return None;
        }
        let known = self.universe.reachable(refs.tips(), &BTreeSet::new());
        let mut new = self.universe.reachable(edits.iter().filter_map(|edit| edit.new), &known);
        let exact = new.is_empty() || !self.dice.chance(self.habits.junk);
        if !exact {
            new.insert(self.universe.make(&mut self.dice, vec![]));
        }
        let bulky = self.dice.chance(self.habits.bulky);
        Some(Intent { atomic, edits, objects: self.deltas(&new, &known), exact, bulky })
    }

    /// Some of the objects become deltas on those that the server should have.
    fn deltas(&mut self, new: &BTreeSet<ObjectId>, known: &BTreeSet<ObjectId>) -> Objects {
        let bases: Vec<ObjectId> = known.iter().copied().collect();
        let base = |dice: &mut Dice| if dice.chance(250) { dice.pick(&bases).copied() } else { None };
        new.iter().map(|id| (*id, base(&mut self.dice))).collect()
    }

    fn own(&mut self) -> RefName {
        let number = self.dice.below(2);
        reference(&format!("refs/heads/{}-{number}", self.name))
    }

    fn shared(&mut self) -> RefName {
        reference(self.dice.pick(&SHARED).copied().unwrap_or(SHARED[0]))
    }

    fn any(&mut self, refs: &Refs) -> Option<(RefName, ObjectId)> {
        let all: Vec<_> = refs.iter().map(|(name, id)| (name.clone(), id)).collect();
        self.dice.pick(&all).cloned()
    }

    /// What some reference has, and will be built on.
    fn relied_on(&mut self, refs: &Refs) -> Option<ObjectId> {
        let (name, id) = self.any(refs)?;
        self.rumours.tell(name);
        Some(id)
    }

    /// A new commit on top of others, with a file of its own and perhaps one that is there already.
    fn commit(&mut self, parents: &[ObjectId]) -> ObjectId {
        let file = self.universe.make(&mut self.dice, vec![]);
        let mut links = vec![file];
        if self.dice.chance(300) {
            let held: Vec<_> = self.held().into_iter().collect();
            links.extend(self.dice.pick(&held));
        }
        let tree = self.universe.make(&mut self.dice, links);
        let mut links = vec![tree];
        links.extend_from_slice(parents);
        let commit = self.universe.make(&mut self.dice, links);
        self.tips.push(commit);
        commit
    }

    /// Creates a branch or moves it forward.
    fn advance(&mut self, refs: &Refs, name: &RefName) -> Option<RefEdit> {
        let old = refs.get(name);
        let mut parents: Vec<ObjectId> = old.into_iter().collect();
        if self.dice.chance(if parents.is_empty() { 500 } else { 100 }) {
            parents.extend(self.relied_on(refs));
        }
        let new = Some(self.commit(&parents));
        Some(edit(name.clone(), old, new))
    }

    /// Some reference, rather one that somebody else builds on at this moment.
    fn victim(&mut self, refs: &Refs) -> Option<(RefName, ObjectId)> {
        let rumour = self.rumours.last().filter(|_| self.dice.chance(600));
        match rumour.and_then(|name| Some((refs.get(&name)?, name))) {
            Some((id, name)) => Some((name, id)),
            None => self.any(refs),
        }
    }

    fn delete(&mut self, refs: &Refs) -> Option<RefEdit> {
        // The gateway keeps the default branch from being deleted.
        let (name, old) = self.victim(refs).filter(|(name, _)| *name != reference(SHARED[0]))?;
        Some(edit(name, Some(old), None))
    }

    /// A new name for what another one has: no object is sent.
    fn branch_off(&mut self, refs: &Refs) -> Option<RefEdit> {
        let id = self.relied_on(refs)?;
        let number = self.dice.below(6);
        let name = reference(&format!("refs/tags/t{number}"));
        let old = refs.get(&name);
        let peeled = self.universe.links(&id).first().copied().filter(|_| self.dice.chance(300));
        (old != Some(id)).then(|| RefEdit { peeled, ..edit(name, old, Some(id)) })
    }

    /// Goes back to an older commit, or on from there.
    fn force(&mut self, refs: &Refs) -> Option<RefEdit> {
        let (name, old) = self.victim(refs)?;
        let parent = self.universe.links(&old).get(1).copied();
        let new = match parent {
            Some(parent) if self.dice.chance(500) => parent,
            other => {
                let parents: Vec<ObjectId> = other.into_iter().collect();
                self.commit(&parents)
            }
        };
        Some(edit(name, Some(old), Some(new)))
    }

    /// Pushes again what it pushed or saw before, and what may be gone since.
    fn revive(&mut self, refs: &Refs) -> Option<RefEdit> {
        let id = self.dice.pick(&self.tips).copied()?;
        let name = self.own();
        let old = refs.get(&name);
        (old != Some(id)).then(|| edit(name, old, Some(id)))
    }

    /// Moves a branch to and fro between the same two commits: what was true before is true again, but not in between.
    fn flip(&mut self, refs: &Refs) -> Option<RefEdit> {
        let name = reference("refs/heads/flip");
        let old = refs.get(&name);
        let new = self.flips.iter().copied().find(|id| Some(*id) != old);
        Some(edit(name, old, new))
    }

    fn several(&mut self, refs: &Refs) -> Vec<RefEdit> {
        let mut edits: Vec<RefEdit> = Vec::new();
        for _ in 0..self.dice.between(2, 4) {
            let name = if self.dice.chance(400) { self.own() } else { self.shared() };
            let edit = if self.dice.chance(800) { self.advance(refs, &name) } else { self.branch_off(refs) };
            if let Some(edit) = edit.filter(|edit| edits.iter().all(|other| other.name != edit.name)) {
                edits.push(edit);
            }
        }
        edits
    }
}

fn edit(name: RefName, old: Option<ObjectId>, new: Option<ObjectId>) -> RefEdit {
    RefEdit { name, old, new, peeled: None }
}
