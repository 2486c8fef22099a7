//! What a repository was: its references after any entry that the log still has, by taking back what came since.

use std::collections::{BTreeMap, VecDeque};

use futures::future::try_join_all;
use jiff::Timestamp;
use model::{ObjectId, RefName};

use super::Repository;
use super::read::read_number;
use crate::entry::{Decoded, Entry, Numbered};
use crate::error::Error;
use crate::keys;
use crate::state::Snapshot;

/// Entries that are read at once.
const WINDOW: u64 = 16;

/// A moment of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// After this entry; 0 is before the first.
    Generation(u64),
    /// After the last entry that was written by this time, by the clocks of the servers that wrote.
    Time(Timestamp),
}

/// The references of a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The last entry before it.
    pub generation: u64,
    /// Values of all references, hidden ones too.
    pub refs: BTreeMap<RefName, ObjectId>,
}

/// An entry that changed references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number.
    pub generation: u64,
    /// When it was written.
    pub time: Timestamp,
    /// Who changed what: actor, reference, its value before and after.
    pub edits: Vec<(String, RefName, Option<ObjectId>, Option<ObjectId>)>,
}

/// Why a moment cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// It has not come yet.
    #[error("the log ends with entry {0}")]
    Future(u64),
    /// The log does not go back so far.
    #[error("the log goes back to entry {0} only; what is older was cut off after the log retention")]
    Gone(u64),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] Error),
}

impl Repository {
    /// The references at a moment before `now`, which is a state of this repository.
    ///
    /// # Errors
    /// When the log does not go back so far, or cannot be read.
    pub async fn past(&self, now: &Snapshot, moment: Moment) -> Result<Past, PastError> {
        if let Moment::Generation(wanted) = moment
            && wanted > now.generation
        {
            return Err(PastError::Future(now.generation));
        }
        let mut refs: BTreeMap<RefName, ObjectId> =
            now.refs.iter().filter_map(|found| Some((RefName::try_from(&**found.name).ok()?, found.id))).collect();
        let mut back = Back::new(self, now.generation);
        loop {
            let generation = back.next;
            if generation == 0 || moment == Moment::Generation(generation) {
                return Ok(Past { generation, refs });
            }
            let Some(read) = back.entry().await? else { return Err(PastError::Gone(generation + 1)) };
            if let Moment::Time(time) = moment
                && read.entry.time <= time
            {
                return Ok(Past { generation, refs });
            }
            take_back(&read.entry, &mut refs);
        }
    }

    /// The newest entries that changed references, newest first, as far as the log has them.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn changes(&self, now: &Snapshot, limit: usize) -> Result<Vec<Change>, Error> {
        let (mut back, mut changes) = (Back::new(self, now.generation), Vec::new());
        while changes.len() < limit && back.next > 0 {
            let generation = back.next;
            let Some(read) = back.entry().await? else { break };
            let Entry { time, pushes, .. } = read.entry;
            let edits = pushes.into_iter().flat_map(|push| {
                push.edits.into_iter().map(move |edit| (push.actor.clone(), edit.name, edit.old, edit.new))
            });
            let change = Change { generation, time, edits: edits.collect() };
            if !change.edits.is_empty() {
                changes.push(change);
            }
        }
        Ok(changes)
    }
}

/// Reads the log backwards.
struct Back<'a> {
    repository: &'a Repository,
    /// The entry that comes next; 0 when there is none any more.
    next: u64,
    ahead: VecDeque<Option<Numbered>>,
}

impl<'a> Back<'a> {
    fn new(repository: &'a Repository, newest: u64) -> Self {
        Self { repository, next: newest, ahead: VecDeque::new() }
    }

    /// The next entry; `None` when the log has nothing but its stub.
    async fn entry(&mut self) -> Result<Option<Box<Decoded>>, Error> {
        let (store, id) = (&*self.repository.shared.store, &self.repository.id);
        if self.ahead.is_empty() {
            let numbers = (self.next.saturating_sub(WINDOW) + 1..=self.next).rev();
            self.ahead = try_join_all(numbers.map(|number| read_number(store, id, number))).await?.into();
        }
        let number = self.next;
        self.next -= 1;
        match self.ahead.pop_front().flatten() {
            Some(Numbered::Entry(entry)) => Ok(Some(entry)),
            Some(Numbered::Stub(_)) => Ok(None),
            None => Err(Error::Missing { key: keys::log_entry(id, number) }),
        }
    }
}

/// Undoes an entry, last edit first.
fn take_back(entry: &Entry, refs: &mut BTreeMap<RefName, ObjectId>) {
    for edit in entry.pushes.iter().rev().flat_map(|push| push.edits.iter().rev()) {
        match edit.old {
            Some(old) => drop(refs.insert(edit.name.clone(), old)),
            None => drop(refs.remove(&edit.name)),
        }
    }
}
