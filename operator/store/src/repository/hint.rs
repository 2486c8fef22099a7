//! The hint: where a server that knows nothing of a repository begins to read it. Replaced by every writer, about once a second.
//!
//! Nobody believes it: it is checksummed, names its repository, and the log behind it is read all the same. An old one, a damaged
//! one or none costs time.

use bytes::Bytes;
use model::RepositoryId;

use crate::checkpoint::{WireBase, seal, unseal};
use crate::refs::BaseName;

const MAGIC: [u8; 8] = *b"CKHINT\0\x01";

/// A checkpoint in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Checkpoint {
    /// Its number; 0 for none.
    pub(crate) generation: u64,
    /// The base that it needs, so that both can be asked for at once.
    pub(crate) base: Option<BaseName>,
}

/// Where to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hint {
    /// The last entry when it was written.
    pub(crate) generation: u64,
    /// The newest checkpoint then.
    pub(crate) checkpoint: Checkpoint,
    /// The state after that entry, as a checkpoint, when it is small.
    pub(crate) state: Option<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireHint {
    #[prost(string, tag = "1")]
    repository: String,
    #[prost(uint64, tag = "2")]
    generation: u64,
    #[prost(uint64, tag = "3")]
    checkpoint: u64,
    #[prost(message, optional, tag = "4")]
    base: Option<WireBase>,
    #[prost(bytes = "bytes", optional, tag = "5")]
    state: Option<Bytes>,
}

impl Hint {
    /// Its bytes.
    pub(crate) fn encode(&self, id: &RepositoryId) -> Bytes {
        let Self { generation, checkpoint, state } = self;
        let hint = WireHint {
            repository: id.to_string(),
            generation: *generation,
            checkpoint: checkpoint.generation,
            base: checkpoint.base.as_ref().map(WireBase::from),
            state: state.clone(),
        };
        seal(MAGIC, &hint)
    }

    /// Reads a hint; `None` when it is not one of this repository, or is damaged.
    pub(crate) fn decode(bytes: &[u8], id: &RepositoryId) -> Option<Self> {
        let WireHint { repository, generation, checkpoint, base, state } = unseal(MAGIC, bytes).ok()?;
        if repository != id.as_str() {
            return None;
        }
        let base = base.map(BaseName::try_from).transpose().ok()?;
        Some(Self { generation, checkpoint: Checkpoint { generation: checkpoint, base }, state })
    }
}
