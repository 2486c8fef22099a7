//! Why a pack is not taken.

use std::io;

use gix::ObjectId;
use model::error::Kind;

use crate::{existing::ReadError, object_check::Problem};

/// Why a pack is not taken. The message is one line that the client may see.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The connection failed.
    #[error("failed to read the pack from the client")]
    Read(#[source] io::Error),
    /// The quarantine cannot be written or read back.
    #[error("failed to write the pack to quarantine")]
    Write(#[source] io::Error),
    /// The stream ended before the pack did.
    #[error("the pack ends early: {0}")]
    Truncated(&'static str),
    /// Bytes that are not a pack.
    #[error("the pack is malformed at byte {offset}: {what}")]
    Malformed {
        /// Where the entry (or header) begins.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A limit of the repository.
    #[error("the pack breaks a limit of this repository: {what} is more than {limit}")]
    Limit {
        /// Of what there is too much.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// git itself would refuse the object (`receive.fsckObjects`).
    #[error("object {id}: {problem}")]
    Object {
        /// Which object.
        id: ObjectId,
        /// The broken rule.
        problem: Problem,
    },
    /// SHA-1 collision detection found the marks of an attack.
    #[error("an object shows the marks of a SHA-1 collision attack")]
    Collision,
    /// The same object comes twice in the pack.
    #[error("object {0} appears twice in the pack")]
    Duplicate(ObjectId),
    /// Bases of deltas are neither in the pack nor in the repository.
    #[error("the pack has {count} unresolved deltas, the first against {base}")]
    Unresolved {
        /// How many deltas.
        count: usize,
        /// The base of one of them.
        base: ObjectId,
    },
    /// An object is linked to as something that it is not.
    #[error("object {id} is a {is}, but another object refers to it as a {expected}")]
    WrongKind {
        /// Which object.
        id: ObjectId,
        /// What it is.
        is: gix::objs::Kind,
        /// What a link says it is.
        expected: gix::objs::Kind,
    },
    /// An object of the repository cannot be read.
    #[error("failed to read the base of a delta from the repository")]
    Existing(#[from] ReadError),
    /// The request was abandoned.
    #[error("interrupted")]
    Interrupted,
}

impl IngestError {
    /// What the caller should do.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Write(_) | Self::Existing(_) => Kind::Internal,
            Self::Read(_) | Self::Interrupted => Kind::Unavailable,
            Self::Truncated(_)
            | Self::Malformed { .. }
            | Self::Limit { .. }
            | Self::Object { .. }
            | Self::Collision
            | Self::Duplicate(_)
            | Self::Unresolved { .. }
            | Self::WrongKind { .. } => Kind::Invalid,
        }
    }
}
