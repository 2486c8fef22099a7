//! What stores keep copies of, and what the bytes of a copy have to be.

use std::sync::Arc;

use bytes::Bytes;
use model::RepositoryId;
use model::lfs::Oid;

use crate::blocking::blocking;
use crate::checkpoint;
use crate::digest::sha256_file;
use crate::entry::{Numbered, PackRecord, Place};
use crate::error::Error;
use crate::keys;
use crate::lfs::{LfsObject, LfsObjects};
use crate::refs::Table;
use crate::repository::{Shared, read};
use crate::state::StoredPack;

/// What a small object counts for.
pub(super) const SMALL: u64 = 4_096;

/// One object, as far as it is known without any store.
#[derive(Debug, Clone)]
pub(in crate::repository) enum Kept {
    /// A pack, an index or a table.
    Blob {
        key: String,
        digest: [u8; 32],
        bytes: u64,
        /// The entry from which on it has to be there.
        since: u64,
        what: &'static str,
    },
    /// An entry of the log, or the stub of one; with its digest if the one behind it, or memory, names it.
    Entry {
        number: u64,
        digest: Option<[u8; 32]>,
    },
    Checkpoint(u64),
    References(u64),
    LfsContent(LfsObject),
    LfsSums(Oid, u32),
}

impl Kept {
    /// The objects of a pack; none of one that lies inside an entry.
    pub(in crate::repository) fn of_pack(id: &RepositoryId, pack: &StoredPack, generation: u64) -> Vec<Self> {
        let mut kept = vec![];
        let PackRecord { id: digest, index_id, bytes, index_bytes, .. } = pack.record;
        if let Place::Uploaded(upload) = pack.record.place {
            let blob = |key, digest, bytes, what| Self::Blob { key, digest, bytes, since: pack.generation, what };
            kept.push(blob(keys::pack(id, &upload), digest.0, bytes, "pack"));
            kept.push(blob(keys::pack_index(id, &upload), index_id, index_bytes, "index"));
        }
        if let Some(table) = pack.reach {
            // Which entry named it is not known.
            let (key, since) = (keys::reach(id, &table.upload), generation);
            kept.push(Self::Blob { key, digest: table.id, bytes: table.bytes, since, what: "reachability table" });
        }
        kept
    }

    /// Its name above all stores.
    pub(super) fn key(&self, id: &RepositoryId) -> String {
        match self {
            Self::Blob { key, .. } => key.clone(),
            Self::Entry { number, .. } => keys::log_entry(id, *number),
            Self::Checkpoint(number) => keys::checkpoint(id, *number),
            Self::References(number) => keys::references(id, *number),
            Self::LfsContent(object) => keys::lfs(id, object.oid(), object.life()),
            Self::LfsSums(oid, life) => keys::lfs_sums(id, oid, *life),
        }
    }

    /// Its bytes before they are encrypted, where these are known.
    pub(super) fn size(&self) -> Option<u64> {
        match self {
            Self::Blob { bytes, .. } => Some(*bytes),
            Self::LfsContent(object) => Some(object.size()),
            _ => None,
        }
    }

    /// Whether a store need not have it: it follows from the log.
    pub(super) fn is_derived(&self) -> bool {
        matches!(self, Self::Checkpoint(_) | Self::References(_))
    }

    /// The entry from which on a replica has to have it.
    pub(super) fn since(&self) -> u64 {
        match self {
            Self::Blob { since, .. } => *since,
            Self::Entry { number, .. } => *number,
            _ => 0,
        }
    }

    /// Reads a copy as every reader would, and compares all of it with what it has to be. Damage is an error that says so. Gives how many
    /// bytes it read.
    pub(super) async fn verify(&self, at: &Arc<Shared>, id: &RepositoryId) -> Result<u64, Error> {
        let key = self.key(id);
        match self {
            Self::Blob { digest, bytes, what, .. } => {
                verify_blob(at, key, (*digest, *bytes), what).await?;
                Ok(*bytes)
            }
            Self::Entry { number, digest } => match read::read_number(&*at.store, id, *number).await? {
                None => Err(Error::Missing { key }),
                Some(found) if digest.is_none_or(|digest| digest == digest_of(&found)) => Ok(SMALL),
                Some(_) => {
                    let reason = "it is another entry than the one that the log goes on from".to_owned();
                    Err(Error::Damaged { key, reason })
                }
            },
            Self::Checkpoint(number) => {
                let body = body(at, &key).await?;
                let damaged = |reason: String| Error::Damaged { key: key.clone(), reason };
                let layer = checkpoint::decode(&body, id).map_err(|error| damaged(error.to_string()))?;
                let is_it = layer.generation() == *number;
                if is_it { Ok(body.len() as u64) } else { Err(damaged("it is another one".to_owned())) }
            }
            Self::References(_) => {
                let body = body(at, &key).await?;
                let bytes = body.len() as u64;
                let opened = blocking(move || Table::open(body).map(drop)).await?;
                opened.map(|()| bytes).map_err(|error| Error::Damaged { key, reason: error.to_string() })
            }
            Self::LfsContent(object) => {
                LfsObjects::of(at, id).check_whole(object.clone()).await?;
                Ok(object.size())
            }
            Self::LfsSums(oid, life) => match LfsObjects::of(at, id).sums(oid, *life).await? {
                Some(_) => Ok(SMALL),
                None => Err(Error::Missing { key }),
            },
        }
    }
}

async fn body(at: &Shared, key: &str) -> Result<Bytes, Error> {
    at.store.get(key).await?.ok_or_else(|| Error::Missing { key: key.to_owned() })
}

async fn verify_blob(at: &Shared, key: String, wanted: ([u8; 32], u64), what: &str) -> Result<(), Error> {
    let folder = at.cache.temporary()?;
    let file = folder.path().join("object");
    if !at.store.download(&key, &file, wanted.1).await? {
        return Err(Error::Missing { key });
    }
    // Keeps the file until it is read.
    let found = blocking(move || sha256_file(&file).inspect(|_| drop(folder))).await??;
    if found == wanted {
        return Ok(());
    }
    Err(Error::Damaged { key, reason: format!("the {what} has other bytes than the log says") })
}

/// What the next entry names.
pub(super) fn digest_of(found: &Numbered) -> [u8; 32] {
    match found {
        Numbered::Entry(read) => read.digest,
        Numbered::Stub(stub) => stub.digest,
    }
}
