//! The local cache of packs: bounded in bytes, least recently used out, disposable at any time.
//!
//! Files are named by the SHA-256 of their content, appear by rename, and those that an earlier process left are verified
//! before their first use. A pack that somebody holds is not evicted.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::RepositoryId;
use tempfile::TempDir;

use crate::digest::sha256_file;
use crate::entry::PackRecord;
use crate::metrics::{CacheMetrics, StoreMetrics};
use crate::state::PackId;

const LOCK: &str = "lock";
const INCOMING: &str = "incoming";
const PACKS: &str = "packs";

/// A pack in the cache; while it is held, it stays.
#[derive(Debug)]
pub(crate) struct CachedPack {
    /// The pack file.
    pub(crate) pack: PathBuf,
    /// Its index.
    pub(crate) index: PathBuf,
    bytes: u64,
}

/// The cache folder of a process.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
    capacity: u64,
    metrics: CacheMetrics,
    entries: Mutex<Entries>,
    /// Held for the life of the process: a second one on the same folder is refused.
    _lock: File,
}

type Key = (RepositoryId, PackId);

#[derive(Debug, Default)]
struct Entries {
    packs: HashMap<Key, (Arc<CachedPack>, u64)>,
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    bytes: u64,
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
        let cache = Self { root, capacity, metrics, entries: Mutex::default(), _lock: lock };
        cache.trim_leftovers()?;
        Ok(cache)
    }

    /// Deletes files of earlier processes when they alone exceed the capacity.
    fn trim_leftovers(&self) -> io::Result<()> {
        let packs = self.root.join(PACKS);
        let mut bytes = 0;
        for folder in fs::read_dir(&packs)? {
            for file in fs::read_dir(folder?.path())? {
                bytes += file?.metadata()?.len();
            }
        }
        if bytes > self.capacity {
            fs::remove_dir_all(&packs)?;
            fs::create_dir(&packs)?;
        }
        Ok(())
    }

    /// A folder for files in the making, on the cache's file system; it goes when dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn incoming(&self) -> io::Result<TempDir> {
        TempDir::new_in(self.root.join(INCOMING))
    }

    /// The pack, if it is here; what an earlier process left is verified first. Blocks on file reads then.
    pub(crate) fn get(&self, repository: &RepositoryId, record: &PackRecord) -> Option<Arc<CachedPack>> {
        let key = (repository.clone(), record.id);
        if let Some(found) = self.lock().touch(&key) {
            return Some(found);
        }
        let (pack, index) = self.paths(repository, &record.id);
        let sound = pack.exists() && verify(&pack, &index, record).is_ok();
        self.metrics.looked_up(sound);
        sound.then(|| self.admit(key, pack, index, record))
    }

    /// The pack, if this process has it already. Never blocks on a file.
    pub(crate) fn peek(&self, repository: &RepositoryId, pack: &PackId) -> Option<Arc<CachedPack>> {
        let found = self.lock().touch(&(repository.clone(), *pack));
        if found.is_some() {
            self.metrics.looked_up(true);
        }
        found
    }

    /// Moves verified files into the cache.
    pub(crate) fn insert(
        &self,
        repository: &RepositoryId,
        record: &PackRecord,
        pack: &Path,
        index: &Path,
    ) -> io::Result<Arc<CachedPack>> {
        let (pack_path, index_path) = self.paths(repository, &record.id);
        if let Some(folder) = pack_path.parent() {
            fs::create_dir_all(folder)?;
        }
        // The index first: a pack that is found has one.
        fs::rename(index, &index_path)?;
        fs::rename(pack, &pack_path)?;
        Ok(self.admit((repository.clone(), record.id), pack_path, index_path, record))
    }

    /// Removes what is cached of a repository and not in use.
    pub(crate) fn forget(&self, repository: &RepositoryId) {
        let mut entries = self.lock();
        let keys: Vec<Key> = entries.packs.keys().filter(|(owner, _)| owner == repository).cloned().collect();
        for key in keys {
            entries.remove(&key);
        }
        self.count(&entries);
        drop(entries);
        let _ = fs::remove_dir_all(self.root.join(PACKS).join(repository.as_str()));
    }

    fn admit(&self, key: Key, pack: PathBuf, index: PathBuf, record: &PackRecord) -> Arc<CachedPack> {
        let cached = Arc::new(CachedPack { pack, index, bytes: record.bytes + record.index_bytes });
        let mut entries = self.lock();
        if let Some(known) = entries.touch(&key) {
            return known;
        }
        entries.add(key, Arc::clone(&cached));
        let evicted = entries.evict(self.capacity);
        self.metrics.evictions.inc_by(evicted as u64);
        self.count(&entries);
        cached
    }

    fn count(&self, entries: &Entries) {
        self.metrics.bytes.set(i64::try_from(entries.bytes).unwrap_or(i64::MAX));
    }

    fn paths(&self, repository: &RepositoryId, id: &PackId) -> (PathBuf, PathBuf) {
        let folder = self.root.join(PACKS).join(repository.as_str());
        (folder.join(format!("{id}.pack")), folder.join(format!("{id}.idx")))
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn touch(&mut self, key: &Key) -> Option<Arc<CachedPack>> {
        self.uses += 1;
        let (pack, used) = self.packs.get_mut(key)?;
        let before = std::mem::replace(used, self.uses);
        self.by_use.remove(&before);
        self.by_use.insert(self.uses, key.clone());
        Some(Arc::clone(pack))
    }

    fn add(&mut self, key: Key, pack: Arc<CachedPack>) {
        self.uses += 1;
        self.bytes += pack.bytes;
        self.by_use.insert(self.uses, key.clone());
        self.packs.insert(key, (pack, self.uses));
    }

    fn remove(&mut self, key: &Key) {
        if let Some((pack, used)) = self.packs.remove(key) {
            self.by_use.remove(&used);
            self.bytes -= pack.bytes;
            // Best effort: a file that stays is verified, or trimmed, by the next process.
            let _ = fs::remove_file(&pack.pack);
            let _ = fs::remove_file(&pack.index);
        }
    }

    /// Evicts the least recently used packs that nobody holds; gives how many.
    fn evict(&mut self, capacity: u64) -> usize {
        let mut excess = self.bytes.saturating_sub(capacity);
        let mut victims = Vec::new();
        for key in self.by_use.values() {
            if excess == 0 {
                break;
            }
            if let Some((pack, _)) = self.packs.get(key).filter(|(pack, _)| Arc::strong_count(pack) == 1) {
                excess = excess.saturating_sub(pack.bytes);
                victims.push(key.clone());
            }
        }
        for key in &victims {
            self.remove(key);
        }
        victims.len()
    }
}

/// Invariant: a pack is used only if its bytes and those of its index are the ones that the log names.
pub(crate) fn verify(pack: &Path, index: &Path, record: &PackRecord) -> io::Result<()> {
    let damaged = |what: &str| {
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("the {what} has other bytes than the log says")))
    };
    if sha256_file(pack)? != (record.id.0, record.bytes) {
        return damaged("pack");
    }
    if sha256_file(index)? != (record.index_id, record.index_bytes) {
        return damaged("index");
    }
    Ok(())
}
