//! What a client wants to push: edits and the objects that come with them.

use std::collections::BTreeSet;

use model::{ObjectId, RefName};
use store::RefEdit;

use super::{Client, reference};
use crate::ledger::Refs;

/// Branches that all clients push to.
const SHARED: [&str; 3] = ["refs/heads/main", "refs/heads/shared", "refs/heads/busy"];

/// A push in the making.
#[derive(Debug, Clone)]
pub(super) struct Intent {
    pub(super) atomic: bool,
    pub(super) edits: Vec<RefEdit>,
    /// What the new values lead to, and the server does not have as far as the client knows.
    pub(super) objects: BTreeSet<ObjectId>,
    pub(super) bulky: bool,
}

impl Client {
    /// Something to push on top of these references; `None` when there is nothing sensible.
    pub(super) fn intent(&mut self, refs: &Refs) -> Option<Intent> {
        let own = self.own();
        let mut atomic = false;
        let edits = match self.dice.weighed(&[30, 24, 6, 8, 8, 8, self.habits.flip, 16]) {
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
        let known = self.universe.reachable(refs.values().copied(), &BTreeSet::new());
        let objects = self.universe.reachable(edits.iter().filter_map(|edit| edit.new), &known);
        let bulky = self.dice.chance(self.habits.bulky);
        Some(Intent { atomic, edits, objects, bulky })
    }

    fn own(&mut self) -> RefName {
        let number = self.dice.below(2);
        reference(&format!("refs/heads/{}-{number}", self.name))
    }

    fn shared(&mut self) -> RefName {
        reference(self.dice.pick(&SHARED).copied().unwrap_or(SHARED[0]))
    }

    fn any(&mut self, refs: &Refs) -> Option<(RefName, ObjectId)> {
        let all: Vec<_> = refs.iter().map(|(name, id)| (name.clone(), *id)).collect();
        self.dice.pick(&all).cloned()
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
        let old = refs.get(name).copied();
        let mut parents: Vec<ObjectId> = old.into_iter().collect();
        if self.dice.chance(if parents.is_empty() { 500 } else { 100 }) {
            parents.extend(self.any(refs).map(|(_, id)| id));
        }
        let new = Some(self.commit(&parents));
        Some(RefEdit { name: name.clone(), old, new })
    }

    fn delete(&mut self, refs: &Refs) -> Option<RefEdit> {
        let (name, old) = self.any(refs)?;
        Some(RefEdit { name, old: Some(old), new: None })
    }

    /// A new name for what another one has: no object is sent.
    fn branch_off(&mut self, refs: &Refs) -> Option<RefEdit> {
        let (_, id) = self.any(refs)?;
        let number = self.dice.below(6);
        let name = reference(&format!("refs/tags/t{number}"));
        let old = refs.get(&name).copied();
        (old != Some(id)).then_some(RefEdit { name, old, new: Some(id) })
    }

    /// Goes back to an older commit, or on from there.
    fn force(&mut self, refs: &Refs) -> Option<RefEdit> {
        let (name, old) = self.any(refs)?;
        let parent = self.universe.links(&old).get(1).copied();
        let new = match parent {
            Some(parent) if self.dice.chance(500) => parent,
            other => {
                let parents: Vec<ObjectId> = other.into_iter().collect();
                self.commit(&parents)
            }
        };
        Some(RefEdit { name, old: Some(old), new: Some(new) })
    }

    /// Pushes again what it pushed or saw before, and what may be gone since.
    fn revive(&mut self, refs: &Refs) -> Option<RefEdit> {
        let id = self.dice.pick(&self.tips).copied()?;
        let name = self.own();
        let old = refs.get(&name).copied();
        (old != Some(id)).then_some(RefEdit { name, old, new: Some(id) })
    }

    /// Moves a branch to and fro between the same two commits: what was true before is true again, but not in between.
    fn flip(&mut self, refs: &Refs) -> Option<RefEdit> {
        let name = reference("refs/heads/flip");
        let old = refs.get(&name).copied();
        let new = self.flips.iter().copied().find(|id| Some(*id) != old);
        Some(RefEdit { name, old, new })
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
