//! Sweeping: uploads that no entry names, left by pushes that crashed or lost a race, are deleted.
//!
//! A push that is still under way may be about to name such an upload. So the log first says that no entry may name an upload
//! that began before some generation; who finds that out when it commits uploads again, under another name. Only then is deleted
//! what began before and what no entry names.

use std::collections::BTreeMap;

use super::{Housekeeping, Repository, Say};
use crate::entry::UpkeepRecord;
use crate::error::Error;
use crate::keys;
use crate::state::Upload;

/// Objects listed at once.
const PAGE: usize = 1_000;

impl Repository {
    /// Deletes what no entry names; returns how many uploads.
    pub(super) async fn sweep(&self, state: &mut Housekeeping) -> Result<u64, Error> {
        let listed = self.uploads().await?;
        let named = self.known().uploads();
        let old = listed.iter().filter(|(upload, is_old)| **is_old && !named.contains(upload));
        let Some(fence) = old.map(|(upload, _)| upload.generation + 1).max() else { return Ok(0) };
        if !self.hold_lease(state).await? {
            return Ok(0);
        }
        let upkeep = UpkeepRecord { uploads_before: fence, ..UpkeepRecord::default() };
        self.append(|known| {
            (known.upkeep.uploads_before < fence).then(|| Say { upkeep: upkeep.clone(), ..Say::default() })
        })
        .await?;
        let known = self.known();
        if known.upkeep.uploads_before < fence {
            return Ok(0);
        }
        let named = known.uploads();
        let dead: Vec<Upload> =
            listed.into_keys().filter(|upload| upload.generation < fence && !named.contains(upload)).collect();
        self.delete_uploads(&dead).await?;
        tracing::info!(repo.id = %self.id, sweep.uploads = dead.len(), "deleted uploads that no entry names");
        Ok(dead.len() as u64)
    }

    /// All uploads in the bucket, and whether each is older than the grace period.
    async fn uploads(&self) -> Result<BTreeMap<Upload, bool>, Error> {
        let (mut uploads, mut after): (BTreeMap<Upload, bool>, Option<String>) = (BTreeMap::new(), None);
        loop {
            let page = self.shared.store.list(&keys::pack_all(&self.id), after.as_deref(), PAGE).await?;
            for object in &page {
                let Some(upload) = keys::upload(&object.key) else { continue };
                let is_old = object.modified.is_some_and(|then| self.is_older(then, self.shared.policy.grace));
                *uploads.entry(upload).or_insert(true) &= is_old;
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.key.clone()),
                _ => return Ok(uploads),
            }
        }
    }
}
