//! A store that loses answers, fails and stalls as a script of the test says.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use crate::object::{Create, ObjectMeta, ObjectStore, StoreError};

/// What happens to one `create`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It works.
    None,
    /// It is carried out, but the answer is lost.
    AnswerLost,
    /// It is not carried out, and the answer does not say so.
    RequestLost,
    /// It is carried out, and a retry below us is told that the object exists.
    OwnRetry,
    /// The store refuses.
    Refused,
}

/// A store in front of another; each `create` takes the next fault of the script, then none.
#[derive(Clone)]
pub struct FaultyStore<S> {
    inner: S,
    script: Arc<Mutex<VecDeque<Fault>>>,
}

impl<S: ObjectStore> FaultyStore<S> {
    /// Puts a script in front of a store.
    pub fn new(inner: S, script: impl IntoIterator<Item = Fault>) -> Self {
        Self { inner, script: Arc::new(Mutex::new(script.into_iter().collect())) }
    }

    fn unknown(key: &str) -> StoreError {
        StoreError::Unknown { operation: "create", key: key.to_owned(), reason: "injected".to_owned() }
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for FaultyStore<S> {
    async fn create(&self, key: &str, body: Bytes) -> Result<Create, StoreError> {
        let fault = self.script.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or(Fault::None);
        match fault {
            Fault::None => self.inner.create(key, body).await,
            Fault::AnswerLost => {
                self.inner.create(key, body).await?;
                Err(Self::unknown(key))
            }
            Fault::RequestLost => Err(Self::unknown(key)),
            Fault::OwnRetry => {
                self.inner.create(key, body).await?;
                Ok(Create::Exists)
            }
            Fault::Refused => {
                let reason = "injected".to_owned();
                Err(StoreError::Refused { operation: "create", key: key.to_owned(), reason })
            }
        }
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        self.inner.put(key, body).await
    }

    async fn upload(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        self.inner.upload(key, file).await
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

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(key).await
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        self.inner.list(prefix, start_after, limit).await
    }
}
