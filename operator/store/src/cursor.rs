//! How far a notification target has been served: numbered, create-only records, so that one server at a time delivers.
//!
//! Each record names its owner, how far it got, and for how long others should leave it alone. Only who creates the next number
//! owns the delivery; a server whose create finds the number taken has lost it and stops.

use std::sync::Arc;

use model::RepositoryId;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::keys;
use crate::object::{Create, ObjectStore, StoreError};
use crate::sealed::{seal, unseal};

/// One record of a cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CursorRecord {
    /// Random name of the server process that wrote it.
    pub owner: String,
    /// All events up to this generation are delivered.
    pub delivered: u64,
    /// Others leave the delivery alone for this long after they first saw this record.
    pub lease_seconds: u64,
}

/// The cursor of one target on one repository.
pub struct Cursor {
    store: Arc<dyn ObjectStore>,
    id: RepositoryId,
    target: String,
}

impl Cursor {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, id: RepositoryId, target: String) -> Self {
        Self { store, id, target }
    }

    /// The newest record with its number. Lists: not for a request path.
    ///
    /// # Errors
    /// When the store does not say.
    pub async fn newest(&self) -> Result<Option<(u64, CursorRecord)>, Error> {
        let objects = self.store.list(&keys::cursor_all(&self.id, &self.target), None, 1_000).await?;
        let Some(key) = objects.last().map(|object| object.key.clone()) else { return Ok(None) };
        let Some(number) = keys::number(&key) else { return Ok(None) };
        // Deleted between list and read: its owner has moved on, so there is a newer one; the caller looks again later.
        let Some(body) = self.store.get(&key).await? else { return Ok(None) };
        let record = unseal(&body).map_err(|reason| Error::Damaged { key, reason })?;
        Ok(Some((number, record)))
    }

    /// Writes record `number`; false when somebody else did.
    ///
    /// # Errors
    /// When the store does not say.
    pub async fn write(&self, number: u64, record: &CursorRecord) -> Result<bool, Error> {
        let key = keys::cursor(&self.id, &self.target, number);
        let body = seal(record).map_err(|error| Error::Packs(error.to_string()))?;
        let outcome = self.store.create(&key, body).await;
        match outcome {
            Ok(Create::Created) => Ok(true),
            Ok(Create::Exists) | Err(StoreError::Unknown { .. }) => {
                let written = self.store.get(&key).await?;
                Ok(written.is_some_and(|body| unseal(&body).is_ok_and(|found: CursorRecord| found == *record)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes records before `number`, which its owner no longer needs.
    ///
    /// # Errors
    /// When some may be left; the next call removes them.
    pub async fn trim(&self, number: u64) -> Result<(), Error> {
        for object in self.store.list(&keys::cursor_all(&self.id, &self.target), None, 100).await? {
            if keys::number(&object.key).is_some_and(|found| found < number) {
                self.store.delete(&object.key).await?;
            }
        }
        Ok(())
    }
}
