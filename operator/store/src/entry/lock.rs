//! Changes of Git LFS locks in an entry (ADR 0013).

use model::lfs::{LockId, LockPath};

use super::EntryError;
use super::wire::array;

/// A change of a Git LFS lock, as the log remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockRecord {
    /// Who changed it, as access decisions name them.
    pub actor: String,
    /// The request that did.
    pub request_id: String,
    /// The lock.
    pub id: LockId,
    /// What became of it.
    pub change: LockChange,
}

/// What became of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockChange {
    /// It was taken.
    Taken {
        /// The path that is locked from now on.
        path: LockPath,
        /// Whose it is: only this exact text is the same owner.
        owner: String,
    },
    /// It was given back, or taken away.
    Released,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireLock {
    #[prost(string, tag = "1")]
    actor: String,
    #[prost(string, tag = "2")]
    request_id: String,
    #[prost(bytes = "vec", tag = "3")]
    id: Vec<u8>,
    /// Absent: the lock was released.
    #[prost(message, optional, tag = "4")]
    taken: Option<Taken>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Taken {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(string, tag = "2")]
    owner: String,
}

impl From<&LockRecord> for WireLock {
    fn from(record: &LockRecord) -> Self {
        let LockRecord { actor, request_id, id, change } = record;
        let taken = match change {
            LockChange::Taken { path, owner } => Some(Taken { path: path.to_string(), owner: owner.clone() }),
            LockChange::Released => None,
        };
        Self { actor: actor.clone(), request_id: request_id.clone(), id: id.0.to_vec(), taken }
    }
}

impl TryFrom<WireLock> for LockRecord {
    type Error = EntryError;

    fn try_from(wire: WireLock) -> Result<Self, EntryError> {
        let change = match wire.taken {
            Some(Taken { path, owner }) => LockChange::Taken { path: lock_path(&path)?, owner },
            None => LockChange::Released,
        };
        let id = LockId(array(wire.id, "id of a lock")?);
        Ok(Self { actor: wire.actor, request_id: wire.request_id, id, change })
    }
}

pub(crate) fn lock_path(text: &str) -> Result<LockPath, EntryError> {
    text.parse().map_err(|error: model::lfs::LockPathError| EntryError::Header(error.to_string()))
}
