//! Reading a tree along with the tree that replaces it.

use gix::objs::{TreeRefIter, tree::EntryRef};
use model::ObjectFormat;

/// A tree that is replaced, read along with the one that replaces it.
pub(crate) struct Side<'a> {
    entries: TreeRefIter<'a>,
    next: Option<EntryRef<'a>>,
}

impl<'a> Side<'a> {
    pub(crate) fn new(data: &'a [u8], format: ObjectFormat) -> Self {
        let mut entries = TreeRefIter::from_bytes(data, format);
        let next = entries.next().and_then(Result::ok);
        Self { entries, next }
    }

    /// The entry of the same name. Both trees are sorted, so everything before it is passed for good.
    /// In a tree that is not sorted some are not found, and then more is sent than needed.
    pub(crate) fn find(&mut self, entry: &EntryRef<'_>) -> Option<EntryRef<'a>> {
        loop {
            let next = self.next?;
            if next.filename == entry.filename {
                return Some(next);
            }
            // A file and a directory of one name sort apart: `a` before `a.b` before `a/`.
            if next.cmp(entry) == std::cmp::Ordering::Greater {
                return None;
            }
            self.next = self.entries.next().and_then(Result::ok);
        }
    }
}

/// Whether two entries of one name are the same object, met as the same kind: what a submodule names is in another
/// repository, whatever id it claims.
pub(crate) fn same(one: &EntryRef<'_>, other: &EntryRef<'_>) -> bool {
    one.oid == other.oid && one.mode.is_tree() == other.mode.is_tree() && one.mode.is_commit() == other.mode.is_commit()
}
