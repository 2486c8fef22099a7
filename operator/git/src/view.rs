//! What a request sees of a repository: one moment of it.

use model::{ObjectId, RefName};

use crate::{odb::Packs, peel::PeelCache, refs::References};

/// A repository as one request sees it.
#[derive(Clone, Copy)]
pub struct RepositoryView<'a> {
    /// The objects.
    pub packs: &'a Packs,
    /// The references, hidden ones included; what is hidden is left out here.
    pub refs: &'a dyn References,
    /// The default branch, which need not exist.
    pub head: Option<&'a RefName>,
    /// Old values of references that were deleted or rewound: what only they reach is not given away.
    pub dropped_tips: &'a [ObjectId],
    /// There are dropped tips that nobody remembers.
    pub complete_walk_needed: bool,
    /// What tags peel to.
    pub peeled: &'a PeelCache,
}

impl RepositoryView<'_> {
    /// Shows every visible reference below `prefix`.
    pub fn visit(&self, prefix: &[u8], each: &mut dyn FnMut(&RefName, &ObjectId)) {
        self.refs.visit(prefix, &mut |name, id| {
            if !name.is_hidden() {
                each(name, id);
            }
        });
    }

    /// Value of `HEAD`, when its branch exists.
    #[must_use]
    pub fn head_id(&self) -> Option<ObjectId> {
        self.head.filter(|name| !name.is_hidden()).and_then(|name| self.refs.get(name))
    }

    /// Whether there are references that clients do not see.
    #[must_use]
    pub fn has_hidden(&self) -> bool {
        let mut hidden = false;
        self.refs.visit(b"refs/codekeep/", &mut |_, _| hidden = true);
        hidden
    }
}
