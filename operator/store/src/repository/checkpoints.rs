//! Keeps cold opens cheap: hints, checkpoints and the bases of these, written in the background after commits.
//!
//! What is written for a commit stays the same however large the repository is. A checkpoint comes every so many entries and
//! holds what is different from its base; a new base comes when that is more than about the square root of what there is, where
//! the bytes of both kinds for each changed reference are fewest.

use std::sync::Arc;
use std::time::Duration;

use super::Repository;
use super::hint::{Checkpoint, Hint};
use crate::blocking::blocking;
use crate::checkpoint;
use crate::error::Error;
use crate::keys;
use crate::object::Create;
use crate::refs::{Base, Refs, Table};
use crate::state::Snapshot;

/// A checkpoint is due after this many bytes of inlined packs.
const BYTES: u64 = 8 << 20;
/// At most one hint in this time, unless a checkpoint is due.
const INTERVAL: Duration = Duration::from_secs(1);
/// A state up to this size goes into the hint.
const INLINE_BYTES: usize = 64 << 10;

/// What was last written.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) checkpoint: Checkpoint,
    /// Generation of the last hint.
    pub(crate) hint: u64,
}

impl Repository {
    /// Writes what is due, unless somebody is at it.
    pub(crate) fn keep_checkpoints(self: &Arc<Self>) {
        let repository = Arc::clone(self);
        tokio::spawn(async move {
            let mut generations = repository.generations();
            loop {
                let Ok(mut written) = repository.written.try_lock() else { return };
                if repository.known().generation <= written.hint {
                    return;
                }
                if let Err(error) = repository.record(&mut written).await {
                    tracing::warn!(repo.id = %repository.id, %error, "failed to write a checkpoint; it is tried again after a later push");
                    return;
                }
                let Written { checkpoint, hint } = *written;
                let is_due = generations.wait_for(|_| repository.checkpoint_is_due(checkpoint.generation));
                // Whether time is up or a checkpoint is due makes no difference.
                let _ = tokio::time::timeout(INTERVAL, is_due).await;
                drop(written);
                // Whoever came meanwhile found it busy and went away, but had moved on what is known before.
                if repository.known().generation <= hint {
                    return;
                }
            }
        });
    }

    fn checkpoint_is_due(&self, last: u64) -> bool {
        self.known().generation >= last + self.shared.policy.checkpoint_entries || self.logged() >= BYTES
    }

    async fn record(self: &Arc<Self>, written: &mut Written) -> Result<(), Error> {
        let is_renewed = self.renew_base().await?;
        if is_renewed || self.checkpoint_is_due(written.checkpoint.generation) {
            self.forget_logged();
            let known = self.known();
            let (id, state) = (self.id.clone(), Arc::clone(&known));
            let body = blocking(move || checkpoint::encode(&id, &state)).await?;
            // Another server's checkpoint of the same generation says the same.
            self.shared.store.create(&keys::checkpoint(&self.id, known.generation), body).await?;
            let base = known.refs.base().map(Base::name);
            written.checkpoint = Checkpoint { generation: known.generation, base };
        }
        let known = self.known();
        let state = if may_be_inlined(&known) { Some(checkpoint::encode(&self.id, &known)) } else { None };
        let state = state.filter(|state| state.len() <= INLINE_BYTES);
        let hint = Hint { generation: known.generation, checkpoint: written.checkpoint, state };
        self.shared.store.put(&keys::hint(&self.id), hint.encode(&self.id)).await?;
        written.hint = known.generation;
        Ok(())
    }

    /// Writes a new base, if one is due, and goes on from it.
    async fn renew_base(self: &Arc<Self>) -> Result<bool, Error> {
        let origin = self.known();
        // One from before what was truncated may be deleted.
        let is_old = origin.refs.base().is_some_and(|base| base.generation <= origin.upkeep.truncated);
        if !is_old && !base_is_due(&origin.refs, self.shared.policy.base_changes) {
            return Ok(false);
        }
        let refs = origin.refs.clone();
        let Some(bytes) = blocking(move || Table::encode(refs.iter())).await? else { return Ok(false) };
        let key = keys::references(&self.id, origin.generation);
        if self.shared.store.create(&key, bytes.clone()).await? == Create::Exists
            && self.shared.store.get(&key).await?.as_ref() != Some(&bytes)
        {
            // Damaged, or of another version: a later generation has a place of its own.
            return Ok(false);
        }
        let repository = Arc::clone(self);
        blocking(move || {
            let Ok(table) = Table::open(bytes) else { return false };
            repository.rebase(Base::new(origin.generation, table), &origin)
        })
        .await
    }
}

/// Pure: whether so much has changed that a new base costs less, over time, than writing the changes again and again.
fn base_is_due(refs: &Refs, least_worth: usize) -> bool {
    // With n references, a base every k changes, and a checkpoint of up to k changes every 64 entries: n / k + k / 128 references
    // are written for each change, which is least where k² = 128 n.
    let least = (128 * refs.base().map_or(0, |base| base.table.len())).isqrt();
    refs.changed() > least.max(least_worth)
}

/// Whether the state may turn out small enough for the hint.
fn may_be_inlined(state: &Snapshot) -> bool {
    40 * state.refs.changed() + 100 * state.packs.len() <= INLINE_BYTES
}

#[cfg(test)]
mod tests;
