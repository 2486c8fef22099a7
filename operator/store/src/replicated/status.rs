//! What is known of the replicas of a repository.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// Where a repository is kept, and how far behind its replicas are, as this server knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationStatus {
    /// Name of the primary store.
    pub primary: String,
    /// How often another store has become the primary one.
    pub epoch: u64,
    /// All stores but the primary one.
    pub members: Vec<MemberStatus>,
}

/// A replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Name of the store.
    pub store: String,
    /// The last entry that it is known to have.
    pub generation: u64,
    /// Entries of the primary store that it is not known to have.
    pub behind_entries: u64,
    /// How long it has not had everything; zero when it has.
    pub behind: Duration,
    /// What is wrong with it.
    pub problem: Option<ReplicationProblem>,
}

/// What is wrong with a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplicationProblem {
    /// It does not answer, or refuses.
    Unavailable(String),
    /// It holds something else.
    Diverged(String),
    /// This server has no store of this name.
    Unknown(String),
}

impl fmt::Display for ReplicationProblem {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(reason) | Self::Diverged(reason) => to.write_str(reason),
            Self::Unknown(name) => write!(to, "the git servers have no store '{name}'"),
        }
    }
}

/// A replica, as far as this process knows.
#[derive(Debug, Clone, Default)]
pub(super) struct Replica {
    pub(super) step: Step,
    /// The last entry that it has.
    pub(super) generation: u64,
    /// Counts what went wrong: who began before cannot say that all is well.
    pub(super) troubles: u64,
    pub(super) behind_since: Option<Instant>,
    pub(super) problem: Option<ReplicationProblem>,
}

/// Whether a replica has everything that the primary store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Step {
    #[default]
    Unknown,
    /// Up to this entry, with all that it names.
    In(u64),
    /// Something was missed.
    Out,
}

impl Replica {
    /// Whether it is known to have an entry.
    pub(super) fn has(&self, number: u64) -> bool {
        self.generation >= number
    }

    /// Something was not written to it.
    pub(super) fn miss(&mut self, problem: Option<ReplicationProblem>) {
        self.step = Step::Out;
        self.troubles += 1;
        self.behind_since.get_or_insert_with(Instant::now);
        if problem.is_some() {
            self.problem = problem;
        }
    }

    /// It has all that the primary store had up to an entry.
    pub(super) fn catch_up(&mut self, generation: u64, seen: u64) {
        let known = if let Step::In(known) = self.step { known } else { 0 };
        self.step = Step::In(generation.max(known));
        self.generation = self.generation.max(generation);
        self.problem = None;
        if self.generation >= seen {
            self.behind_since = None;
        }
    }
}
