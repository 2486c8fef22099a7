//! One stream of deliveries: a target of a rule, for one repository.
//!
//! A server owns a stream while it writes its cursor, and gives it up when nothing is left to deliver, so that the next event goes
//! out at once from the server that took the push. A server that sees undelivered events and a cursor that nobody has moved for the
//! time of the lease takes over; whoever finds the next number taken has lost the stream and stops.

use std::sync::Arc;
use std::time::Duration;

use model::RepositoryPath;
use model::clock::Clock;
use model::notification::{Rule, Target};
use store::{Cursor, CursorRecord, Error, Events, Repository};

use crate::metrics::NotifyMetrics;
use crate::sender::Sender;

/// How long others leave an owner alone after it last wrote.
const LEASE: Duration = Duration::from_secs(20);
/// Entries handled before others get their turn.
const BATCH: u64 = 64;
/// How often the log is asked for entries of other servers; a quiet one twice as rarely each time.
const POLL: Duration = Duration::from_secs(3);
const QUIET_POLL: Duration = Duration::from_mins(1);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_mins(5);
/// Cursor records are cleared away after this many.
const TRIM_EVERY: u64 = 16;

/// What names a stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamKey {
    pub(crate) path: RepositoryPath,
    pub(crate) rule: String,
    pub(crate) target: String,
}

impl StreamKey {
    /// Its name below the repository's cursors.
    pub(crate) fn cursor(&self) -> String {
        format!("{}.{}.{}", self.path.namespace, self.rule, self.target)
    }
}

/// What this server remembers of a stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct StreamState {
    /// Number of the newest cursor record that is known, and what it says.
    record: Option<(u64, CursorRecord)>,
    /// When that record was first seen.
    seen_at: Duration,
    owned: bool,
    /// Events of the entry after the cursor that went out already.
    sent: usize,
    polled_at: Option<Duration>,
    /// Polls in a row that brought nothing.
    quiet: u32,
    pub(crate) retry_at: Duration,
    pub(crate) failures: u32,
    pub(crate) last_error: Option<String>,
    pub(crate) last_success: Option<jiff::Timestamp>,
}

impl StreamState {
    /// Generation up to which everything is delivered.
    pub(crate) fn delivered(&self) -> Option<u64> {
        self.record.as_ref().map(|(_, record)| record.delivered)
    }
}

/// A stream and what it works with.
pub(crate) struct Stream {
    pub(crate) key: StreamKey,
    pub(crate) rule: Arc<Rule>,
    pub(crate) target: Target,
    pub(crate) repository: Arc<Repository>,
    pub(crate) cursor: Cursor,
    pub(crate) sender: Sender,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: NotifyMetrics,
    /// Random name of this process.
    pub(crate) owner: String,
    pub(crate) state: StreamState,
}

impl Stream {
    /// Delivers what there is, up to a batch, and returns the new state.
    pub(crate) async fn step(mut self) -> (StreamKey, StreamState) {
        if let Err(error) = self.advance().await {
            self.fail(format!("the store failed: {error}"));
        }
        (self.key, self.state)
    }

    /// Where a new stream begins: after what the log holds when the rule is first seen.
    pub(crate) async fn begin(&mut self, start: u64) -> Result<(), Error> {
        if self.state.record.is_none() && self.cursor.newest().await?.is_none() {
            let record = self.record_of(start, Duration::ZERO);
            if self.cursor.write(1, &record).await? {
                self.keep(1, record);
            }
        }
        Ok(())
    }

    async fn advance(&mut self) -> Result<(), Error> {
        let now = self.clock.monotonic();
        let pause = POLL.saturating_mul(1 << self.state.quiet.min(16)).min(QUIET_POLL);
        if self.state.polled_at.is_none_or(|polled| now.saturating_sub(polled) >= pause) {
            self.state.polled_at = Some(now);
            self.state.quiet = self.state.quiet.saturating_add(1);
            self.repository.snapshot().await?;
        }
        let known = self.repository.known().generation;
        if let Some(delivered) = self.state.delivered().filter(|delivered| *delivered >= known) {
            return self.give_up_when_idle(delivered).await;
        }
        self.state.quiet = 0;
        if !self.hold(known).await? {
            // Somebody else's, for now: looking means listing, so not at every turn.
            self.state.retry_at = now + POLL;
            return Ok(());
        }
        let Some(delivered) = self.state.delivered() else { return Ok(()) };
        let end = known.min(delivered + BATCH);
        let mut reached = delivered;
        for generation in delivered + 1..=end {
            match self.deliver(generation).await? {
                Delivered::Nothing => reached = generation,
                Delivered::All => {
                    reached = generation;
                    if !self.write(reached, LEASE).await? {
                        return Ok(());
                    }
                }
                Delivered::Failed => break,
            }
        }
        if self.state.delivered().is_some_and(|written| written < reached) {
            self.write(reached, LEASE).await?;
        }
        Ok(())
    }

    /// Makes sure that this server owns the stream, for at least half a lease.
    async fn hold(&mut self, known: u64) -> Result<bool, Error> {
        let now = self.clock.monotonic();
        if self.state.owned {
            if now.saturating_sub(self.state.seen_at) < LEASE / 2 {
                return Ok(true);
            }
            let delivered = self.state.delivered().unwrap_or(0);
            return self.write(delivered, LEASE).await;
        }
        let Some((number, record)) = self.cursor.newest().await? else {
            self.begin(known).await?;
            return Ok(false);
        };
        let lease = Duration::from_secs(record.lease_seconds);
        let delivered = record.delivered;
        if self.state.record.as_ref().is_none_or(|(seen, _)| *seen != number) {
            self.keep(number, record);
        }
        if delivered >= known || now.saturating_sub(self.state.seen_at) < lease {
            return Ok(false);
        }
        self.state.owned = true;
        self.state.sent = 0;
        let taken = self.write(delivered, LEASE).await?;
        if taken && !lease.is_zero() {
            tracing::info!(rule.name = self.key.rule, target.name = self.key.target, repo.name = %self.key.path, "took over deliveries");
        }
        Ok(taken)
    }

    /// Everything is delivered: after a while the stream is anybody's.
    async fn give_up_when_idle(&mut self, delivered: u64) -> Result<(), Error> {
        let idle = self.clock.monotonic().saturating_sub(self.state.seen_at) >= LEASE / 2;
        if self.state.owned && idle && self.write(delivered, Duration::ZERO).await? {
            self.state.owned = false;
        }
        Ok(())
    }

    fn record_of(&self, delivered: u64, lease: Duration) -> CursorRecord {
        CursorRecord { owner: self.owner.clone(), delivered, lease_seconds: lease.as_secs() }
    }

    fn keep(&mut self, number: u64, record: CursorRecord) {
        self.state.record = Some((number, record));
        self.state.seen_at = self.clock.monotonic();
    }

    /// Writes the next cursor record; false when the stream was lost to another server.
    async fn write(&mut self, delivered: u64, lease: Duration) -> Result<bool, Error> {
        let number = self.state.record.as_ref().map_or(1, |(number, _)| number + 1);
        let record = self.record_of(delivered, lease);
        if !self.cursor.write(number, &record).await? {
            self.state.owned = false;
            self.state.record = None;
            self.state.sent = 0;
            return Ok(false);
        }
        if self.state.delivered() != Some(delivered) {
            self.state.sent = 0;
        }
        self.keep(number, record);
        if number.is_multiple_of(TRIM_EVERY) {
            self.cursor.trim(number).await?;
        }
        Ok(true)
    }

    async fn deliver(&mut self, generation: u64) -> Result<Delivered, Error> {
        let events = match self.repository.events_of(generation).await? {
            Events::Of(events) => events,
            Events::NotYet => return Ok(Delivered::Failed),
            Events::Gone => {
                self.metrics.deliveries.with_label_values(&["expired"]).inc();
                tracing::warn!(
                    rule.name = self.key.rule,
                    target.name = self.key.target,
                    repo.name = %self.key.path,
                    repo.generation = generation,
                    "events were not delivered in the time that the log keeps them"
                );
                return Ok(Delivered::Nothing);
            }
        };
        let wanted: Vec<_> = events.iter().filter(|event| self.rule.wants(event)).collect();
        if wanted.is_empty() {
            return Ok(Delivered::Nothing);
        }
        for event in wanted.into_iter().skip(self.state.sent) {
            match self.sender.send(&self.target, event, &self.key.path).await {
                Ok(()) => {
                    self.metrics.deliveries.with_label_values(&["ok"]).inc();
                    self.state.sent += 1;
                    self.state.failures = 0;
                    self.state.last_error = None;
                    self.state.last_success = Some(self.clock.now());
                }
                Err(reason) => {
                    self.metrics.deliveries.with_label_values(&["error"]).inc();
                    self.fail(reason);
                    return Ok(Delivered::Failed);
                }
            }
        }
        Ok(Delivered::All)
    }

    /// Waits longer after each failure.
    fn fail(&mut self, reason: String) {
        let wait = FIRST_RETRY.saturating_mul(1 << self.state.failures.min(16)).min(LAST_RETRY);
        self.state.failures = self.state.failures.saturating_add(1);
        self.state.retry_at = self.clock.monotonic() + wait;
        tracing::warn!(
            rule.name = self.key.rule,
            target.name = self.key.target,
            repo.name = %self.key.path,
            failures = self.state.failures,
            retry_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            reason,
            "delivery failed"
        );
        self.state.last_error = Some(reason);
    }
}

/// What became of one entry.
enum Delivered {
    /// It had nothing for this stream.
    Nothing,
    /// Everything went out.
    All,
    /// Something did not.
    Failed,
}
