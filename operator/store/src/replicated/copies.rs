//! What those need who verify every store's copy, above these stores (ADR 0021); and what is known of the log up there.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use super::ReplicatedStore;
use super::member::Member;
use crate::envelope::EnvelopeStore;
use crate::keys;
use crate::object::StoreError;
use crate::state::Upload;

impl ReplicatedStore {
    /// The epoch, and the stores that hold the repository in it, the primary one first.
    pub(crate) fn copies(&self) -> Result<(u64, Vec<Member>), StoreError> {
        let reign = self.reign.load_full();
        let name = &reign.primary.name;
        if self.peer(name).is_none() {
            let reason = format!(
                "'{name}' is the primary store, and none of that name is at hand: give it as --store {name}=URL"
            );
            return Err(StoreError::Unavailable { operation: "verify", key: keys::log_all(&self.id), reason });
        }
        let members = std::iter::once(reign.primary.clone()).chain(self.members(&reign));
        Ok((reign.epochs.number(), members.collect()))
    }

    /// Entries are encrypted, and this is who can read them.
    pub(crate) fn opens_with(&self, envelope: &Arc<EnvelopeStore>) {
        self.opener.store(Some(Arc::new(Arc::downgrade(envelope))));
    }

    pub(super) fn opener(&self) -> Option<Arc<EnvelopeStore>> {
        self.opener.load().as_ref().and_then(|opener| Weak::upgrade(opener))
    }

    /// Uploads that the log names, or that are deleted in their own time: replicas keep these whatever became of them in the primary store.
    pub(crate) fn keep(&self, named: BTreeSet<Upload>) {
        self.named.store(Some(Arc::new(named)));
    }
}
