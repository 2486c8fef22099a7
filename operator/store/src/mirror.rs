//! Copies what one store holds to another, object by object as they lie (ADR 0018): nothing is decrypted, and at every moment the copy is
//! a store that can be served, some entries behind.
//!
//! What an entry of the log names is copied before the entry, entries in their order, the name of a repository last. Only what is not there
//! yet is copied, so whoever was stopped goes on. When the copy has the last entry, it also loses what the source has deleted meanwhile, and its
//! old entries become stubs as they did there; whole repositories stay.

mod difference;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use futures::stream::{self, TryStreamExt as _};
use jiff::Timestamp;
use model::{RepositoryId, RepositoryPath};

use crate::entry::Numbered;
use crate::envelope::EnvelopeStore;
use crate::error::Error;
use crate::keys;
use crate::object::{Create, ObjectMeta, ObjectStore, StoreError, list_all};
use crate::replicated::{Epochs, Member, Settled, is_stub};
use crate::repositories::{catalog, catalog_id};
use crate::state::Upload;
use difference::Difference;
pub(crate) use difference::Part;

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
    /// Entries of the copy, which was the primary store once, that came too late to count (ADR 0019). They stay where they are, and are
    /// served to nobody.
    pub left_behind: u64,
}

impl Mirrored {
    /// Adds what else was copied.
    fn add(&mut self, more: Self) {
        self.objects += more.objects;
        self.bytes += more.bytes;
        self.deleted += more.deleted;
    }

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
}

/// Why a repository cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The copy has something that was never at the source.
    #[error(
        "{0} of the copy is not the one of the source: it was written to, or is the copy of something else; choose another place"
    )]
    Diverged(String),
    /// Another store is the primary one by now.
    #[error("another store has become the primary one")]
    Superseded,
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
        let epochs = Arc::new(Epochs::read(&*self.from, &id).await?);
        let member = |name: &str, store: &Arc<dyn ObjectStore>| {
            Member::new(name.into(), Arc::clone(store), id.clone(), Arc::clone(&epochs))
        };
        let (from, to) = (member("source", &self.from), member("copy", &self.to));
        let manner = Manner::Copy { dry_run };
        let (folder, known, enough) = (self.folder.as_path(), 0, u64::MAX);
        let (told, epochs) = (&|_| (), &*epochs);
        let copying = Copying { from: &from, to: &to, id: &id, path, epochs, folder, manner, known, enough, told };
        copying.run(&Part::ALL).await
    }
}

/// How a repository is copied.
pub(crate) enum Manner {
    /// To a place where nobody else writes.
    Copy { dry_run: bool },
    /// To a replica, where servers write as well: what they wrote in vain is overruled, and what is not at the source may be on its way
    /// there for as long as any request may take.
    Replica {
        before: Timestamp,
        /// Uploads that stay although the source has lost them; of which ones it may have none is not known without.
        named: Option<Arc<BTreeSet<Upload>>>,
        /// Who can read encrypted entries.
        opener: Option<Arc<EnvelopeStore>>,
    },
}

/// One repository on its way from one store to another.
pub(crate) struct Copying<'a> {
    pub(crate) from: &'a Member,
    pub(crate) to: &'a Member,
    pub(crate) id: &'a RepositoryId,
    pub(crate) path: &'a RepositoryPath,
    pub(crate) epochs: &'a Epochs,
    /// Where large objects lie on their way.
    pub(crate) folder: &'a Path,
    pub(crate) manner: Manner,
    /// An entry that the copy is known to have.
    pub(crate) known: u64,
    /// An entry with which it may end although there are more: those who push may be faster.
    pub(crate) enough: u64,
    /// Is told of each entry that the copy has.
    pub(crate) told: &'a (dyn Fn(u64) + Send + Sync),
}

impl Copying<'_> {
    /// Copies these parts, and entries of the log until there are no more.
    pub(crate) async fn run(&self, parts: &[Part]) -> Result<Mirrored, MirrorError> {
        let name = keys::catalog_entry(self.path);
        let (entry, there) = tokio::try_join!(self.from.raw().get(&name), self.to.raw().get(&name))?;
        let Some(entry) = entry else { return Err(Error::Missing { key: name }.into()) };
        if there.as_ref().is_some_and(|there| *there != entry) {
            return Err(MirrorError::Diverged(name));
        }
        let mut done = Mirrored { left_behind: self.copy_epochs().await?, ..Mirrored::default() };
        let last = self.to.end(self.known).await?;
        done.generation = self.common(last).await?;
        let mut next = Some(self.ahead(parts, done.generation, done.generation).await?);
        while let Some((batch, found)) = next.take() {
            done.add(found);
            if batch.is_empty() {
                done.add(self.copy_objects(parts, Pass { generation: done.generation, is_last: true }).await?);
                break;
            }
            let after = done.generation + batch.len() as u64;
            done.entries += batch.len() as u64;
            if after >= self.enough {
                self.append_all(done.generation, last, batch).await?;
            } else {
                // A log grows as fast as entries are created one after the other; whatever else is to be done is done meanwhile.
                let appended = self.append_all(done.generation, last, batch);
                let ((), ahead) = tokio::try_join!(appended, self.ahead(parts, done.generation, after))?;
                next = Some(ahead);
            }
            done.generation = after;
        }
        if there.is_none() {
            done.objects += 1;
            self.create(&name, entry).await?;
        }
        Ok(done)
    }

    fn is_dry(&self) -> bool {
        matches!(self.manner, Manner::Copy { dry_run: true })
    }

    /// Tells the copy of epochs that it has not heard of, after closing its log of the last one that it has. Returns how many entries that
    /// log has beyond what counts.
    async fn copy_epochs(&self) -> Result<u64, MirrorError> {
        let there = Epochs::read(self.to.raw(), self.id).await?;
        if there.number() > self.epochs.number() || there != self.epochs.until(there.number()) {
            return Err(MirrorError::Superseded);
        }
        let Some(next) = self.epochs.after(there.number()).next().filter(|_| !self.is_dry()) else { return Ok(0) };
        let left_behind = self.to.of(Arc::new(there)).close(next.base).await?.saturating_sub(next.base);
        if left_behind > 0 {
            self.forget_states(next.base).await?;
        }
        for epoch in self.epochs.after(next.number - 1) {
            self.create(&keys::epoch(self.id, epoch.number), epoch.encode()?).await?;
        }
        Ok(left_behind)
    }

    /// Deletes what follows from entries of the copy that do not count: others will have their numbers.
    async fn forget_states(&self, base: u64) -> Result<(), MirrorError> {
        for prefix in [keys::checkpoint_all(self.id), keys::references_all(self.id)] {
            let listed = list_all(self.to.raw(), &prefix).await?;
            let beyond = |object: &&ObjectMeta| keys::number(&object.key).is_some_and(|number| number > base);
            for object in listed.iter().filter(beyond) {
                self.to.delete(&object.key).await?;
            }
        }
        Ok(self.to.delete(&keys::hint(self.id)).await?)
    }

    /// The last entry up to which both logs are the same, of a copy that has entries up to `last`. Each entry names the one before, so one
    /// that is the same says it for all.
    async fn common(&self, last: u64) -> Result<u64, MirrorError> {
        let last = match self.manner {
            Manner::Copy { .. } => last,
            // What servers wrote in vain is at the end.
            Manner::Replica { .. } => last.min(self.from.end(last.saturating_sub(1)).await?),
        };
        let doubtful = u64::from(matches!(self.manner, Manner::Replica { .. }));
        for number in (last.saturating_sub(doubtful)..=last).rev() {
            if number == 0 || self.is_same(number).await? {
                return Ok(number);
            }
        }
        Err(MirrorError::Diverged(keys::log_entry(self.id, last)))
    }

    async fn is_same(&self, number: u64) -> Result<bool, MirrorError> {
        let key = keys::log_entry(self.id, number);
        let (here, there) = tokio::try_join!(self.from.get(&key), self.to.get(&key))?;
        Ok(match (&here, &there) {
            (Some(here), Some(there)) => here == there || is_stub(here.len()),
            _ => false,
        })
    }

    /// What the source's log has after an entry, up to some size; all of it if that is less.
    async fn entries_after(&self, generation: u64) -> Result<Vec<Bytes>, MirrorError> {
        let (mut entries, mut bytes): (Vec<Bytes>, usize) = (Vec::new(), 0);
        while bytes < BATCH_BYTES {
            let first = generation + 1 + entries.len() as u64;
            let read =
                (first..first + WINDOW).map(async |number| self.from.get(&keys::log_entry(self.id, number)).await);
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

    /// The entries after a number, and what came of copying all that they name, to a copy that has less.
    async fn ahead(&self, parts: &[Part], has: u64, after: u64) -> Result<(Vec<Bytes>, Mirrored), MirrorError> {
        let batch = self.entries_after(after).await?;
        if batch.is_empty() {
            return Ok((batch, Mirrored::default()));
        }
        let found = self.copy_objects(parts, Pass { generation: has, is_last: false }).await?;
        Ok((batch, found))
    }

    /// Copies what the entries that come may name; when all are there, also drops what none names any more.
    async fn copy_objects(&self, parts: &[Part], pass: Pass) -> Result<Mirrored, MirrorError> {
        let mut done = Mirrored::default();
        // Old entries change when the copy has all others.
        for part in parts.iter().copied().filter(|part| pass.is_last || *part != Part::Log) {
            // The source after its log was read: what is gone by now was retired in what we read.
            let there = list_all(self.to, &part.prefix(self.id)).await?;
            let here = list_all(self.from, &part.prefix(self.id)).await?;
            let Difference { copy, mut delete } =
                Difference::between(part, &sizes(&here), &sizes(&there), pass.generation);
            if let Manner::Replica { before, named, .. } = &self.manner {
                let old = |object: &&ObjectMeta| object.modified.is_some_and(|time| time < *before);
                let old: BTreeSet<&str> = there.iter().filter(old).map(|object| object.key.as_str()).collect();
                // A source that has lost what it must have does not take it from its replicas as well.
                let is_dead = |upload: &Upload| named.as_ref().is_some_and(|named| !named.contains(upload));
                let may_go = |key: &str| part != Part::Packs || keys::upload(key).as_ref().is_some_and(is_dead);
                delete.retain(|key| old.contains(key.as_str()) && may_go(key));
            }
            done.objects += copy.len() as u64;
            done.bytes += copy.iter().map(|(_, size)| size).sum::<u64>();
            if !pass.is_last {
                delete.clear();
            }
            done.deleted += delete.len() as u64;
            if self.is_dry() {
                continue;
            }
            let copies = copy.into_iter().map(|(key, size)| Ok::<_, MirrorError>(self.copy_one(part, key, size)));
            stream::iter(copies).try_buffer_unordered(AT_ONCE).try_collect::<()>().await?;
            for key in &delete {
                self.to.delete(key).await?;
            }
        }
        Ok(done)
    }

    /// Copies an object; one that has gone meanwhile is needed by nobody.
    async fn copy_one(&self, part: Part, key: String, size: u64) -> Result<(), MirrorError> {
        if size <= SMALL {
            match self.from.get(&key).await? {
                // Somebody may have brought it there since, who has verified it.
                Some(bytes) if part.is_constant() => drop(self.to.create(&key, bytes).await?),
                Some(bytes) => self.to.put(&key, bytes).await?,
                None => {}
            }
            return Ok(());
        }
        let file = tempfile::NamedTempFile::new_in(self.folder).map_err(Error::Cache)?.into_temp_path();
        if self.from.download(&key, &file, size).await? {
            self.to.upload(&key, &file).await?;
        }
        Ok(())
    }

    /// Where a replica has something else it may be right, and the source damaged: what cannot be read takes the place of nothing.
    async fn check_entry(&self, number: u64, body: &Bytes) -> Result<(), MirrorError> {
        let Manner::Replica { opener, .. } = &self.manner else { return Ok(()) };
        let key = keys::log_entry(self.id, number);
        let plain = match opener {
            Some(opener) => opener.opened(&key, Some(body.clone())).await?.unwrap_or_default(),
            None => body.clone(),
        };
        Numbered::decode(&plain).map_err(|error| Error::entry(key, error))?;
        Ok(())
    }

    /// Appends entries to the copy's log, which is that of the source up to a number, and had something up to `last`.
    async fn append_all(&self, mut number: u64, last: u64, entries: Vec<Bytes>) -> Result<(), MirrorError> {
        let mut place = None;
        for body in entries {
            number += 1;
            if number <= last {
                self.check_entry(number, &body).await?;
            }
            match self.manner {
                Manner::Copy { .. } => self.create(&keys::log_entry(self.id, number), body).await?,
                Manner::Replica { .. } => match self.to.settle_behind(number, &body, &mut place).await? {
                    Settled::Same => {}
                    Settled::Closed => return Err(MirrorError::Superseded),
                },
            }
            (self.told)(number);
        }
        Ok(())
    }

    /// Creates what must not exist, or be the same.
    async fn create(&self, key: &str, body: Bytes) -> Result<(), MirrorError> {
        if self.is_dry() {
            return Ok(());
        }
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

fn sizes(objects: &[ObjectMeta]) -> BTreeSet<(String, u64)> {
    objects.iter().map(|object| (object.key.clone(), object.size)).collect()
}

#[cfg(test)]
mod tests;
