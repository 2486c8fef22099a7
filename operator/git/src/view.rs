//! What a request sees of a repository: one moment of it.

use gix::hashtable::HashSet;
use model::{ObjectFormat, ObjectId, RefName, Reference};

use crate::{odb::Packs, refs::References};

/// The references as one request sees them: enough to list them.
#[derive(Clone, Copy)]
pub struct ReferencesView<'a> {
    /// All of them, hidden ones included; what is hidden is left out here.
    pub all: &'a dyn References,
    /// The default branch, which need not exist.
    pub head: Option<&'a RefName>,
    /// What names objects, also where there are none yet.
    pub format: ObjectFormat,
}

/// A repository as one request sees it.
#[derive(Clone, Copy)]
pub struct RepositoryView<'a> {
    /// The objects.
    pub packs: &'a Packs,
    /// The references.
    pub refs: ReferencesView<'a>,
    /// Old values of references that were deleted or rewound: what only they reach is not given away.
    pub dropped_tips: &'a [ObjectId],
    /// There are dropped tips that nobody remembers.
    pub complete_walk_needed: bool,
}

impl<'a> ReferencesView<'a> {
    /// Every visible reference below `prefix`, in byte order.
    pub fn visible<'b>(&self, prefix: &'b [u8]) -> impl Iterator<Item = Reference<'b>>
    where
        'a: 'b,
    {
        self.all.range(prefix).filter(|reference| !reference.is_hidden())
    }

    /// The visible reference that people mean by a name: its full name, or that of a tag or branch ([gitrevisions]).
    ///
    /// [gitrevisions]: https://git-scm.com/docs/gitrevisions
    #[must_use]
    pub fn named(&self, name: &[u8]) -> Option<(ObjectId, Option<ObjectId>)> {
        ["", "refs/", "refs/tags/", "refs/heads/"].into_iter().find_map(|prefix| {
            let full = [prefix.as_bytes(), name].concat();
            let found = self.visible(&full).next().filter(|reference| reference.name == full.as_slice());
            found.map(|reference| (reference.id, reference.peeled))
        })
    }

    /// Shows every visible reference that points at one of these objects, or peels to one.
    pub fn leading_to(&self, ids: &HashSet<ObjectId>, each: &mut dyn FnMut(Reference<'_>)) {
        self.all.leading_to(ids, &mut |reference| {
            if !reference.is_hidden() {
                each(reference);
            }
        });
    }

    /// Value of `HEAD`, when its branch exists.
    #[must_use]
    pub fn head_id(&self) -> Option<ObjectId> {
        self.head.filter(|name| !name.is_hidden()).and_then(|name| self.all.get(name))
    }

    /// Whether there are references that clients do not see.
    #[must_use]
    pub fn has_hidden(&self) -> bool {
        self.all.range(b"refs/codekeep/").next().is_some()
    }
}
