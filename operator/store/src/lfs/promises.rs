//! What clients were let to send to the bucket and have not said to be there: it counts for a while, and then it is not coming.

use std::collections::HashMap;
use std::time::Duration;

use model::lfs::Oid;
use tokio::time::Instant;

/// A promise counts for this time at least, and twice as long at most: as long as addresses hold.
const AGE: Duration = Duration::from_mins(15);
/// Promises at a time.
const MANY: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Promises {
    /// Those since this age began, ...
    recent: HashMap<Oid, u64>,
    /// ... and those of the age before.
    older: HashMap<Oid, u64>,
    began: Option<Instant>,
    /// The sum of all.
    pub(super) bytes: u64,
}

impl Promises {
    /// Adds one, or makes it new; false when there are too many.
    pub(super) fn add(&mut self, oid: Oid, bytes: u64) -> bool {
        self.remove(&oid);
        if self.recent.len() + self.older.len() >= MANY {
            return false;
        }
        self.recent.insert(oid, bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        true
    }

    pub(super) fn get(&self, oid: &Oid) -> u64 {
        self.recent.get(oid).or_else(|| self.older.get(oid)).copied().unwrap_or(0)
    }

    pub(super) fn remove(&mut self, oid: &Oid) {
        let removed = self.recent.remove(oid).or_else(|| self.older.remove(oid));
        self.bytes = self.bytes.saturating_sub(removed.unwrap_or(0));
    }

    /// Begins a new age when it is time; one that nobody looked at is over as well.
    pub(super) fn expire(&mut self) {
        let age = self.began.get_or_insert_with(Instant::now).elapsed();
        if age >= AGE {
            self.older = std::mem::take(&mut self.recent);
            if age >= 2 * AGE {
                self.older.clear();
            }
            self.bytes = self.older.values().fold(0, |sum, bytes| sum.saturating_add(*bytes));
            self.began = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_promise_counts_once_and_for_a_while() {
        let (mut promises, oid, other) = (Promises::default(), Oid::of([1; 32]), Oid::of([2; 32]));
        let later = async |promises: &mut Promises, minutes| {
            tokio::time::advance(Duration::from_mins(minutes)).await;
            promises.expire();
            promises.bytes
        };
        promises.expire();
        assert!(promises.add(oid, 5) && promises.add(oid, 7) && promises.add(other, 100));
        assert_eq!((promises.bytes, promises.get(&oid)), (107, 7));
        assert_eq!(later(&mut promises, 16).await, 107);
        assert!(promises.add(other, 100));
        assert_eq!(later(&mut promises, 16).await, 100, "it was made new");
        promises.remove(&other);
        assert_eq!((promises.bytes, promises.get(&other)), (0, 0));
        assert!(promises.add(oid, 7));
        assert_eq!(later(&mut promises, 60).await, 0);
    }

    #[test]
    fn promises_do_not_fill_the_memory() {
        let mut promises = Promises::default();
        let oid = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            Oid::of(bytes)
        };
        assert!((0..MANY).all(|number| promises.add(oid(number), 1)));
        assert!(!promises.add(oid(MANY), 1) && promises.add(oid(0), 1));
        assert_eq!(promises.bytes, MANY as u64);
    }
}
