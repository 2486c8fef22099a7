//! Copies that a server must not write to.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::object::{Create, ObjectBytes, ObjectMeta, ObjectStore, StoreError};

/// A copy of a repository whose primary store is another one: it is read.
pub(super) struct Copied(pub(super) Arc<dyn ObjectStore>);

impl Copied {
    fn refuse<T>(operation: &'static str, key: &str) -> Result<T, StoreError> {
        let reason = "this is a copy, and its primary store is none of this server's".to_owned();
        Err(StoreError::Unavailable { operation, key: key.to_owned(), reason })
    }
}

#[async_trait]
impl ObjectStore for Copied {
    async fn create(&self, key: &str, _: Bytes) -> Result<Create, StoreError> {
        Self::refuse("create", key)
    }

    async fn put(&self, key: &str, _: Bytes) -> Result<(), StoreError> {
        Self::refuse("put", key)
    }

    async fn upload(&self, key: &str, _: &Path) -> Result<(), StoreError> {
        Self::refuse("upload", key)
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.0.get(key).await
    }

    async fn download(&self, key: &str, file: &Path, size: u64) -> Result<bool, StoreError> {
        self.0.download(key, file, size).await
    }

    async fn download_range(&self, key: &str, file: &Path, range: Range<u64>, size: u64) -> Result<bool, StoreError> {
        self.0.download_range(key, file, range, size).await
    }

    async fn stream(&self, key: &str, range: Range<u64>, size: u64) -> Result<Option<ObjectBytes>, StoreError> {
        self.0.stream(key, range, size).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        Self::refuse("delete", key)
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        self.0.list(prefix, start_after, limit).await
    }
}
