//! A snapshot's references as the git crate wants to see them.

use git::refs::References;
use git::view::RepositoryView;
use model::desired::RepositoryConfig;
use model::{ObjectId, RefName};
use store::{Refs, Snapshot};

use super::open_packs::Opened;

/// References of the store.
struct StoredRefs(Refs);

impl References for StoredRefs {
    fn visit(&self, prefix: &[u8], each: &mut dyn FnMut(&RefName, &ObjectId)) {
        self.0.visit(prefix, each);
    }

    fn get(&self, name: &RefName) -> Option<ObjectId> {
        self.0.get(name)
    }
}

/// What one request sees of a repository.
pub(super) struct View<'a> {
    snapshot: &'a Snapshot,
    opened: &'a Opened,
    refs: StoredRefs,
    head: RefName,
}

impl<'a> View<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, opened: &'a Opened, config: &RepositoryConfig) -> Self {
        Self { snapshot, opened, refs: StoredRefs(snapshot.refs.clone()), head: head(snapshot, config) }
    }

    pub(super) fn borrow(&self) -> RepositoryView<'_> {
        RepositoryView {
            packs: &self.opened.packs,
            refs: &self.refs,
            head: Some(&self.head),
            dropped_tips: self.snapshot.upkeep.dropped.ids(),
            complete_walk_needed: self.snapshot.upkeep.dropped.is_incomplete(),
            peeled: &self.opened.peeled,
        }
    }
}

/// Where `HEAD` points: the configured default branch; where that does not exist, the branch that was pushed first.
pub(super) fn head(snapshot: &Snapshot, config: &RepositoryConfig) -> RefName {
    let configured = &config.default_branch;
    match &snapshot.head {
        Some(first) if snapshot.refs.get(configured).is_none() && snapshot.refs.get(first).is_some() => first.clone(),
        _ => configured.clone(),
    }
}
