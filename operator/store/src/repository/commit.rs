//! Commits: many pushes, one entry; every doubtful answer is settled by reading.
//!
//! Pushes wait in a queue while the entry before them is under way, and go together into the next one. The work runs in a task
//! of its own, so that a client that goes away does not leave a commit half known.

mod plan;
mod write;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Committed, Push, PushedPack, Repository, StagedPack};
use crate::error::{CommitError, Error};
use plan::{Outcome, Plan};
pub(super) use write::{Draft, GroupError};

/// An entry takes on more pushes up to this payload.
const ENTRY_BYTES: usize = 4 << 20;
/// An entry takes on more pushes up to this number of edits.
const ENTRY_EDITS: usize = 50_000;
/// Numbers that others may take before we give up.
const MAX_LOST_RACES: u32 = 256;
/// A group waits for others for at most this part of the time that an entry takes, ...
const GATHER_PART: f64 = 0.5;
/// ... for this part while nobody came ...
const GATHER_PART_IN_VAIN: f64 = 1.0 / 32.0;
/// ... and no longer than this.
const GATHER_LIMIT: Duration = Duration::from_millis(100);

/// A push in the queue.
pub(super) struct Pending {
    push: Push,
    pack: Option<StagedPack>,
    answer: oneshot::Sender<Result<Committed, CommitError>>,
}

/// How groups went lately.
pub(super) struct Pace {
    /// Pushes that may come together: those of the last group, and those who came while it was written.
    expected: usize,
    /// How long the last entry took.
    took: Duration,
    /// The part of this time that it is worth to wait for them.
    patience: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { expected: 0, took: Duration::ZERO, patience: GATHER_PART_IN_VAIN }
    }
}

impl Repository {
    /// Commits a push; when this returns `Ok`, it is durable and visible to every server.
    ///
    /// # Errors
    /// Says whether nothing was changed or whether that is not known.
    pub async fn commit(self: &Arc<Self>, mut push: Push) -> Result<Committed, CommitError> {
        let pack = match push.pack.take() {
            Some(PushedPack::Received(pack)) => Some(self.stage(pack).await.map_err(CommitError::Failed)?),
            Some(PushedPack::Staged(pack)) => Some(pack),
            None => None,
        };
        let (answer, answered) = oneshot::channel();
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push(Pending { push, pack, answer });
        self.arrived.notify_one();
        let repository = Arc::clone(self);
        tokio::spawn(async move { repository.drain().await });
        answered.await.unwrap_or(Err(CommitError::Failed(Error::Stopping)))
    }

    /// Commits what waits in the queue.
    async fn drain(self: Arc<Self>) {
        let mut pace = self.writing.lock().await;
        self.gather(&mut pace).await;
        let mut group = self.take_group();
        if group.is_empty() {
            return;
        }
        let begun = Instant::now();
        let outcome = self.write_group(&mut group).await;
        (pace.expected, pace.took) = (group.len() + self.waiting(), begun.elapsed());
        drop(pace);
        match outcome {
            Ok((generation, outcomes)) => {
                self.shared.metrics.commits.pushes.observe(f64::from(u32::try_from(group.len()).unwrap_or(u32::MAX)));
                group.into_iter().zip(outcomes).for_each(|(pending, outcome)| pending.conclude(outcome, generation));
            }
            Err(error) => {
                let answers = error.for_each_of(group.len());
                group.into_iter().zip(answers).for_each(|(pending, answer)| drop(pending.answer.send(answer)));
            }
        }
        self.keep_house();
        self.keep_checkpoints();
    }

    /// Waits a little for those who were just answered to come again, and join those who wait already. Without this, clients that
    /// push one thing after the other settle into groups that wait for each other by turns, each for twice the time of an entry.
    /// Where they do not come again, next to no time is spent on it.
    async fn gather(&self, pace: &mut Pace) {
        if !(1..pace.expected).contains(&self.waiting()) {
            return;
        }
        let deadline = Instant::now() + pace.took.mul_f64(pace.patience).min(GATHER_LIMIT);
        while self.waiting() < pace.expected {
            if tokio::time::timeout_at(deadline, self.arrived.notified()).await.is_err() {
                pace.patience = (pace.patience / 2.0).max(GATHER_PART_IN_VAIN);
                return;
            }
        }
        pace.patience = (pace.patience * 2.0).min(GATHER_PART);
    }

    fn waiting(&self) -> usize {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn take_group(&self) -> Vec<Pending> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut bytes, mut edits, mut count) = (0, 0, 0);
        for pending in queue.iter() {
            bytes += pending.pack.iter().filter_map(|pack| pack.inline.as_ref()).map(Bytes::len).sum::<usize>();
            bytes += pending.push.certificate.as_ref().map_or(0, |certificate| certificate.len());
            edits += pending.push.edits.len();
            if count > 0 && (bytes > ENTRY_BYTES || edits > ENTRY_EDITS) {
                break;
            }
            count += 1;
        }
        queue.drain(..count).collect()
    }

    /// Writes one entry for the group; the generation is that of the entry, or what is known when no push could go on.
    async fn write_group(&self, group: &mut [Pending]) -> Result<(u64, Vec<Outcome>), GroupError> {
        self.prove().await.map_err(GroupError::failed)?;
        let mut fresh = sabotaged!(RefuseFromMemory);
        let mut lost = 0;
        let first = self.known();
        loop {
            let base = self.known();
            for pack in group.iter_mut().filter_map(|pending| pending.pack.as_mut()) {
                self.renew(pack, &base).await.map_err(GroupError::failed)?;
            }
            let Plan { pushes, payload, outcomes } =
                match Plan::new(if sabotaged!(SkipRecheck) { &first } else { &base }, group) {
                    plan if plan.is_doubtful() && !fresh => {
                        // What we know may be old: only the log can tell a client that its reference moved.
                        self.catch_up().await.map_err(GroupError::failed)?;
                        fresh = true;
                        continue;
                    }
                    plan => plan,
                };
            if pushes.is_empty() {
                return Ok((base.generation, outcomes));
            }
            if self.write_entry(&base, Draft { pushes, payload, ..Draft::default() }).await? {
                return Ok((base.generation + 1, outcomes));
            }
            // Only one of the entries behind what we knew has been read: it may be old news, too.
            fresh = sabotaged!(RefuseFromMemory);
            lost += 1;
            if lost > MAX_LOST_RACES {
                return Err(GroupError::Contended);
            }
        }
    }
}

impl Pending {
    /// Tells the outcome. The client may have gone; the commit stands all the same.
    fn conclude(self, outcome: Outcome, generation: u64) {
        let Self { push, pack, answer } = self;
        drop(answer.send(match outcome {
            Outcome::Accepted(results) => Ok(Committed { generation, results }),
            Outcome::Moved(moved) => Err(CommitError::Moved(moved)),
            Outcome::Impossible(error) => Err(CommitError::Impossible(error)),
            Outcome::Pruned => Err(CommitError::Pruned(Box::new(Push { pack: pack.map(PushedPack::Staged), ..push }))),
        }));
    }
}
