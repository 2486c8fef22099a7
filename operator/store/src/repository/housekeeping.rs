//! Housekeeping after commits: the hint, checkpoints, what maintenance must not leave until its next round. All of it in the
//! background, none of it trusted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Repository;
use super::maintain::SeenLease;
use crate::blocking::blocking;
use crate::error::Error;
use crate::{checkpoint, keys};

/// At most one hint in this time.
const HINT_INTERVAL: Duration = Duration::from_secs(1);
/// Where a cold server may start to read; best effort, never trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hint {
    pub(crate) generation: u64,
    pub(crate) checkpoint: u64,
}

/// What was last written in the background.
pub(crate) struct Housekeeping {
    checkpoint: u64,
    hint: u64,
    pub(super) lease: SeenLease,
}

impl Housekeeping {
    pub(crate) fn new(checkpoint: u64) -> Self {
        Self { checkpoint, hint: 0, lease: SeenLease::default() }
    }

    #[cfg(test)]
    pub(super) fn is_done(&self, generation: u64) -> bool {
        self.hint == generation
    }
}

impl Repository {
    /// Starts housekeeping, unless it is under way.
    pub(super) fn keep_house(self: &Arc<Self>) {
        let repository = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(mut state) = repository.housekeeping.try_lock() else { return };
            // Pushes that come while this is under way find it busy, so it looks again before it ends.
            while repository.known().generation > state.hint {
                let kept = async {
                    repository.keep_small(&mut state).await?;
                    repository.write_checkpoint(&mut state).await
                };
                if let Err(error) = kept.await {
                    tracing::warn!(repo.id = %repository.id, %error, "housekeeping failed; it is tried again after a later push");
                    return;
                }
                if !repository.write_hint(&mut state).await {
                    return;
                }
                tokio::time::sleep(HINT_INTERVAL).await;
            }
        });
    }

    async fn write_checkpoint(&self, state: &mut Housekeeping) -> Result<(), Error> {
        let known = self.known();
        if known.generation >= state.checkpoint + self.shared.policy.checkpoint_entries {
            let key = keys::checkpoint(&self.id, known.generation);
            let encoded = blocking({
                let known = Arc::clone(&known);
                move || checkpoint::encode(&known)
            });
            let body = encoded.await?;
            // Another server's checkpoint of the same generation says the same.
            self.shared.store.create(&key, body).await?;
            state.checkpoint = known.generation;
        }
        Ok(())
    }

    async fn write_hint(&self, state: &mut Housekeeping) -> bool {
        let generation = self.known().generation;
        let hint = Hint { generation, checkpoint: state.checkpoint };
        let Ok(body) = serde_json::to_vec(&hint) else { return false };
        match self.shared.store.put(&keys::hint(&self.id), Bytes::from(body)).await {
            Ok(()) => {
                state.hint = generation;
                true
            }
            Err(error) => {
                tracing::debug!(repo.id = %self.id, %error, "failed to write a hint");
                false
            }
        }
    }
}
