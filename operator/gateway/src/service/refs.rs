//! A snapshot's references as the git crate wants to see them.

use git::refs::References;
use git::view::{ReferencesView, RepositoryView};
use gix::hashtable::HashSet;
use model::desired::RepositoryConfig;
use model::{ObjectFormat, ObjectId, RefName, Reference};
use store::{Refs, Snapshot};

use super::open_packs::Opened;

/// References of the store.
pub(super) struct StoredRefs<'a>(pub(super) &'a Refs);

impl References for StoredRefs<'_> {
    fn range<'a>(&'a self, prefix: &'a [u8]) -> Box<dyn Iterator<Item = Reference<'a>> + 'a> {
        Box::new(self.0.range(prefix))
    }

    fn get(&self, name: &RefName) -> Option<ObjectId> {
        self.0.get(name)
    }

    fn leading_to(&self, ids: &HashSet<ObjectId>, each: &mut dyn FnMut(Reference<'_>)) {
        self.0.leading_to(ids, each);
    }
}

/// What one request sees of a repository.
pub(super) struct View<'a> {
    snapshot: &'a Snapshot,
    refs: StoredRefs<'a>,
    head: RefName,
    format: ObjectFormat,
}

impl<'a> View<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, config: &RepositoryConfig) -> Self {
        Self { snapshot, refs: StoredRefs(&snapshot.refs), head: head(snapshot, config), format: config.object_format }
    }

    /// The references: no object is needed to list them.
    pub(super) fn references(&self) -> ReferencesView<'_> {
        ReferencesView { all: &self.refs, head: Some(&self.head), format: self.format }
    }

    pub(super) fn with_packs<'b>(&'b self, opened: &'b Opened) -> RepositoryView<'b> {
        RepositoryView {
            packs: &opened.packs,
            refs: self.references(),
            dropped_tips: self.snapshot.upkeep.dropped.ids(),
            complete_walk_needed: self.snapshot.upkeep.dropped.is_incomplete(),
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
