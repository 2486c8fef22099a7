//! Git LFS objects of a repository (ADR 0013): immutable, named by the SHA-256 of their content, never part of the log.
//!
//! An object is two objects of the bucket: its content, and a small one with its size and the SHA-256 of each chunk (`sums.rs`).
//! The content comes first, and its hash is compared with its name, before it is uploaded (`receive.rs`) or after a client has sent it to the
//! bucket itself (`adopt.rs`); creating the sums is what makes it visible. So whoever finds sums finds the content, and any part of it
//! can be verified without reading the rest.

mod adopt;
mod check;
mod links;
mod lives;
mod promises;
mod read;
mod receive;
mod summing;
mod sums;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::RepositoryId;
use model::lfs::Oid;

use crate::error::Error;
use crate::keys;
use crate::object::{Create, StoreError};
use crate::repositories::Repositories;
use crate::repository::Shared;
pub use adopt::Adopted;
pub(crate) use adopt::Adoptions;
pub use links::UploadLink;
pub(crate) use lives::Life;
pub use receive::{LfsReceived, ReceiveError};
pub use sums::LfsObject;
pub(crate) use usage::Usages;

/// Doubtful answers to a create.
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
        LfsObjects::of(&self.shared(id), id)
    }
}

impl LfsObjects {
    pub(crate) fn of(shared: &Arc<Shared>, id: &RepositoryId) -> Self {
        Self { shared: Arc::clone(shared), id: id.clone() }
    }

    /// What is known of an object, for whoever reads it; `None` when the repository does not have it.
    ///
    /// # Errors
    /// When the store does not say, or what it says is damaged.
    pub async fn find(&self, oid: &Oid) -> Result<Option<LfsObject>, Error> {
        let mut life = 0;
        loop {
            if let Some(found) = self.sums(oid, life).await? {
                return Ok(Some(found));
            }
            if !self.is_gone(oid, life).await? {
                return Ok(None);
            }
            life += 1;
        }
    }

    /// What is known of an object, for whoever would upload it otherwise: one that may be deleted soon does not count.
    ///
    /// # Errors
    /// When the store does not say, or what it says is damaged.
    pub async fn find_lasting(&self, oid: &Oid) -> Result<Option<LfsObject>, Error> {
        self.lasting(oid).await.map(|(_, found)| found)
    }

    /// Makes a received object visible; one that is there already, and stays, is as good.
    ///
    /// # Errors
    /// When it may not be there.
    pub async fn keep(&self, received: LfsReceived) -> Result<(), Error> {
        let LfsReceived { object, file } = received;
        loop {
            let (life, found) = self.lasting(object.oid()).await?;
            if found.is_some() {
                return Ok(());
            }
            self.shared.store.upload(&keys::lfs(&self.id, object.oid(), life), &file).await?;
            self.create(&keys::lfs_sums(&self.id, object.oid(), life), &object.encode()).await?;
            // What a crash had left of this life may have been given up while all of it was uploaded.
            if !self.is_gone(object.oid(), life).await? {
                self.shared.lfs_usage.took(&self.id, object.oid(), object.size());
                return Ok(());
            }
        }
    }

    /// Creates an object, or finds it: whoever else created it did so with the same meaning.
    async fn create(&self, key: &str, body: &Bytes) -> Result<(), Error> {
        let mut doubts = 0;
        loop {
            match self.shared.store.create(key, body.clone()).await {
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
