//! What clients asked and were told, and when.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{ObjectId, RefName};
use store::{Committed, Events, RefEdit};

use crate::refs::Refs;

/// What a push was told.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// It is committed.
    Committed(Committed),
    /// References had other values.
    Moved(Vec<(RefName, Option<ObjectId>)>),
    /// Nothing was changed.
    Nothing,
    /// Not known, or nothing yet.
    Unknown,
}

/// A push.
pub(crate) struct PushOperation {
    /// The path of the repository, which has an id only when the bucket holds it.
    pub(crate) repository: String,
    pub(crate) request_id: String,
    pub(crate) atomic: bool,
    pub(crate) edits: Vec<RefEdit>,
    /// Known when the server answered.
    pub(crate) dropped: Option<Vec<ObjectId>>,
    pub(crate) invoked: Duration,
    pub(crate) responded: Duration,
    pub(crate) outcome: Outcome,
}

/// A look at the references.
pub(crate) struct ReadOperation {
    pub(crate) reader: String,
    pub(crate) repository: String,
    pub(crate) invoked: Duration,
    pub(crate) responded: Duration,
    pub(crate) generation: u64,
    pub(crate) head: Option<RefName>,
    pub(crate) refs: Refs,
}

/// A look at the events of an entry.
pub(crate) struct EventsOperation {
    pub(crate) repository: String,
    pub(crate) invoked: Duration,
    pub(crate) generation: u64,
    pub(crate) responded: Duration,
    pub(crate) events: Events,
}

/// All of it.
#[derive(Default)]
pub(crate) struct History(Mutex<Operations>);

#[derive(Default)]
pub(crate) struct Operations {
    pub(crate) pushes: Vec<PushOperation>,
    pub(crate) reads: Vec<ReadOperation>,
    pub(crate) events: Vec<EventsOperation>,
}

impl History {
    pub(crate) fn operations(&self) -> MutexGuard<'_, Operations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A push begins; its outcome is unknown until it is settled. Gives its place.
    pub(crate) fn begin(&self, push: PushOperation) -> usize {
        let mut operations = self.operations();
        operations.pushes.push(push);
        operations.pushes.len() - 1
    }

    /// A push was told its outcome.
    pub(crate) fn settle(&self, place: usize, now: Duration, dropped: Option<Vec<ObjectId>>, outcome: Outcome) {
        if let Some(push) = self.operations().pushes.get_mut(place) {
            push.responded = now;
            push.dropped = dropped;
            push.outcome = outcome;
        }
    }
}
