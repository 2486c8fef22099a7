//! Decisions of a run: each actor has a lane of its own, all of them follow from one seed.

use std::time::Duration;

use tests::random::Sequence;

/// A lane of decisions.
#[derive(Debug, Clone)]
pub(crate) struct Dice(Sequence);

impl Dice {
    /// The lane of this name.
    pub(crate) fn new(seed: u64, lane: &str) -> Self {
        // FNV-1a: names that differ give lanes that have nothing to do with each other.
        let name = lane
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut mixed = Sequence::new(seed ^ name);
        Self(Sequence::new(mixed.word()))
    }

    /// True so many times in a thousand.
    pub(crate) fn chance(&mut self, per_mille: u32) -> bool {
        self.0.below(1_000) < per_mille as usize
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0.below(end)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.word() % (high - low + 1)
    }

    /// Milliseconds from `low` to `high`.
    pub(crate) fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    /// A time from `low` to `high`, in whole milliseconds.
    pub(crate) fn time(&mut self, low: Duration, high: Duration) -> Duration {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.millis(millis(low), millis(high))
    }

    /// One of several.
    pub(crate) fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() { None } else { all.get(self.below(all.len())) }
    }

    /// The place of one of several that weigh this much.
    pub(crate) fn weighed(&mut self, weights: &[u32]) -> usize {
        let all: u32 = weights.iter().sum();
        let mut left = u32::try_from(self.below(all as usize)).unwrap_or(0);
        for (place, weight) in weights.iter().enumerate() {
            if left < *weight {
                return place;
            }
            left -= weight;
        }
        0
    }

    /// Bytes.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        let random = self.0.bytes(bytes.len());
        bytes.copy_from_slice(&random);
    }
}
