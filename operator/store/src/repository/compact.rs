//! Housekeeping after commits, in the background: folding of small packs.
//!
//! Folding concatenates the newest small packs into one and retires them in a log entry of its own, so that the number of packs
//! grows with the logarithm of the pushes. It never waits for pushes, and a push never waits longer than for one entry.

use std::sync::Arc;
use std::time::Duration;

use super::{LocalPack, LocalPacks, Repository};
use crate::digest::sha256_file;
use crate::entry::{Compaction, PackRecord, Place};
use crate::error::Error;
use crate::state::{PackId, Snapshot, StoredPack};

/// A fold is due when this many packs lie inside entries.
const FOLD_PACKS: usize = 32;
/// Packs from this size on are left alone.
const LARGE_BYTES: u64 = 64 << 20;
/// Between two folds.
const INTERVAL: Duration = Duration::from_secs(1);
/// Tries to get a fold into the log before it is left to the next round.
const FOLD_TRIES: u32 = 8;

impl Repository {
    /// Starts housekeeping, unless it is under way.
    pub(super) fn keep_house(self: &Arc<Self>) {
        let repository = Arc::clone(self);
        tokio::spawn(async move {
            // Pushes that come while this is under way find it busy, so it looks again before it ends.
            while let Ok(_turn) = repository.housekeeping.try_lock() {
                let known = repository.known();
                if known.packs.iter().filter(|pack| Snapshot::is_inlined(pack)).count() < FOLD_PACKS {
                    return;
                }
                if let Err(error) = repository.fold(&known).await {
                    tracing::warn!(repo.id = %repository.id, %error, "housekeeping failed; it is tried again after a later push");
                    return;
                }
                repository.keep_checkpoints();
                tokio::time::sleep(INTERVAL).await;
            }
        });
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
        let fold = tokio::task::spawn_blocking(move || -> Result<_, Error> {
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
        let (record, cached) = fold.await.map_err(|_| Error::Stopping)??;
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
