//! References as the protocol needs them, wherever they are kept.

use std::collections::BTreeMap;

use gix::hashtable::HashSet;
use model::{ObjectId, RefName, RefValue, Reference};

/// References of a repository in byte order of their names.
pub trait References {
    /// Every reference whose name starts with `prefix`, in byte order.
    fn range<'a>(&'a self, prefix: &'a [u8]) -> Box<dyn Iterator<Item = Reference<'a>> + 'a>;

    /// The object that a reference points to.
    fn get(&self, name: &RefName) -> Option<ObjectId>;

    /// Shows every reference that points at one of these objects, or peels to one.
    fn leading_to(&self, ids: &HashSet<ObjectId>, each: &mut dyn FnMut(Reference<'_>));
}

impl References for BTreeMap<RefName, RefValue> {
    fn range<'a>(&'a self, prefix: &'a [u8]) -> Box<dyn Iterator<Item = Reference<'a>> + 'a> {
        let all = self.iter().map(|(name, RefValue { id, peeled })| Reference {
            name: name.as_bstr(),
            id: *id,
            peeled: *peeled,
        });
        Box::new(all.filter(|reference| reference.name.starts_with(prefix)))
    }

    fn get(&self, name: &RefName) -> Option<ObjectId> {
        Self::get(self, name).map(|value| value.id)
    }

    fn leading_to(&self, ids: &HashSet<ObjectId>, each: &mut dyn FnMut(Reference<'_>)) {
        let leads = |reference: &Reference<'_>| {
            ids.contains(&reference.id) || reference.peeled.is_some_and(|peeled| ids.contains(&peeled))
        };
        References::range(self, b"").filter(leads).for_each(each);
    }
}
