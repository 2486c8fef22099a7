//! What all actors of a run share: the time, the trace, the counts, and what was found to be wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use model::clock::{Clock, Random};
use tokio::time::Instant;

use crate::dice::Dice;

/// When all runs begin.
pub(crate) const EPOCH_SECONDS: i64 = 1_800_000_000;
/// Lines of the trace that are kept for a report.
const TAIL: usize = 60;

/// A run.
pub(crate) struct World {
    pub(crate) seed: u64,
    start: Instant,
    print: bool,
    inner: Mutex<Inner>,
}

struct Inner {
    hash: u64,
    tail: Vec<String>,
    counts: BTreeMap<String, u64>,
    violations: Vec<String>,
}

/// What a run left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    /// Says whether two runs were the same.
    pub(crate) trace_hash: u64,
    /// How often each thing happened.
    pub(crate) counts: BTreeMap<String, u64>,
    /// What was wrong; empty when all predicates held.
    pub(crate) violations: Vec<String>,
    /// The last lines of the trace.
    pub(crate) tail: Vec<String>,
}

impl World {
    /// A world whose time starts now; `print` shows the trace while it runs.
    pub(crate) fn new(seed: u64, print: bool) -> Self {
        let inner = Inner { hash: 0xcbf2_9ce4_8422_2325, tail: vec![], counts: BTreeMap::new(), violations: vec![] };
        Self { seed, start: Instant::now(), print, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Simulated time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Dice of a lane.
    pub(crate) fn dice(&self, lane: &str) -> Dice {
        Dice::new(self.seed, lane)
    }

    /// Writes a line into the trace.
    pub(crate) fn trace(&self, what: fmt::Arguments<'_>) {
        self.count("line");
        let millis = self.now().as_millis();
        let line = format!("{:>8}.{:03} {what}", millis / 1_000, millis % 1_000);
        let mut inner = self.inner();
        for word in line.as_bytes().chunks(8) {
            let mut bytes = [0; 8];
            bytes[..word.len()].copy_from_slice(word);
            inner.hash = (inner.hash ^ u64::from_le_bytes(bytes)).wrapping_mul(0x0100_0000_01b3).rotate_left(29);
        }
        if self.print {
            println!("{line}");
        }
        if inner.tail.len() == 2 * TAIL {
            inner.tail.drain(..TAIL);
        }
        inner.tail.push(line);
    }

    /// Counts something that the seeds should reach.
    pub(crate) fn count(&self, what: &str) {
        let mut inner = self.inner();
        match inner.counts.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(inner.counts.insert(what.to_owned(), 1)),
        }
    }

    /// A predicate does not hold.
    pub(crate) fn violation(&self, what: String) {
        self.trace(format_args!("VIOLATION {what}"));
        self.inner().violations.push(what);
    }

    /// Whether a predicate was found not to hold: the rest of the run would say no more.
    pub(crate) fn failed(&self) -> bool {
        !self.inner().violations.is_empty()
    }

    /// What the run left.
    pub(crate) fn report(&self) -> Report {
        let inner = self.inner();
        Report {
            seed: self.seed,
            trace_hash: inner.hash,
            counts: inner.counts.clone(),
            violations: inner.violations.clone(),
            tail: inner.tail[inner.tail.len().saturating_sub(TAIL)..].to_vec(),
        }
    }
}

impl Report {
    /// Of a run that did not come to its end.
    pub(crate) fn of_panic(seed: u64) -> Self {
        Self { seed, trace_hash: 0, counts: BTreeMap::new(), violations: vec![], tail: vec![] }
    }
}

/// A server's clock: it shows simulated time, with an error of its own.
pub(crate) struct SimulatedClock {
    start: Instant,
    error: SignedDuration,
}

impl SimulatedClock {
    /// A clock that is wrong by this many milliseconds.
    pub(crate) fn new(world: &World, error_ms: i64) -> Self {
        Self { start: world.start, error: SignedDuration::from_millis(error_ms) }
    }
}

/// What a right clock shows so long after the start.
pub(crate) fn time(since: Duration) -> Timestamp {
    Timestamp::from_second(EPOCH_SECONDS).expect("because it is a time") + since
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        time(self.start.elapsed()) + self.error
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A server's randomness: a lane of its own.
pub(crate) struct SimulatedRandom(Mutex<Dice>);

impl SimulatedRandom {
    pub(crate) fn new(dice: Dice) -> Self {
        Self(Mutex::new(dice))
    }
}

impl Random for SimulatedRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
    }
}
