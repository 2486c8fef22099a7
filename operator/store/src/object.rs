//! The seam to the object store: nine calls, one of which, [`ObjectStore::create`], is the commit.
//!
//! A backend promises: a created object is durable and whole when `create` says so; it never changes afterwards by `create`;
//! a reader sees it at once; keys are listed in byte order.

use std::ops::Range;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use jiff::Timestamp;
use model::error::Kind;

/// The answer to a conditional create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    /// The object did not exist; it does now, with our bytes.
    Created,
    /// The object exists. It may still hold our bytes: a retry below us can meet its own first attempt.
    Exists,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written, by the clock of the store; `None` when the store does not say.
    pub modified: Option<Timestamp>,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The request may have been carried out: time-out, lost connection, 409 or 5xx. Read to find out.
    #[error("failed to learn the outcome of {operation} of {key}: {reason}")]
    Unknown {
        /// What was asked.
        operation: &'static str,
        /// Of which object.
        key: String,
        /// What was seen.
        reason: String,
    },
    /// The store cannot be reached or is overloaded; nothing was changed.
    #[error("failed to reach the object store for {operation} of {key}: {reason}")]
    Unavailable {
        /// What was asked.
        operation: &'static str,
        /// Of which object.
        key: String,
        /// What was seen.
        reason: String,
    },
    /// The store refused; trying again will not help until somebody changes something.
    #[error("the object store refused {operation} of {key}: {reason}")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// Of which object.
        key: String,
        /// What was said, and what to do about it.
        reason: String,
    },
    /// The key that the repository is encrypted with cannot be had.
    #[error("the encryption key of {repository} cannot be used: {reason}")]
    Locked {
        /// Whose key.
        repository: String,
        /// What is wrong with it, and what to do about it.
        reason: String,
    },
    /// Another store has become the primary one of the repository: what this builds on has to be looked at again. Nothing was changed.
    #[error("another store has become the primary one, for {operation} of {key}")]
    Superseded {
        /// What was asked.
        operation: &'static str,
        /// Of which object.
        key: String,
    },
    /// No room is left.
    #[error("no space left for {operation} of {key}")]
    Full {
        /// What was asked.
        operation: &'static str,
        /// Of which object.
        key: String,
    },
    /// The bytes that came back are not those that were asked for.
    #[error("the object store returned damaged data for {key}: {reason}")]
    Damaged {
        /// The object.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl StoreError {
    /// An object turned out to have another size.
    pub(crate) fn other_size(key: &str, size: u64, found: u64) -> Self {
        Self::Damaged { key: key.to_owned(), reason: format!("it has {found} bytes and should have {size}") }
    }

    /// What the caller should do.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unknown { .. }
            | Self::Unavailable { .. }
            | Self::Superseded { .. }
            | Self::Full { .. }
            | Self::Locked { .. } => Kind::Unavailable,
            Self::Refused { .. } => Kind::Denied,
            Self::Damaged { .. } => Kind::Internal,
        }
    }
}

/// Some bytes of an object, as they arrive.
pub type ObjectBytes = BoxStream<'static, Result<Bytes, StoreError>>;

/// An object store. Keys are relative to the store's prefix, made in `keys.rs` only.
#[async_trait]
pub trait ObjectStore: Send + Sync + 'static {
    /// Creates an object that must not exist (`If-None-Match: *`), in one attempt.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] whenever the object may have been created all the same.
    async fn create(&self, key: &str, body: Bytes) -> Result<Create, StoreError>;

    /// As [`Self::create`], of an entry that builds on what the log was in this epoch.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] when that is over.
    async fn create_in(&self, _epoch: u64, key: &str, body: Bytes) -> Result<Create, StoreError> {
        self.create(key, body).await
    }

    /// As [`Self::get`], of an entry, from the store that decides what it is and from no other.
    ///
    /// # Errors
    /// When that store did not say.
    async fn get_decided(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.get(key).await
    }

    /// Makes sure that an entry that was read back is as durable as one that was created.
    ///
    /// # Errors
    /// When it may not be.
    async fn confirm(&self, _key: &str) -> Result<(), StoreError> {
        Ok(())
    }

    /// The epoch whose log is read and written (ADR 0019).
    fn epoch(&self) -> u64 {
        0
    }

    /// Writes an object, replacing what is there. For hints and stubs only, and retried.
    ///
    /// # Errors
    /// When the object could not be written.
    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError>;

    /// Uploads a file as an object named by its content. Retried; a second upload of the same bytes is harmless.
    ///
    /// # Errors
    /// When the object could not be written whole.
    async fn upload(&self, key: &str, file: &Path) -> Result<(), StoreError>;

    /// Reads a small object; `None` when it does not exist.
    ///
    /// # Errors
    /// When the store did not say.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError>;

    /// Downloads an object of `size` bytes into `file`, which appears only when whole and durable enough for a cache; false when
    /// there is none.
    ///
    /// # Errors
    /// When the object could not be read whole, or has another size.
    async fn download(&self, key: &str, file: &Path, size: u64) -> Result<bool, StoreError>;

    /// Downloads some bytes of an object of `size` bytes into the same place of `file`, which exists; false when there is none.
    ///
    /// # Errors
    /// When they could not be read, or the object has another size.
    async fn download_range(&self, key: &str, file: &Path, range: Range<u64>, size: u64) -> Result<bool, StoreError>;

    /// Reads some bytes of an object of `size` bytes as they arrive, without keeping them; `None` when there is none. What comes may
    /// end early: the caller counts.
    ///
    /// # Errors
    /// When they could not be read, or the object has another size.
    async fn stream(&self, key: &str, range: Range<u64>, size: u64) -> Result<Option<ObjectBytes>, StoreError> {
        // Good enough for stores that are in memory anyway; the others have their own.
        let Some(whole) = self.get(key).await? else { return Ok(None) };
        if whole.len() as u64 != size {
            return Err(StoreError::other_size(key, size, whole.len() as u64));
        }
        let index = |offset| usize::try_from(offset).unwrap_or(usize::MAX).min(whole.len());
        let wanted = whole.slice(index(range.start)..index(range.end));
        Ok(Some(stream::once(async { Ok(wanted) }).boxed()))
    }

    /// The same store, which has what it writes encrypted by the store itself with this key (SSE-KMS); `None` where there is no such
    /// thing.
    fn encrypting_with(&self, _kms_key_id: &str) -> Option<std::sync::Arc<dyn ObjectStore>> {
        None
    }

    /// Deletes an object; a missing one is fine.
    ///
    /// # Errors
    /// When it may still be there.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// Lists up to `limit` objects below `prefix` after `start_after`, in byte order of keys. Never on a request path.
    ///
    /// # Errors
    /// When the store did not say.
    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError>;
}

/// Objects listed at once.
const PAGE: usize = 1_000;

/// Lists everything below `prefix`, in byte order of keys.
///
/// # Errors
/// When the store did not say.
pub(crate) async fn list_all(store: &dyn ObjectStore, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
    let mut listed: Vec<ObjectMeta> = Vec::new();
    loop {
        let after = listed.last().map(|last| last.key.clone());
        let page = store.list(prefix, after.as_deref(), PAGE).await?;
        let is_last = page.len() < PAGE;
        listed.extend(page);
        if is_last {
            return Ok(listed);
        }
    }
}
