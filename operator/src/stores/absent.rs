//! A store that does not answer when the server starts. What is kept in others too is served without it; it takes part from when it has
//! answered, and proven what commits rest on.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use store::probe::Refusal;
use store::{ClaimError, Create, ObjectBytes, ObjectMeta, ObjectStore, StoreError};

use super::{Door, RETRY};

/// The store, once it is there.
struct Absent {
    store: OnceLock<Arc<dyn ObjectStore>>,
    /// Why it is not.
    reason: Mutex<String>,
}

/// Stands in for a store until it opens; it is asked again for as long as the process lives.
pub(super) fn stand_in(door: Door, error: &anyhow::Error) -> Arc<dyn ObjectStore> {
    let name = door.named.name.clone();
    tracing::error!(
        store = name,
        error = format!("{error:#}"),
        "serving without a store that does not answer; it is tried again until it does"
    );
    let absent = Arc::new(Absent { store: OnceLock::new(), reason: Mutex::new(format!("{error:#}")) });
    let waiting = Arc::clone(&absent);
    tokio::spawn(async move {
        let store = loop {
            tokio::time::sleep(RETRY).await;
            match door.open().await {
                Ok((store, _)) => break store,
                Err(error) => *waiting.reason.lock().unwrap_or_else(PoisonError::into_inner) = format!("{error:#}"),
            }
        };
        tracing::info!(store = name, "the store answers");
        waiting.store.get_or_init(|| store);
    });
    absent
}

/// Whether a store may still turn out to be as it should. One that is unfit, or somebody else's, has to be looked at by people.
pub(super) fn may_come(error: &anyhow::Error) -> bool {
    let is_unfit = |error: &(dyn std::error::Error + 'static)| {
        matches!(error.downcast_ref(), Some(Refusal::Unfit(_)))
            || matches!(error.downcast_ref(), Some(ClaimError::Foreign(_) | ClaimError::Damaged(_)))
    };
    !error.chain().any(is_unfit)
}

impl Absent {
    fn there(&self, operation: &'static str, key: &str) -> Result<&Arc<dyn ObjectStore>, StoreError> {
        self.store.get().ok_or_else(|| {
            let why = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
            let reason = format!("it has not answered since this server started ({why})");
            StoreError::Unavailable { operation, key: key.to_owned(), reason }
        })
    }
}

#[async_trait]
impl ObjectStore for Absent {
    async fn create(&self, key: &str, body: Bytes) -> Result<Create, StoreError> {
        self.there("create", key)?.create(key, body).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        self.there("put", key)?.put(key, body).await
    }

    async fn upload(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        self.there("upload", key)?.upload(key, file).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.there("get", key)?.get(key).await
    }

    async fn download(&self, key: &str, file: &Path, size: u64) -> Result<bool, StoreError> {
        self.there("download", key)?.download(key, file, size).await
    }

    async fn download_range(&self, key: &str, file: &Path, range: Range<u64>, size: u64) -> Result<bool, StoreError> {
        self.there("download", key)?.download_range(key, file, range, size).await
    }

    async fn stream(&self, key: &str, range: Range<u64>, size: u64) -> Result<Option<ObjectBytes>, StoreError> {
        self.there("download", key)?.stream(key, range, size).await
    }

    fn encrypting_with(&self, kms_key_id: &str) -> Option<Arc<dyn ObjectStore>> {
        self.store.get()?.encrypting_with(kms_key_id)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.there("delete", key)?.delete(key).await
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        self.there("list", prefix)?.list(prefix, start_after, limit).await
    }
}

#[cfg(test)]
mod tests;
