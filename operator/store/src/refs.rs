//! References and their values, in byte order of names: a base that never changes, and what changed since.
//!
//! A clone is cheap, a change costs the logarithm of the number of changes, a look-up that of the number of references. The base
//! is the bytes of a table of the bucket (`table.rs`), so that opening a repository decodes none of its references.

mod table;

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use gix::hashtable::HashSet;
use model::{ObjectId, RefName, RefValue, Reference};

pub(crate) use table::Table;

/// Objects looked for one by one in the base for each of this many references; more of them, and all references are looked at.
const SCAN: usize = 16;

type Overlay = rpds::RedBlackTreeMapSync<RefName, Option<RefValue>>;

/// References and their values.
#[derive(Clone, Default)]
pub struct Refs {
    base: Option<Base>,
    /// What is different from the base; `None`: the reference is gone. Nothing in it says what the base says.
    overlay: Overlay,
    len: usize,
}

/// A table of the bucket.
#[derive(Clone)]
pub(crate) struct Base {
    /// Its number in the bucket: that of the entry after which it was made.
    pub(crate) generation: u64,
    /// Its content.
    pub(crate) table: Arc<Table>,
}

/// What names a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BaseName {
    /// Its number in the bucket.
    pub(crate) generation: u64,
    /// The SHA-256 of its content.
    pub(crate) digest: [u8; 32],
}

impl Base {
    pub(crate) fn new(generation: u64, table: Table) -> Self {
        Self { generation, table: Arc::new(table) }
    }

    /// What names it.
    pub(crate) fn name(&self) -> BaseName {
        BaseName { generation: self.generation, digest: self.table.digest() }
    }
}

impl Refs {
    /// References from a base and what is different from it.
    pub(crate) fn layered(base: Option<Base>, changes: impl IntoIterator<Item = (RefName, Option<RefValue>)>) -> Self {
        let len = base.as_ref().map_or(0, |base| base.table.len());
        let mut refs = Self { base, overlay: Overlay::default(), len };
        for (name, value) in changes {
            refs.set(&name, value);
        }
        refs
    }

    /// The object that a reference points to.
    #[must_use]
    pub fn get(&self, name: &RefName) -> Option<ObjectId> {
        self.value(name).map(|value| value.id)
    }

    /// The value of a reference.
    #[must_use]
    pub fn value(&self, name: &RefName) -> Option<RefValue> {
        self.at(name.as_bstr())
    }

    fn at(&self, name: &[u8]) -> Option<RefValue> {
        match self.overlay.get(name) {
            Some(changed) => *changed,
            None => self.in_base(name),
        }
    }

    fn in_base(&self, name: &[u8]) -> Option<RefValue> {
        self.base.as_ref().and_then(|base| base.table.get(name))
    }

    /// All references in byte order.
    pub fn iter(&self) -> impl Iterator<Item = Reference<'_>> {
        self.range(b"")
    }

    /// The references whose names start with `prefix`, in byte order; those before are skipped, not looked at.
    pub fn range<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = Reference<'a>> {
        let from = self.overlay.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
        let changed = from.take_while(move |(name, _)| name.as_bstr().starts_with(prefix));
        let base = self.base.iter().flat_map(move |base| base.table.range(prefix));
        Merge { base: base.peekable(), changed: changed.peekable() }
    }

    /// Shows every reference that points at one of these objects, or peels to one.
    pub fn leading_to(&self, ids: &HashSet<ObjectId>, each: &mut dyn FnMut(Reference<'_>)) {
        let leads = |value: &RefValue| {
            ids.contains(&value.id) || value.peeled.as_ref().is_some_and(|peeled| ids.contains(peeled))
        };
        for (name, value) in &self.overlay {
            if let Some(RefValue { id, peeled }) = value.filter(leads) {
                each(Reference { name: name.as_bstr(), id, peeled });
            }
        }
        let Some(Base { table, .. }) = &self.base else { return };
        let is_as_it_was = |reference: &Reference<'_>| self.overlay.get::<[u8]>(reference.name).is_none();
        if ids.len() > table.len() / SCAN {
            let found = table.range(b"").filter(|found| leads(&RefValue { id: found.id, peeled: found.peeled }));
            found.filter(is_as_it_was).for_each(each);
            return;
        }
        for id in ids {
            // A tag that is there for two of the objects is shown for the one that it points at.
            let shown = |found: &Reference<'_>| found.id == *id || !ids.contains(&found.id);
            table.leading_to(id).filter(shown).filter(is_as_it_was).for_each(&mut *each);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets or, with `None`, removes a reference.
    pub(crate) fn set(&mut self, name: &RefName, value: Option<RefValue>) {
        let (base, before) = (self.in_base(name.as_bstr()), self.value(name));
        self.len = self.len + usize::from(value.is_some()) - usize::from(before.is_some());
        if value == base {
            self.overlay.remove_mut(name);
        } else {
            self.overlay.insert_mut(name.clone(), value);
        }
    }

    /// Whether both say the same. On the same base, only what is different from it is looked at.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        if self.has_base_of(other) {
            self.changes().eq(other.changes())
        } else {
            self.len == other.len && self.iter().eq(other.iter())
        }
    }

    /// What references point at that `other` does not have, or has with another value. On the same base, only what is different
    /// from it is looked at.
    pub(crate) fn unlike(&self, other: &Self) -> Vec<ObjectId> {
        if self.has_base_of(other) {
            return self.differing(other).filter_map(|name| self.get(name)).collect();
        }
        let is_unlike = |reference: &Reference<'_>| {
            let Reference { name, id, peeled } = *reference;
            other.at(name) != Some(RefValue { id, peeled })
        };
        self.iter().filter(is_unlike).map(|reference| reference.id).collect()
    }

    fn has_base_of(&self, other: &Self) -> bool {
        self.base().map(Base::name) == other.base().map(Base::name)
    }

    /// The base, if there is one.
    pub(crate) fn base(&self) -> Option<&Base> {
        self.base.as_ref()
    }

    /// What is different from the base, in byte order.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (&RefName, Option<RefValue>)> {
        self.overlay.iter().map(|(name, value)| (name, *value))
    }

    /// How much is different from the base.
    pub(crate) fn changed(&self) -> usize {
        self.overlay.size()
    }

    /// The same references on another base, which was made from `origin`, an earlier state on the same base as this one.
    /// Costs what has changed, not what there is; `None` when the bases are not the same.
    pub(crate) fn rebased(&self, base: Base, origin: &Self) -> Option<Self> {
        if !self.has_base_of(origin) {
            return None;
        }
        let changed = self.differing(origin).map(|name| (name.clone(), self.value(name)));
        Some(Self::layered(Some(base), changed))
    }

    /// The references that are not the same in two states on the same base.
    fn differing<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a RefName> {
        let (mut ours, mut theirs) = (self.overlay.iter().peekable(), other.overlay.iter().peekable());
        std::iter::from_fn(move || {
            loop {
                let order = match (ours.peek(), theirs.peek()) {
                    (Some((our, _)), Some((their, _))) => our.cmp(their),
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (None, None) => return None,
                };
                let our = ours.next_if(|_| order != Ordering::Greater);
                let their = theirs.next_if(|_| order != Ordering::Less);
                if our.map(|(_, value)| value) != their.map(|(_, value)| value) {
                    return our.or(their).map(|(name, _)| name);
                }
            }
        })
    }
}

/// Two sorted sequences as one; a change hides what the base says.
struct Merge<B: Iterator, C: Iterator> {
    base: std::iter::Peekable<B>,
    changed: std::iter::Peekable<C>,
}

impl<'a, B, C> Iterator for Merge<B, C>
where
    B: Iterator<Item = Reference<'a>>,
    C: Iterator<Item = (&'a RefName, &'a Option<RefValue>)>,
{
    type Item = Reference<'a>;

    fn next(&mut self) -> Option<Reference<'a>> {
        loop {
            let Some((name, _)) = self.changed.peek() else { return self.base.next() };
            if self.base.peek().is_some_and(|base| base.name < name.as_bstr()) {
                return self.base.next();
            }
            let (name, value) = self.changed.next()?;
            self.base.next_if(|base| base.name == name.as_bstr());
            if let Some(RefValue { id, peeled }) = *value {
                return Some(Reference { name: name.as_bstr(), id, peeled });
            }
        }
    }
}

#[cfg(test)]
mod tests;
