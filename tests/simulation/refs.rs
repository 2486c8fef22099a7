//! References as clients, ledger and checker keep them: a plain map.

use std::collections::BTreeMap;

use model::{ObjectId, RefName, RefValue};
use store::RefEdit;

/// References and their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Refs(BTreeMap<RefName, RefValue>);

impl Refs {
    /// None.
    pub(crate) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Those of a state.
    pub(crate) fn of(refs: &store::Refs) -> Self {
        let value = |found: model::Reference<'_>| {
            let name = RefName::try_from(&**found.name).expect("because the store checks names");
            (name, RefValue { id: found.id, peeled: found.peeled })
        };
        Self(refs.iter().map(value).collect())
    }

    pub(crate) fn get(&self, name: &RefName) -> Option<ObjectId> {
        self.0.get(name).map(|value| value.id)
    }

    /// Does what an edit says, whatever the reference has.
    pub(crate) fn edit(&mut self, edit: &RefEdit) {
        match edit.value() {
            Some(value) => drop(self.0.insert(edit.name.clone(), value)),
            None => drop(self.0.remove(&edit.name)),
        }
    }

    /// The objects that they point to.
    pub(crate) fn tips(&self) -> impl Iterator<Item = ObjectId> + '_ {
        self.0.values().map(|value| value.id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&RefName, ObjectId)> + '_ {
        self.0.iter().map(|(name, value)| (name, value.id))
    }
}
