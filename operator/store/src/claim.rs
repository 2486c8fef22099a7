//! Whose a prefix is: two clusters that served from one prefix would take each other's repositories for their own.
//!
//! One object, created once. It is not a lock: all servers of its owner use the prefix together.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::keys;
use crate::object::{Create, ObjectStore, StoreError};

/// Doubtful answers to the create.
const MAX_DOUBTS: u32 = 6;

/// Why a prefix may not be used.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// It is somebody else's.
    #[error(
        "the prefix belongs to cluster {0}; choose another prefix, or hand it over: stop the git servers of that cluster and \
         delete the object '{key}' of the prefix",
        key = keys::owner()
    )]
    Foreign(String),
    /// The object holds something else.
    #[error("the object '{key}' of the prefix says something else than whose it is: {0}", key = keys::owner())]
    Damaged(String),
    /// It cannot be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Owner {
    cluster: String,
}

/// Makes a prefix that is nobody's the prefix of `cluster`, and finds out whose it is otherwise.
///
/// # Errors
/// When it is another one's, or the store does not say.
pub async fn claim(store: &dyn ObjectStore, cluster: &str) -> Result<(), ClaimError> {
    let body = serde_json::to_vec(&Owner { cluster: cluster.to_owned() }).unwrap_or_default();
    let mut doubts = 0;
    loop {
        if let Some(found) = store.get(keys::owner()).await? {
            let owner: Owner =
                serde_json::from_slice(&found).map_err(|error| ClaimError::Damaged(error.to_string()))?;
            return if owner.cluster == cluster { Ok(()) } else { Err(ClaimError::Foreign(owner.cluster)) };
        }
        match store.create(keys::owner(), Bytes::from(body.clone())).await {
            Ok(Create::Created) => return Ok(()),
            // Whose it is now is read.
            Ok(Create::Exists) => {}
            Err(StoreError::Unknown { .. }) if doubts < MAX_DOUBTS => {
                doubts += 1;
                tokio::time::sleep(Duration::from_millis(50 << doubts)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
