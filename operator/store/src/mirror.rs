//! Copies what one store holds to another, object by object as they lie (ADR 0018): nothing is decrypted, and at every moment the copy is
//! a store that can be served, some entries behind.
//!
//! What an entry of the log names is copied before the entry, entries in their order, the name of a repository last. Only what is not there
//! yet is copied, so whoever was stopped goes on. When the copy has the last entry, it also loses what the source has deleted meanwhile, and its
//! old entries become stubs as they did there; whole repositories stay.

mod difference;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use futures::stream::{self, TryStreamExt as _};
use model::{RepositoryId, RepositoryPath};

use crate::error::Error;
use crate::keys;
use crate::object::{Create, ObjectStore, StoreError, list_all};
use crate::repositories::{catalog, catalog_id};
use difference::{Difference, Part, is_stub};

/// Entries that are read at once, and bytes of them that are held.
const WINDOW: u64 = 16;
const BATCH_BYTES: usize = 64 << 20;
/// Objects that are copied at once.
const AT_ONCE: usize = 8;
/// Objects up to this size pass through memory.
const SMALL: u64 = 8 << 20;

/// Two stores.
pub struct Mirror {
    from: Arc<dyn ObjectStore>,
    to: Arc<dyn ObjectStore>,
    /// Where large objects lie on their way.
    folder: PathBuf,
}

/// What was copied of one repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mirrored {
    /// The last entry of the log that the copy has.
    pub generation: u64,
    /// Entries that were copied.
    pub entries: u64,
    /// Other objects that were copied, or would be.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were deleted at the copy.
    pub deleted: u64,
}

impl Mirrored {
    /// Whether the copy had everything.
    #[must_use]
    pub fn is_same(&self) -> bool {
        (self.entries, self.objects, self.deleted) == (0, 0, 0)
    }
}

/// One pass over the objects of a repository.
#[derive(Debug, Clone, Copy)]
struct Pass {
    /// The last entry that the copy has.
    generation: u64,
    /// Whether that is the last one of the source, too.
    is_last: bool,
    dry_run: bool,
}

/// Why a repository cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The copy has something that was never at the source.
    #[error(
        "{0} of the copy is not the one of the source: it was written to, or is the copy of something else; choose another place"
    )]
    Diverged(String),
    /// A store failed, or what it has is damaged.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<StoreError> for MirrorError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl Mirror {
    /// From one store to another, by way of a folder.
    #[must_use]
    pub fn new(from: Arc<dyn ObjectStore>, to: Arc<dyn ObjectStore>, folder: PathBuf) -> Self {
        Self { from, to, folder }
    }

    /// Whose the copy's place is, if servers have claimed it: they write there.
    ///
    /// # Errors
    /// When the store does not say.
    pub async fn is_claimed(&self) -> Result<bool, StoreError> {
        Ok(self.to.get(keys::owner()).await?.is_some())
    }

    /// The repositories of the source.
    ///
    /// # Errors
    /// When the source does not say.
    pub async fn repositories(&self) -> Result<Vec<RepositoryPath>, StoreError> {
        catalog(&*self.from).await
    }

    /// Brings the copy of a repository up to date; with `dry_run` only tells what is missing.
    ///
    /// # Errors
    /// What was copied stays; the next run goes on.
    pub async fn copy(&self, path: &RepositoryPath, dry_run: bool) -> Result<Mirrored, MirrorError> {
        let name = keys::catalog_entry(path);
        let Some(entry) = self.from.get(&name).await? else { return Ok(Mirrored::default()) };
        let id = catalog_id(&name, &entry)?;
        let there = self.to.get(&name).await?;
        if there.as_ref().is_some_and(|there| *there != entry) {
            return Err(MirrorError::Diverged(name));
        }
        let mut done = Mirrored { generation: self.last(&id).await?, ..Mirrored::default() };
        self.is_copy_of(&id, done.generation).await?;
        loop {
            let batch = self.entries_after(&id, done.generation).await?;
            let is_last = batch.is_empty();
            let pass = Pass { generation: done.generation, is_last, dry_run };
            self.copy_objects(&id, pass, &mut done).await?;
            for bytes in batch {
                done.generation += 1;
                done.entries += 1;
                if !dry_run {
                    self.append(&keys::log_entry(&id, done.generation), bytes).await?;
                }
            }
            if is_last {
                break;
            }
        }
        if there.is_none() {
            done.objects += 1;
            if !dry_run {
                self.append(&name, entry).await?;
            }
        }
        Ok(done)
    }

    /// Whether the copy's log is the beginning of the source's: each entry names the one before, so the last one says it.
    async fn is_copy_of(&self, id: &RepositoryId, last: u64) -> Result<(), MirrorError> {
        if last == 0 {
            return Ok(());
        }
        let key = keys::log_entry(id, last);
        let (here, there) = tokio::try_join!(self.from.get(&key), self.to.get(&key))?;
        let is_same = match (&here, &there) {
            (Some(here), Some(there)) => here == there || is_stub(here.len() as u64),
            _ => false,
        };
        if is_same { Ok(()) } else { Err(MirrorError::Diverged(key)) }
    }

    /// The last entry that the copy has.
    async fn last(&self, id: &RepositoryId) -> Result<u64, MirrorError> {
        let listed = list_all(&*self.to, &keys::log_all(id)).await?;
        Ok(listed.iter().filter_map(|object| keys::number(&object.key)).max().unwrap_or(0))
    }

    /// What the source's log has after an entry, up to some size; all of it if that is less.
    async fn entries_after(&self, id: &RepositoryId, generation: u64) -> Result<Vec<Bytes>, MirrorError> {
        let (mut entries, mut bytes): (Vec<Bytes>, usize) = (Vec::new(), 0);
        while bytes < BATCH_BYTES {
            let first = generation + 1 + entries.len() as u64;
            let read = (first..first + WINDOW).map(async |number| self.from.get(&keys::log_entry(id, number)).await);
            let read = try_join_all(read).await?;
            let is_end = read.iter().any(Option::is_none);
            // What comes behind one that was absent was written while we read.
            entries.extend(read.into_iter().map_while(|entry| entry).inspect(|entry| bytes += entry.len()));
            if is_end {
                break;
            }
        }
        Ok(entries)
    }

    /// Copies what the entries that come may name; when all are there, also drops what none names any more.
    async fn copy_objects(&self, id: &RepositoryId, pass: Pass, done: &mut Mirrored) -> Result<(), MirrorError> {
        // Old entries change when the copy has all others.
        for part in Part::ALL.into_iter().filter(|part| pass.is_last || *part != Part::Log) {
            // The source after its log was read: what is gone by now was retired in what we read.
            let there = self.listed(&*self.to, &part.prefix(id)).await?;
            let here = self.listed(&*self.from, &part.prefix(id)).await?;
            let Difference { copy, delete } = Difference::between(part, &here, &there, pass.generation);
            done.objects += copy.len() as u64;
            done.bytes += copy.iter().map(|(_, size)| size).sum::<u64>();
            if pass.dry_run {
                done.deleted += if pass.is_last { delete.len() as u64 } else { 0 };
                continue;
            }
            let copies = copy.iter().map(|(key, size)| Ok::<_, MirrorError>(self.copy_one(key, *size)));
            stream::iter(copies).try_buffer_unordered(AT_ONCE).try_collect::<()>().await?;
            for key in delete.iter().filter(|_| pass.is_last) {
                self.to.delete(key).await?;
                done.deleted += 1;
            }
        }
        Ok(())
    }

    async fn listed(&self, store: &dyn ObjectStore, prefix: &str) -> Result<BTreeSet<(String, u64)>, StoreError> {
        let listed = list_all(store, prefix).await?;
        Ok(listed.into_iter().map(|object| (object.key, object.size)).collect())
    }

    /// Copies an object; one that has gone meanwhile is needed by nobody.
    async fn copy_one(&self, key: &str, size: u64) -> Result<(), MirrorError> {
        if size <= SMALL {
            if let Some(bytes) = self.from.get(key).await? {
                self.to.put(key, bytes).await?;
            }
            return Ok(());
        }
        let file = tempfile::NamedTempFile::new_in(&self.folder).map_err(Error::Cache)?.into_temp_path();
        if self.from.download(key, &file, size).await? {
            self.to.upload(key, &file).await?;
        }
        Ok(())
    }

    /// Creates what must not exist, or be the same.
    async fn append(&self, key: &str, body: Bytes) -> Result<(), MirrorError> {
        let created = self.to.create(key, body.clone()).await;
        if matches!(created, Ok(Create::Created)) {
            return Ok(());
        }
        match self.to.get(key).await? {
            Some(found) if found == body => Ok(()),
            Some(_) => Err(MirrorError::Diverged(key.to_owned())),
            None => Err(created.err().map_or_else(|| Error::Missing { key: key.to_owned() }, Error::from).into()),
        }
    }
}

#[cfg(test)]
mod tests;
