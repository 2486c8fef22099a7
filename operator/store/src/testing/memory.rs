//! A store in memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::object::{Create, ObjectMeta, ObjectStore, StoreError};

/// A store in memory; clones share their objects, and every call is counted.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
    /// When each was written, if it was not at the beginning of time.
    written: Arc<Mutex<BTreeMap<String, Timestamp>>>,
    now: Arc<Mutex<Timestamp>>,
    calls: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    /// Ranges wait for a permit each, once it is there.
    gate: Arc<OnceLock<Arc<Semaphore>>>,
}

impl MemoryStore {
    /// How often each operation was called.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<&'static str, u64> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All keys.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.objects().keys().cloned().collect()
    }

    /// The bytes of an object; none of one that is not there.
    #[must_use]
    pub fn body(&self, key: &str) -> Bytes {
        self.objects().get(key).cloned().unwrap_or_default()
    }

    /// Sets the clock of the store, which otherwise stands at the beginning of time: what is written is as old as the world, so
    /// whoever waits for a time that a test does not have need not.
    pub fn set_time(&self, now: Timestamp) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// From now on a range is handed out for each permit.
    #[must_use]
    pub fn hold_ranges(&self) -> Arc<Semaphore> {
        Arc::clone(self.gate.get_or_init(|| Arc::new(Semaphore::new(0))))
    }

    /// Changes an object behind everybody's back.
    pub fn tamper(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(object) = self.objects().get_mut(key) {
            let mut bytes = object.to_vec();
            change(&mut bytes);
            *object = bytes.into();
        }
    }

    fn write(&self, key: &str, body: Bytes) {
        let now = *self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let mut objects = self.objects();
        self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), now);
        objects.insert(key.to_owned(), body);
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, operation: &'static str) {
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner).entry(operation).or_default() += 1;
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    async fn create(&self, key: &str, body: Bytes) -> Result<Create, StoreError> {
        self.count("create");
        let now = *self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let mut objects = self.objects();
        if objects.contains_key(key) {
            return Ok(Create::Exists);
        }
        objects.insert(key.to_owned(), body);
        self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), now);
        Ok(Create::Created)
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        self.count("put");
        self.write(key, body);
        Ok(())
    }

    async fn upload(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        self.count("upload");
        let unavailable = |error: std::io::Error| StoreError::Unavailable {
            operation: "upload",
            key: key.to_owned(),
            reason: error.to_string(),
        };
        let bytes = std::fs::read(file).map_err(unavailable)?;
        self.write(key, bytes.into());
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.count("get");
        Ok(self.objects().get(key).cloned())
    }

    async fn download(&self, key: &str, file: &Path, size: u64) -> Result<bool, StoreError> {
        self.count("download");
        let Some(bytes) = self.objects().get(key).cloned() else { return Ok(false) };
        if bytes.len() as u64 != size {
            return Err(StoreError::other_size(key, size, bytes.len() as u64));
        }
        std::fs::write(file, bytes).map(|()| true).map_err(|error| StoreError::Unavailable {
            operation: "download",
            key: key.to_owned(),
            reason: error.to_string(),
        })
    }

    async fn download_range(&self, key: &str, file: &Path, range: Range<u64>, size: u64) -> Result<bool, StoreError> {
        self.count("download_range");
        if let Some(gate) = self.gate.get() {
            gate.acquire().await.expect("because it is never closed").forget();
        }
        let Some(bytes) = self.objects().get(key).cloned() else { return Ok(false) };
        if bytes.len() as u64 != size {
            return Err(StoreError::other_size(key, size, bytes.len() as u64));
        }
        let index = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
        let wanted = &bytes[index(range.start)..index(range.end)];
        let file = std::fs::File::options().write(true).open(file);
        let written = file.and_then(|file| file.write_all_at(wanted, range.start));
        written.map(|()| true).map_err(|error| StoreError::Unavailable {
            operation: "download",
            key: key.to_owned(),
            reason: error.to_string(),
        })
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.count("delete");
        self.objects().remove(key);
        Ok(())
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        self.count("list");
        let objects = self.objects();
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        let after = wanted.filter(|(key, _)| start_after.is_none_or(|after| key.as_str() > after));
        let meta = |(key, body): (&String, &Bytes)| ObjectMeta {
            key: key.clone(),
            size: body.len() as u64,
            modified: Some(written.get(key).copied().unwrap_or_default()),
        };
        Ok(after.take(limit).map(meta).collect())
    }
}
