//! The local cache of packs: bounded in bytes, least recently used out, disposable at any time.
//!
//! Packs that lie inside entries are small and many: they are held in memory, up to a bound, and go to disk beyond it. The others are
//! files. Files are named by the SHA-256 of their content, appear by rename, and those that an earlier process left are verified
//! before their first use. A pack that somebody holds is not evicted; one that nobody used for long goes without need.

mod entries;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use bytes::Bytes;
use model::{Content, RepositoryId};
use tempfile::TempDir;

use crate::digest::sha256_content;
use crate::entry::PackRecord;
use crate::metrics::{CacheMetrics, StoreMetrics};
use crate::state::PackId;
use entries::{Entries, Key};

const LOCK: &str = "lock";
const INCOMING: &str = "incoming";
const PACKS: &str = "packs";

/// Most bytes of packs that are held in memory, whatever the size of the cache.
const MEMORY_BYTES: u64 = 64 << 20;

/// A pack in the cache; while it is held, it stays.
#[derive(Debug)]
pub(crate) struct CachedPack {
    /// The pack.
    pub(crate) pack: Content,
    /// Its index.
    pub(crate) index: Content,
    bytes: u64,
    /// Its reachability table and the size of that, once somebody brought it. It comes and counts under the lock of the entries.
    table: OnceLock<(PathBuf, u64)>,
}

impl CachedPack {
    fn new(pack: Content, index: Content, bytes: u64) -> Self {
        Self { pack, index, bytes, table: OnceLock::new() }
    }

    /// Bytes of all its files.
    fn size(&self) -> u64 {
        self.bytes + self.table.get().map_or(0, |(_, bytes)| *bytes)
    }

    /// The file of its reachability table, if it is here.
    pub(crate) fn table(&self) -> Option<&Path> {
        self.table.get().map(|(path, _)| path.as_path())
    }

    fn is_in_memory(&self) -> bool {
        matches!(self.pack, Content::Memory(_))
    }
}

/// The cache folder of a process.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
    capacity: u64,
    /// Bytes that may be held in memory.
    memory: u64,
    metrics: CacheMetrics,
    entries: Mutex<Entries>,
    /// Held by the one who writes out what is in memory.
    relief: Mutex<()>,
    /// Held for the life of the process: a second one on the same folder is refused.
    _lock: File,
}

impl Cache {
    /// Opens the folder, creating it when needed. What crashed requests left is removed.
    ///
    /// # Errors
    /// When the folder cannot be written, or another process uses it.
    pub fn open(root: &Path, capacity: u64, metrics: &StoreMetrics) -> io::Result<Self> {
        fs::create_dir_all(root.join(PACKS))?;
        let root = root.canonicalize()?;
        let lock = File::create(root.join(LOCK))?;
        lock.try_lock().map_err(|_| {
            io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another process uses this cache folder; give each its own --cache",
            )
        })?;
        let incoming = root.join(INCOMING);
        if incoming.exists() {
            fs::remove_dir_all(&incoming)?;
        }
        fs::create_dir(&incoming)?;
        let metrics = metrics.cache.clone();
        metrics.capacity.set(i64::try_from(capacity).unwrap_or(i64::MAX));
        let memory = MEMORY_BYTES.min(capacity / 4);
        let cache =
            Self { root, capacity, memory, metrics, entries: Mutex::default(), relief: Mutex::default(), _lock: lock };
        cache.adopt_leftovers()?;
        Ok(cache)
    }

    /// Takes over what earlier processes left, as least recently used; what is not whole is deleted.
    fn adopt_leftovers(&self) -> io::Result<()> {
        let mut entries = self.lock();
        for folder in in_order(&self.root.join(PACKS))? {
            let id = folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            let Some(id): Option<RepositoryId> = id else {
                fs::remove_dir_all(&folder)?;
                continue;
            };
            for file in in_order(&folder)? {
                let (pack, index) = (file.with_extension("pack"), file.with_extension("idx"));
                let name = file.file_stem().and_then(|name| name.to_str()).and_then(PackId::parse);
                match (name, fs::metadata(&pack), fs::metadata(&index)) {
                    (Some(name), Ok(of_pack), Ok(of_index)) if file == index => {
                        let bytes = of_pack.len() + of_index.len();
                        let (pack, index) = (Content::File(pack), Content::File(index));
                        entries.add_unverified((id.clone(), name), CachedPack::new(pack, index, bytes));
                    }
                    (Some(_), Ok(_), Ok(_)) if file == pack => {}
                    _ => fs::remove_file(&file)?,
                }
            }
        }
        entries.evict(self.capacity);
        self.count(&entries);
        Ok(())
    }

    /// Removes packs that nobody has used for this long; gives how many.
    pub fn evict_idle(&self, idle: Duration) -> usize {
        let mut entries = self.lock();
        let evicted = entries.evict_idle(idle);
        self.count(&entries);
        evicted
    }

    /// Where files in the making are to be, on the cache's file system: what is left in it is removed at the next start.
    pub(crate) fn incoming(&self) -> PathBuf {
        self.root.join(INCOMING)
    }

    /// A folder in there that goes when dropped.
    pub(crate) fn temporary(&self) -> io::Result<TempDir> {
        TempDir::new_in(self.incoming())
    }

    /// The pack, if it is here; what an earlier process left is verified first. Blocks on file reads then.
    pub(crate) fn get(&self, repository: &RepositoryId, record: &PackRecord) -> Option<Arc<CachedPack>> {
        let key = (repository.clone(), record.id);
        if let Some(found) = self.lock().touch(&key) {
            return Some(found);
        }
        let leftover = self.lock().unverified(&key);
        let sound = leftover.is_some_and(|found| verify(&found.pack, &found.index, record).is_ok());
        self.metrics.looked_up(sound);
        let mut entries = self.lock();
        if sound {
            entries.verified(&key);
            return entries.touch(&key);
        }
        // Damaged, or of another index: it is fetched anew.
        entries.remove_unverified(&key);
        None
    }

    /// The pack, if this process has it already. Never blocks on a file.
    pub(crate) fn peek(&self, repository: &RepositoryId, pack: &PackId) -> Option<Arc<CachedPack>> {
        let found = self.lock().touch(&(repository.clone(), *pack));
        if found.is_some() {
            self.metrics.looked_up(true);
        }
        found
    }

    /// Moves verified files into the cache; they take the place of the same pack in memory.
    pub(crate) fn insert(
        &self,
        repository: &RepositoryId,
        record: &PackRecord,
        pack: &Path,
        index: &Path,
    ) -> io::Result<Arc<CachedPack>> {
        let key = (repository.clone(), record.id);
        let mut entries = self.lock();
        if let Some(known) = entries.touch(&key).filter(|known| !known.is_in_memory()) {
            return Ok(known);
        }
        let (pack, index) = self.take_in(&key, pack, index)?;
        Ok(self.add(entries, key, CachedPack::new(pack, index, record.bytes + record.index_bytes)))
    }

    /// Holds the verified bytes of a small pack. Never blocks on a file, but see [`Self::relieve`].
    pub(crate) fn hold(
        &self,
        repository: &RepositoryId,
        record: &PackRecord,
        pack: Bytes,
        index: Bytes,
    ) -> Arc<CachedPack> {
        let key = (repository.clone(), record.id);
        let mut entries = self.lock();
        if let Some(known) = entries.touch(&key) {
            return known;
        }
        entries.remove_unverified(&key);
        let (pack, index) = (Content::Memory(pack), Content::Memory(index));
        self.add(entries, key, CachedPack::new(pack, index, record.bytes + record.index_bytes))
    }

    /// Moves a verified reachability table beside its pack; `None` when that is not here as a file.
    pub(crate) fn add_table(
        &self,
        repository: &RepositoryId,
        pack: &PackId,
        bytes: u64,
        table: &Path,
    ) -> io::Result<Option<PathBuf>> {
        let mut entries = self.lock();
        let Some(held) = entries.touch(&(repository.clone(), *pack)) else { return Ok(None) };
        if let Some(known) = held.table() {
            return Ok(Some(known.to_owned()));
        }
        let Content::File(file) = &held.pack else { return Ok(None) };
        let path = file.with_extension("reach");
        fs::rename(table, &path)?;
        entries.add_table(&held, path.clone(), bytes);
        self.evict(entries);
        Ok(Some(path))
    }

    fn add(&self, mut entries: MutexGuard<'_, Entries>, key: Key, pack: CachedPack) -> Arc<CachedPack> {
        let pack = Arc::new(pack);
        entries.add(key, Arc::clone(&pack));
        self.evict(entries);
        pack
    }

    /// Makes room for what was added.
    fn evict(&self, mut entries: MutexGuard<'_, Entries>) {
        let evicted = entries.evict(self.capacity);
        self.metrics.evictions.inc_by(evicted as u64);
        self.count(&entries);
    }

    /// Whether more is held in memory than should be.
    pub(crate) fn is_pressed(&self) -> bool {
        self.lock().memory() > self.memory
    }

    /// Whether so much is held in memory that whoever brings more has to wait until less is.
    pub(crate) fn is_overfull(&self) -> bool {
        self.lock().memory() > 2 * self.memory
    }

    /// Writes to disk what is held in memory, least recently used first, until half of what may be is left. Takes a while; one at a
    /// time does it, and those who come meanwhile wait only if too much is held.
    pub(crate) fn relieve(&self) {
        let _turn = match self.relief.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) if self.is_overfull() => {
                self.relief.lock().unwrap_or_else(PoisonError::into_inner)
            }
            Err(TryLockError::WouldBlock) => return,
        };
        if !self.is_pressed() {
            return;
        }
        let mut excess = self.lock().memory().saturating_sub(self.memory / 2);
        self.write_out_while(|pack, _| {
            let is_too_much = excess > 0;
            excess = excess.saturating_sub(pack.size());
            is_too_much
        });
    }

    /// Writes to disk what is held in memory and was not used in this time.
    pub(crate) fn relieve_idle(&self, idle: Duration) {
        self.write_out_while(|_, unused| unused >= idle);
    }

    /// What cannot be written is dropped: it can be fetched again.
    fn write_out_while(&self, goes: impl FnMut(&CachedPack, Duration) -> bool) {
        let going = self.lock().in_memory_while(goes);
        if going.is_empty() {
            return;
        }
        let folder = self.temporary();
        for (key, pack) in going {
            let written = folder.as_ref().map_err(|error| error.kind().into());
            if let Err(error) = written.and_then(|folder| self.write_out(&key, &pack, folder.path())) {
                tracing::warn!(%error, "a small pack cannot be written to the cache folder");
                self.lock().remove(&key);
            }
        }
        self.count(&self.lock());
    }

    fn write_out(&self, key: &Key, held: &Arc<CachedPack>, folder: &Path) -> io::Result<()> {
        let (pack, index) = (folder.join("pack"), folder.join("idx"));
        for (content, file) in [(&held.pack, &pack), (&held.index, &index)] {
            if let Content::Memory(bytes) = content {
                fs::write(file, bytes)?;
            }
        }
        let mut entries = self.lock();
        if entries.is_held_as(key, held) {
            let (pack, index) = self.take_in(key, &pack, &index)?;
            entries.replace(key, CachedPack::new(pack, index, held.bytes));
        }
        Ok(())
    }

    /// Moves files to where they belong. Under the lock of the entries, or an eviction could remove the folder in between.
    fn take_in(&self, (repository, id): &Key, pack: &Path, index: &Path) -> io::Result<(Content, Content)> {
        let (pack_path, index_path) = self.paths(repository, id);
        if let Some(folder) = pack_path.parent() {
            fs::create_dir_all(folder)?;
        }
        // The index first: a pack that is found has one.
        fs::rename(index, &index_path)?;
        fs::rename(pack, &pack_path)?;
        Ok((Content::File(pack_path), Content::File(index_path)))
    }

    /// Removes what is cached of a repository and not in use.
    pub(crate) fn forget(&self, repository: &RepositoryId) {
        let mut entries = self.lock();
        entries.forget(repository);
        self.count(&entries);
        drop(entries);
        let _ = fs::remove_dir_all(self.root.join(PACKS).join(repository.as_str()));
    }

    fn count(&self, entries: &Entries) {
        self.metrics.memory.set(i64::try_from(entries.memory()).unwrap_or(i64::MAX));
        self.metrics.bytes.set(i64::try_from(entries.bytes()).unwrap_or(i64::MAX));
    }

    fn paths(&self, repository: &RepositoryId, id: &PackId) -> (PathBuf, PathBuf) {
        let folder = self.root.join(PACKS).join(repository.as_str());
        (folder.join(format!("{id}.pack")), folder.join(format!("{id}.idx")))
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is in a folder, by name: not every file system gives the same order each time.
fn in_order(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}

/// Invariant: a pack is used only if its bytes and those of its index are the ones that the log names.
pub(crate) fn verify(pack: &Content, index: &Content, record: &PackRecord) -> io::Result<()> {
    if sha256_content(pack)? != (record.id.0, record.bytes) {
        return Err(damaged("pack"));
    }
    verify_index(index, record)
}

/// As [`verify`], of the index alone.
pub(crate) fn verify_index(index: &Content, record: &PackRecord) -> io::Result<()> {
    if sha256_content(index)? != (record.index_id, record.index_bytes) {
        return Err(damaged("index"));
    }
    Ok(())
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the {what} has other bytes than the log says"))
}

#[cfg(test)]
mod tests;
