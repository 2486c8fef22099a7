//! Housekeeping after commits: the hint, folding of small packs, checkpoints. All of it in the background, none of it trusted.
//!
//! Folding concatenates the newest small packs into one and retires them in a log entry of its own, so that the number of packs
//! grows with the logarithm of the pushes. It never waits for pushes, and a push never waits longer than for one entry.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{LocalPack, LocalPacks, Repository};
use crate::blocking::blocking;
use crate::digest::sha256_file;
use crate::entry::{Compaction, PackRecord, Place};
use crate::error::Error;
use crate::state::{PackId, Snapshot, StoredPack};
use crate::{checkpoint, keys};

/// A fold is due when this many packs lie inside entries.
const FOLD_PACKS: usize = 32;
/// A checkpoint is due after this many entries.
const CHECKPOINT_ENTRIES: u64 = 64;
/// Packs from this size on are left alone.
const LARGE_BYTES: u64 = 64 << 20;
/// At most one hint in this time.
const HINT_INTERVAL: Duration = Duration::from_secs(1);
/// Tries to get a fold into the log before it is left to the next round.
const FOLD_TRIES: u32 = 8;

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
}

impl Housekeeping {
    pub(crate) fn new(checkpoint: u64) -> Self {
        Self { checkpoint, hint: 0 }
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
                if let Err(error) = repository.fold_and_checkpoint(&mut state).await {
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

    async fn fold_and_checkpoint(self: &Arc<Self>, state: &mut Housekeeping) -> Result<(), Error> {
        let known = self.known();
        let inlined = known.packs.iter().filter(|pack| Snapshot::is_inlined(pack)).count();
        if inlined >= FOLD_PACKS {
            self.fold(&known).await?;
        }
        let known = self.known();
        if known.generation >= state.checkpoint + CHECKPOINT_ENTRIES {
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

    /// Folds the newest small packs of a snapshot into one.
    async fn fold(&self, base: &Snapshot) -> Result<(), Error> {
        let victims = newest_small(&base.packs);
        if victims.len() < 2 {
            return Ok(());
        }
        let chosen = Snapshot { packs: Arc::new(victims.clone()), ..base.clone() };
        let LocalPacks { packs } = self.local_packs(&chosen).await?;
        let record = self.write_folded(packs).await?;
        let retired: Vec<PackId> = victims.iter().map(|pack| pack.record.id).collect();
        for _ in 0..FOLD_TRIES {
            let _turn = self.writing.lock().await;
            let known = self.known();
            let still_there = |id: &PackId| known.packs.iter().any(|pack| pack.record.id == *id);
            if !retired.iter().all(still_there) {
                // Another server folded them first; our pack is an orphan that maintenance removes.
                return Ok(());
            }
            let compaction = Compaction { added: vec![record.clone()], retired: retired.clone() };
            let written = self.write_entry(&known, vec![], Some(compaction), &[]).await;
            if written.map_err(|error| Error::Packs(error.reason()))? {
                tracing::info!(repo.id = %self.id, fold.packs = retired.len(), fold.bytes = record.bytes, "folded packs");
                return Ok(());
            }
        }
        Ok(())
    }

    async fn write_folded(&self, packs: Vec<LocalPack>) -> Result<PackRecord, Error> {
        let folder = self.incoming()?;
        let (tools, cache, id) = (Arc::clone(&self.shared.tools), Arc::clone(&self.shared.cache), self.id.clone());
        let fold = blocking(move || -> Result<_, Error> {
            let received = tools.fold(&packs, folder.path()).map_err(Error::Packs)?;
            let (pack_id, bytes) = sha256_file(&received.pack)?;
            let (index_id, index_bytes) = sha256_file(&received.index)?;
            let record = PackRecord {
                id: PackId(pack_id),
                index_id,
                bytes,
                index_bytes,
                objects: received.objects,
                exact: packs.iter().all(|pack| pack.exact),
                place: Place::Uploaded,
            };
            let cached = cache.insert(&id, &record, &received.pack, &received.index)?;
            Ok((record, cached))
        });
        let (record, cached) = fold.await??;
        self.upload(&record, &cached).await?;
        Ok(record)
    }
}

/// Pure: the newest packs to fold. All inlined ones, then older ones while they are not twice as large as what is gathered.
fn newest_small(packs: &[StoredPack]) -> Vec<StoredPack> {
    let mut gathered = 0;
    let mut from = packs.len();
    for (at, pack) in packs.iter().enumerate().rev() {
        let bytes = pack.record.bytes;
        if bytes > LARGE_BYTES || (!Snapshot::is_inlined(pack) && bytes >= 2 * gathered) {
            break;
        }
        gathered += bytes;
        from = at;
    }
    packs[from..].to_vec()
}
