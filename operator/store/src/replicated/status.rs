//! What is known of the replicas of a repository.

use std::collections::VecDeque;
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
    pub(super) fn catch_up(&mut self, generation: u64, sightings: &Sightings) {
        let known = if let Step::In(known) = self.step { known } else { 0 };
        self.step = Step::In(generation.max(known));
        self.generation = self.generation.max(generation);
        self.problem = None;
        self.behind_since = sightings.after(self.generation);
    }

    /// An entry was copied to it, and others are to come.
    pub(super) fn advance(&mut self, generation: u64, sightings: &Sightings) {
        self.generation = self.generation.max(generation);
        if let (Step::In(_), Some(since)) = (self.step, sightings.after(self.generation)) {
            self.behind_since = Some(since);
        }
    }
}

/// How many sightings are remembered.
const MAX_SIGHTINGS: usize = 1_024;

/// When entries of the primary store were first seen.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    /// An entry, and when it was seen, or one before it; both only grow.
    seen: VecDeque<(u64, Instant)>,
    last: u64,
}

impl Sightings {
    /// The last entry that is known.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// An entry is there.
    pub(super) fn note(&mut self, number: u64) {
        if number <= self.last {
            return;
        }
        self.last = number;
        self.seen.push_back((number, Instant::now()));
        if self.seen.len() > MAX_SIGHTINGS {
            // Every other one goes: the one behind it is taken to be as old.
            let all: Vec<_> = self.seen.drain(..).collect();
            let pairs = all.chunks(2).filter_map(|pair| Some((pair.last()?.0, pair.first()?.1)));
            self.seen = pairs.collect();
        }
    }

    /// Forgets everything but that this entry is there.
    pub(super) fn begin_at(&mut self, number: u64) {
        *self = Self { seen: VecDeque::new(), last: number };
    }

    /// Since when there are entries after this one, as far as is known.
    pub(super) fn after(&self, generation: u64) -> Option<Instant> {
        let at = self.seen.partition_point(|(number, _)| *number <= generation);
        self.seen.get(at).map(|(_, since)| *since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_as_old_as_the_first_entry_that_is_lacking_however_many_there_are() {
        let mut sightings = Sightings::default();
        let begin = Instant::now();
        for number in 1..=10_000 {
            sightings.note(number);
        }
        assert!(sightings.seen.len() <= MAX_SIGHTINGS && sightings.last() == 10_000);
        assert!(sightings.after(10_000).is_none());
        let since: Vec<_> = (0..10_000).map(|number| sightings.after(number).unwrap()).collect();
        assert!(since.is_sorted() && since[0] >= begin);
        sightings.begin_at(10_007);
        sightings.note(10_000);
        assert_eq!((sightings.last(), sightings.after(3)), (10_007, None));
    }
}
