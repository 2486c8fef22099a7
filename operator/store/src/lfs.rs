//! Git LFS objects of a repository (ADR 0013): immutable, named by the SHA-256 of their content, never part of the log.
//!
//! An object is two objects of the bucket: its content, and a small one with its size and the SHA-256 of each chunk (`sums.rs`).
//! The content is uploaded first, after its hash was compared with its name; creating the sums is what makes it visible. So
//! whoever finds sums finds the content, and any part of it can be verified without reading the rest.

mod check;
mod read;
mod receive;
mod sums;

use std::sync::Arc;
use std::time::Duration;

use model::RepositoryId;
use model::lfs::Oid;

use crate::error::Error;
use crate::keys;
use crate::object::{Create, StoreError};
use crate::repositories::Repositories;
use crate::repository::Shared;
pub use receive::{LfsReceived, ReceiveError};
pub use sums::LfsObject;

/// Doubtful answers to the create that makes an object visible.
const MAX_DOUBTS: u32 = 4;

/// The LFS objects of a repository.
#[derive(Clone)]
pub struct LfsObjects {
    shared: Arc<Shared>,
    id: RepositoryId,
}

impl Repositories {
    /// The LFS objects of a repository: nothing of its log is needed to use them.
    #[must_use]
    pub fn lfs(&self, id: &RepositoryId) -> LfsObjects {
        LfsObjects { shared: Arc::clone(self.shared()), id: id.clone() }
    }
}

impl LfsObjects {
    /// What is known of an object; `None` when the repository does not have it.
    ///
    /// # Errors
    /// When the store does not say, or what it says is damaged.
    pub async fn find(&self, oid: &Oid) -> Result<Option<LfsObject>, Error> {
        let key = keys::lfs_sums(&self.id, oid);
        let Some(bytes) = self.shared.store.get(&key).await? else { return Ok(None) };
        let found = LfsObject::decode(&bytes).map_err(|error| Error::entry(key.clone(), error))?;
        if found.oid() != oid {
            return Err(Error::Damaged { key, reason: "it speaks of another object".to_owned() });
        }
        Ok(Some(found))
    }

    /// Makes a received object visible; one that is there already is as good.
    ///
    /// # Errors
    /// When it may not be there.
    pub async fn keep(&self, received: LfsReceived) -> Result<(), Error> {
        let LfsReceived { object, file } = received;
        if self.find(object.oid()).await?.is_some() {
            return Ok(());
        }
        self.shared.store.upload(&keys::lfs(&self.id, object.oid()), &file).await?;
        let (key, sums) = (keys::lfs_sums(&self.id, object.oid()), object.encode());
        let mut doubts = 0;
        loop {
            match self.shared.store.create(&key, sums.clone()).await {
                // Whoever else created it has uploaded the same content.
                Ok(Create::Created | Create::Exists) => return Ok(()),
                Err(StoreError::Unknown { .. }) if doubts < MAX_DOUBTS => {
                    doubts += 1;
                    tokio::time::sleep(Duration::from_millis(50 << doubts)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
