//! References as the protocol needs them, wherever they are kept.

use std::collections::BTreeMap;

use model::{ObjectId, RefName};

/// References of a repository in byte order of their names.
pub trait References {
    /// Shows every reference whose name starts with `prefix`, in byte order.
    fn visit(&self, prefix: &[u8], each: &mut dyn FnMut(&RefName, &ObjectId));

    /// The value of one reference.
    fn get(&self, name: &RefName) -> Option<ObjectId>;
}

impl References for BTreeMap<RefName, ObjectId> {
    fn visit(&self, prefix: &[u8], each: &mut dyn FnMut(&RefName, &ObjectId)) {
        for (name, id) in self {
            if name.as_bstr().starts_with(prefix) {
                each(name, id);
            }
        }
    }

    fn get(&self, name: &RefName) -> Option<ObjectId> {
        Self::get(self, name).copied()
    }
}
