//! Deleting the objects of retired packs.

use futures::future::try_join_all;

use super::{CONCURRENCY, Housekeeping, REST, Repository, Say};
use crate::entry::UpkeepRecord;
use crate::error::Error;
use crate::keys;
use crate::state::Upload;

/// Packs whose objects are deleted in one go.
const BATCH: usize = 512;

impl Repository {
    /// Deletes the objects of packs that were retired longer ago than the grace period; returns how many packs.
    ///
    /// No entry can name them again, since an upload's name is used once; so it does no harm when a server that stood still
    /// deletes them a second time.
    pub(super) async fn delete_retired(&self, state: &mut Housekeeping) -> Result<u64, Error> {
        let due: Vec<Upload> = self
            .known()
            .upkeep
            .retired
            .iter()
            .filter(|retired| sabotaged!(DeleteEarly) || self.is_older(retired.at, self.shared.policy.grace))
            .take(BATCH)
            .map(|retired| retired.upload)
            .collect();
        if due.is_empty() || !self.hold_lease(state).await? {
            return Ok(0);
        }
        self.delete_uploads(&due).await?;
        let deleted = due.len() as u64;
        self.append(|known| {
            let listed = |upload: &Upload| known.upkeep.retired.iter().any(|retired| retired.upload == *upload);
            let deleted: Vec<Upload> = due.iter().copied().filter(listed).collect();
            let upkeep = UpkeepRecord { deleted, ..UpkeepRecord::default() };
            (!upkeep.deleted.is_empty()).then(|| Say { upkeep, ..Say::default() })
        })
        .await?;
        Ok(deleted)
    }

    /// Deletes the objects of uploads, with rests.
    pub(super) async fn delete_uploads(&self, uploads: &[Upload]) -> Result<(), Error> {
        let store = &self.shared.store;
        for some in uploads.chunks(CONCURRENCY) {
            // An upload is a pack with its index, a table, or a bundle.
            let keys: Vec<String> = some
                .iter()
                .flat_map(|upload| {
                    [keys::pack, keys::pack_index, keys::reach, keys::bundle].map(|key| key(&self.id, upload))
                })
                .collect();
            try_join_all(keys.iter().map(|key| store.delete(key))).await?;
            tokio::time::sleep(REST).await;
        }
        Ok(())
    }
}
