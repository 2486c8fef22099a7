//! Errors of the log and what lies above it.

use std::io;

use model::error::Kind;
use model::{ObjectId, RefName};

use crate::entry::EntryError;
use crate::object::StoreError;
use crate::repository::Push;
use crate::state::FoldError;

/// Why a repository could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An object is damaged. It is reported and never served.
    #[error("{key} is damaged: {reason}")]
    Damaged {
        /// The object.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// An object that the log names is missing.
    #[error("{key} is missing, although the log names it")]
    Missing {
        /// The object.
        key: String,
    },
    /// Written by a newer version.
    #[error("{key}: {source}")]
    TooNew {
        /// The object.
        key: String,
        /// What this version does not know.
        source: EntryError,
    },
    /// The local cache failed.
    #[error("failed to use the local cache: {0}")]
    Cache(#[from] io::Error),
    /// A tool that works on packs failed.
    #[error("failed to work on packs: {0}")]
    Packs(String),
    /// An entry of maintenance could not be written; the next round tries again.
    #[error("failed to write an entry of maintenance: {0}")]
    Maintenance(String),
    /// A task of ours was stopped.
    #[error("the server is stopping")]
    Stopping,
}

impl Error {
    /// What the caller should do.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Damaged { .. } | Self::Missing { .. } | Self::Packs(_) | Self::TooNew { .. } => Kind::Internal,
            Self::Cache(_) | Self::Maintenance(_) | Self::Stopping => Kind::Unavailable,
        }
    }

    /// Whether the key that the repository is encrypted with cannot be had.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Store(StoreError::Locked { .. }))
    }

    /// Whether something in the bucket is not what it must be.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. } | Self::Missing { .. } | Self::TooNew { .. } | Self::Store(StoreError::Damaged { .. })
        )
    }

    pub(crate) fn entry(key: String, source: EntryError) -> Self {
        match source {
            EntryError::Feature(_) => Self::TooNew { key, source },
            other => Self::Damaged { key, reason: other.to_string() },
        }
    }

    pub(crate) fn fold(key: String, source: &FoldError) -> Self {
        Self::Damaged { key, reason: source.to_string() }
    }
}

/// Why a push was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// References have other values than the push expects; nothing of it was committed.
    #[error("references moved")]
    Moved(Vec<(RefName, Option<ObjectId>)>),
    /// Unreachable objects have gone since the push was checked, and it may rely on them: check it again and commit it again.
    /// Nothing was committed.
    #[error("objects that nothing led to have been removed meanwhile; nothing was changed, try again")]
    Pruned(Box<Push>),
    /// The log cannot take it. Nothing was committed.
    #[error("nothing was changed: {0}")]
    Impossible(#[source] FoldError),
    /// Other writers were faster too often. Nothing was committed.
    #[error("too many others push at the same time; nothing was changed, try again")]
    Contended,
    /// The store's answer is not known: the push may have been committed.
    #[error("the object store did not say whether the push was stored; compare with git ls-remote before trying again")]
    Unknown(#[source] StoreError),
    /// Nothing was committed.
    #[error("nothing was changed: {0}")]
    Failed(#[source] Error),
}

impl CommitError {
    /// What the caller should do.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Moved(_) => Kind::Conflict,
            Self::Impossible(_) => Kind::Invalid,
            Self::Pruned(_) | Self::Contended | Self::Unknown(_) => Kind::Unavailable,
            Self::Failed(error) => error.kind(),
        }
    }
}
