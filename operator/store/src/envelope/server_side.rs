//! Encryption by the bucket with a repository's own key (SSE-KMS), as its manifest says at the moment.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use bytes::Bytes;
use model::RepositoryPath;

use super::Manifests;
use crate::object::{Create, ObjectBytes, ObjectMeta, ObjectStore, StoreError};
use crate::repository::Context;

/// The objects of one repository, written with the key that its manifest names. What was written with another key is read all the same.
pub(crate) struct ServerSideStore {
    inner: Arc<dyn ObjectStore>,
    manifests: Arc<dyn Manifests>,
    path: RepositoryPath,
    /// The last key, and the store that writes with it.
    keyed: ArcSwapOption<(String, Arc<dyn ObjectStore>)>,
}

impl ServerSideStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, path: &RepositoryPath, context: &Context) -> Arc<Self> {
        let manifests = Arc::clone(&context.keys.manifests);
        Arc::new(Self { inner, manifests, path: path.clone(), keyed: ArcSwapOption::empty() })
    }

    /// The store to write to.
    fn writer(&self) -> Result<Arc<dyn ObjectStore>, StoreError> {
        let Some(wanted) = self.manifests.encryption(&self.path).and_then(|encryption| encryption.kms_key_id) else {
            return Ok(Arc::clone(&self.inner));
        };
        if let Some(keyed) = &*self.keyed.load()
            && keyed.0 == wanted
        {
            return Ok(Arc::clone(&keyed.1));
        }
        let store = self.inner.encrypting_with(&wanted).ok_or_else(|| StoreError::Locked {
            repository: self.path.to_string(),
            reason: "a store that is a folder does not encrypt; remove spec.encryption.kmsKeyId".to_owned(),
        })?;
        self.keyed.store(Some(Arc::new((wanted, Arc::clone(&store)))));
        Ok(store)
    }
}

#[async_trait]
impl ObjectStore for ServerSideStore {
    async fn create(&self, key: &str, body: Bytes) -> Result<Create, StoreError> {
        self.writer()?.create(key, body).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        self.writer()?.put(key, body).await
    }

    async fn upload(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        self.writer()?.upload(key, file).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(key).await
    }

    async fn download(&self, key: &str, file: &Path, size: u64) -> Result<bool, StoreError> {
        self.inner.download(key, file, size).await
    }

    async fn download_range(&self, key: &str, file: &Path, range: Range<u64>, size: u64) -> Result<bool, StoreError> {
        self.inner.download_range(key, file, range, size).await
    }

    async fn stream(&self, key: &str, range: Range<u64>, size: u64) -> Result<Option<ObjectBytes>, StoreError> {
        self.inner.stream(key, range, size).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(key).await
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        self.inner.list(prefix, start_after, limit).await
    }
}
