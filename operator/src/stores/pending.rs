//! A store that has not answered yet: it fails until it has, and is proven then as any other.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use store::probe::Refusal;
use store::{Create, ObjectBytes, ObjectMeta, ObjectStore, StoreError};

use super::{RETRY, Way, connect};

pub(super) struct Pending {
    store: OnceLock<Arc<dyn ObjectStore>>,
}

impl Pending {
    /// Tries again until the store answers.
    pub(super) fn begin(way: Way) -> Arc<dyn ObjectStore> {
        let pending = Arc::new(Self { store: OnceLock::new() });
        tokio::spawn(retry(Arc::downgrade(&pending), way));
        pending
    }

    fn reach(&self, operation: &'static str, key: &str) -> Result<&dyn ObjectStore, StoreError> {
        let store = self.store.get();
        let reason = "it has not answered since this server began; the server's log says why".to_owned();
        store.map(|store| &**store).ok_or_else(|| StoreError::Unavailable { operation, key: key.to_owned(), reason })
    }
}

async fn retry(pending: Weak<Pending>, way: Way) {
    let mut told = String::new();
    loop {
        tokio::time::sleep(RETRY).await;
        let Some(pending) = pending.upgrade() else { return };
        match connect(&way).await {
            Ok((store, _)) => {
                tracing::info!(store = way.named.name, "the store answers now");
                let _ = pending.store.set(store);
                return;
            }
            Err(error) => {
                let error = format!("{error:#}");
                if error != told {
                    tracing::error!(store = way.named.name, error, "a store cannot be used: it is tried again");
                    told = error;
                }
            }
        }
    }
}

/// Whether a store said nothing, and not that it is unfit or somebody else's.
pub(super) fn is_silent(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let refusal = cause.downcast_ref::<Refusal>();
        let is_silent = refusal.is_some_and(|refusal| !matches!(refusal, Refusal::Unfit(_)));
        is_silent || cause.downcast_ref::<StoreError>().is_some()
    })
}

#[async_trait]
impl ObjectStore for Pending {
    async fn create(&self, key: &str, body: Bytes) -> Result<Create, StoreError> {
        self.reach("create", key)?.create(key, body).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        self.reach("put", key)?.put(key, body).await
    }

    async fn upload(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        self.reach("upload", key)?.upload(key, file).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.reach("get", key)?.get(key).await
    }

    async fn download(&self, key: &str, file: &Path, size: u64) -> Result<bool, StoreError> {
        self.reach("download", key)?.download(key, file, size).await
    }

    async fn download_range(&self, key: &str, file: &Path, range: Range<u64>, size: u64) -> Result<bool, StoreError> {
        self.reach("download", key)?.download_range(key, file, range, size).await
    }

    async fn stream(&self, key: &str, range: Range<u64>, size: u64) -> Result<Option<ObjectBytes>, StoreError> {
        self.reach("download", key)?.stream(key, range, size).await
    }

    fn encrypting_with(&self, kms_key_id: &str) -> Option<Arc<dyn ObjectStore>> {
        self.store.get()?.encrypting_with(kms_key_id)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.reach("delete", key)?.delete(key).await
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        self.reach("list", prefix)?.list(prefix, start_after, limit).await
    }
}
