//! What happened to a repository, as those are told who asked to be.

use jiff::Timestamp;

use crate::{ObjectId, RefName, RepositoryId};

/// What happened to a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceChange {
    /// It did not exist before.
    Created,
    /// It points elsewhere now.
    Updated,
    /// It is gone.
    Deleted,
}

impl ReferenceChange {
    /// The change from one value to another; nothing when there is none.
    #[must_use]
    pub fn between(old: Option<ObjectId>, new: Option<ObjectId>) -> Option<Self> {
        match (old, new) {
            (None, Some(_)) => Some(Self::Created),
            (Some(_), None) => Some(Self::Deleted),
            (Some(old), Some(new)) if old != new => Some(Self::Updated),
            _ => None,
        }
    }

    /// CodeCommit's word for it in `detail.event`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "referenceCreated",
            Self::Updated => "referenceUpdated",
            Self::Deleted => "referenceDeleted",
        }
    }
}

/// A change of one reference, committed in one log entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceEvent {
    /// Stable id: `<repository-id>/<generation>/<push>/<edit>`; a receiver drops what it has seen.
    pub id: String,
    /// When it was committed.
    pub time: Timestamp,
    /// The repository's id; its name may change, this does not.
    pub repository_id: RepositoryId,
    /// Who did it, as the audit log names them.
    pub actor: String,
    /// The reference.
    pub reference: RefName,
    /// What happened.
    pub change: ReferenceChange,
    /// The value before.
    pub old: Option<ObjectId>,
    /// The value after.
    pub new: Option<ObjectId>,
    /// The log entry.
    pub generation: u64,
}

/// Event types of a notification rule, spelled as CodeCommit's notification rules spell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// `codecommit-repository-branches-and-tags-created`
    BranchesAndTagsCreated,
    /// `codecommit-repository-branches-and-tags-updated`
    BranchesAndTagsUpdated,
    /// `codecommit-repository-branches-and-tags-deleted`
    BranchesAndTagsDeleted,
}

impl EventType {
    /// The type of an event about a branch or tag; other references have none.
    #[must_use]
    pub fn of(event: &ReferenceEvent) -> Option<Self> {
        if !event.reference.is_branch() && !event.reference.is_tag() {
            return None;
        }
        Some(match event.change {
            ReferenceChange::Created => Self::BranchesAndTagsCreated,
            ReferenceChange::Updated => Self::BranchesAndTagsUpdated,
            ReferenceChange::Deleted => Self::BranchesAndTagsDeleted,
        })
    }
}
