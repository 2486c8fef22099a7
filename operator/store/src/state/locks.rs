//! Git LFS locks as the log has them (ADR 0013): at most one for each path.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::lfs::{LockId, LockPath};

use crate::entry::{LockChange, LockRecord};

/// A path that somebody has locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Its name.
    pub id: LockId,
    /// The path.
    pub path: LockPath,
    /// Whose it is: only this exact text is the same owner.
    pub owner: String,
    /// Since when.
    pub at: Timestamp,
}

/// All locks of a repository, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locks {
    by_path: BTreeMap<LockPath, Lock>,
}

impl Locks {
    /// The locks in byte order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = &Lock> {
        self.by_path.values()
    }

    /// The locks on paths after this one, in byte order.
    pub fn after<'a>(&'a self, path: &LockPath) -> impl Iterator<Item = &'a Lock> + use<'a> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.by_path.range::<LockPath, _>((Excluded(path), Unbounded)).map(|(_, lock)| lock)
    }

    /// The lock on a path.
    #[must_use]
    pub fn on(&self, path: &LockPath) -> Option<&Lock> {
        self.by_path.get(path)
    }

    /// The lock of this name.
    #[must_use]
    pub fn get(&self, id: &LockId) -> Option<&Lock> {
        self.iter().find(|lock| lock.id == *id)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_path.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    /// From what a checkpoint says; `None` when a path is in it twice.
    pub(crate) fn collect(locks: Vec<Lock>) -> Option<Self> {
        let mut by_path = BTreeMap::new();
        for lock in locks {
            if by_path.insert(lock.path.clone(), lock).is_some() {
                return None;
            }
        }
        Some(Self { by_path })
    }

    /// Makes a change of the log; `None` when it cannot follow.
    pub(super) fn change(&mut self, record: &LockRecord, at: Timestamp) -> Option<()> {
        match &record.change {
            LockChange::Taken { path, owner } => {
                if self.by_path.contains_key(path) {
                    return None;
                }
                let lock = Lock { id: record.id, path: path.clone(), owner: owner.clone(), at };
                self.by_path.insert(path.clone(), lock);
            }
            LockChange::Released => {
                let path = self.get(&record.id)?.path.clone();
                self.by_path.remove(&path);
            }
        }
        Some(())
    }
}
