//! Brings reachability tables into the local cache, verified on the way in.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use tempfile::TempDir;

use super::{LocalPack, Repository};
use crate::blocking::blocking;
use crate::digest::sha256_file;
use crate::entry::ReachRecord;
use crate::error::Error;
use crate::keys;
use crate::state::{Snapshot, StoredPack, Upload};

/// A table that was downloaded.
pub(super) struct Downloaded {
    pub(super) key: String,
    pub(super) file: PathBuf,
    /// Goes with it.
    _folder: TempDir,
}

impl Repository {
    /// The reachability table of a pack, a file that stays while the pack is held; `None` when it has none, or is not in the cache
    /// itself. A pack that is arriving is waited for. Nobody needs a table to get an answer: it only comes sooner.
    ///
    /// # Errors
    /// When the table cannot be fetched, or is damaged.
    pub async fn table(&self, pack: &StoredPack) -> Result<Option<PathBuf>, Error> {
        let Some(record) = pack.reach.as_ref().filter(|record| !self.is_damaged(record)) else { return Ok(None) };
        let id = pack.record.id;
        if let Some(arrival) = self.arrival(&id) {
            arrival.ended().await;
        }
        let at_hand = || self.shared.cache.peek(&self.id, &id).map(|pack| pack.table().map(ToOwned::to_owned));
        if let found @ (None | Some(Some(_))) = at_hand() {
            return Ok(found.flatten());
        }
        // Requests that come meanwhile would fetch the same one again.
        let _turn = self.bringing_tables.lock().await;
        if let found @ (None | Some(Some(_))) = at_hand() {
            return Ok(found.flatten());
        }
        let downloaded = self.download_table(record).await?;
        let (cache, repository, bytes) = (Arc::clone(&self.shared.cache), self.id.clone(), record.bytes);
        Ok(blocking(move || cache.add_table(&repository, &id, bytes, &downloaded.file)).await??)
    }

    /// Makes the table of the pack at position `at`, whether or not the bucket has it; gives its checksum and size. `None`: there
    /// is nothing to write down.
    pub(super) async fn build_table(
        &self,
        packs: Vec<LocalPack>,
        at: usize,
        file: PathBuf,
    ) -> Result<Option<([u8; 32], u64)>, Error> {
        let tools = Arc::clone(&self.shared.tools);
        let built = blocking(move || {
            let is_made = tools.tabulate(&packs, at, &file).map_err(Error::Packs)?;
            if is_made { Ok(Some(sha256_file(&file)?)) } else { Ok(None) }
        });
        built.await?
    }

    /// Whether the table was found to be of no use.
    pub(super) fn is_damaged(&self, record: &ReachRecord) -> bool {
        self.damaged_tables.lock().unwrap_or_else(PoisonError::into_inner).contains(&record.upload)
    }

    /// Forgets damaged tables that are not in use any more.
    pub(super) fn forget_damaged_tables(&self, known: &Snapshot) {
        let in_use =
            |upload: &Upload| known.packs.iter().any(|pack| pack.reach.is_some_and(|table| table.upload == *upload));
        self.damaged_tables.lock().unwrap_or_else(PoisonError::into_inner).retain(in_use);
    }

    /// Reads a table from the bucket; remembers one that is of no use.
    pub(super) async fn download_table(&self, record: &ReachRecord) -> Result<Downloaded, Error> {
        let downloaded = self.try_download_table(record).await;
        if downloaded.as_ref().is_err_and(Error::is_damage) {
            self.damaged_tables.lock().unwrap_or_else(PoisonError::into_inner).insert(record.upload);
        }
        downloaded
    }

    async fn try_download_table(&self, record: &ReachRecord) -> Result<Downloaded, Error> {
        let key = keys::reach(&self.id, &record.upload);
        let folder = self.temporary()?;
        let file = folder.path().join("reach");
        if !self.shared.store.download(&key, &file, record.bytes).await? {
            return Err(Error::Missing { key });
        }
        let downloaded = Downloaded { key, file, _folder: folder };
        let path = downloaded.file.clone();
        let found = blocking(move || sha256_file(&path)).await??;
        if found != (record.id, record.bytes) && !sabotaged!(SkipVerification) {
            let reason = "the reachability table has other bytes than the log says".to_owned();
            return Err(Error::Damaged { key: downloaded.key, reason });
        }
        Ok(downloaded)
    }
}
