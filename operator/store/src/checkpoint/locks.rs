//! What a checkpoint says about Git LFS locks.

use jiff::Timestamp;
use model::lfs::LockId;

use crate::entry::{EntryError, lock_path, wire};
use crate::state::{Lock, Locks};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Held {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(string, tag = "2")]
    path: String,
    #[prost(string, tag = "3")]
    owner: String,
    #[prost(sint64, tag = "4")]
    at_us: i64,
}

impl From<&Lock> for Held {
    fn from(lock: &Lock) -> Self {
        let Lock { id, path, owner, at } = lock;
        Self { id: id.0.to_vec(), path: path.to_string(), owner: owner.clone(), at_us: at.as_microsecond() }
    }
}

impl TryFrom<Held> for Lock {
    type Error = EntryError;

    fn try_from(held: Held) -> Result<Self, EntryError> {
        let at = Timestamp::from_microsecond(held.at_us).map_err(|error| EntryError::Header(error.to_string()))?;
        let id = LockId(wire::array(held.id, "id of a lock")?);
        Ok(Self { id, path: lock_path(&held.path)?, owner: held.owner, at })
    }
}

pub(super) fn collect(held: Vec<Held>) -> Result<Locks, EntryError> {
    let locks = held.into_iter().map(Lock::try_from).collect::<Result<Vec<_>, _>>()?;
    Locks::collect(locks).ok_or_else(|| EntryError::Header("a path is locked twice".to_owned()))
}
