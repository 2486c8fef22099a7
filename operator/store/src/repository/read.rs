//! Reads the log forward: one probe when nothing is new, ever more entries at once when much is.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::future::try_join_all;
use model::RepositoryId;

use crate::entry::{Decoded, Numbered};
use crate::error::Error;
use crate::keys;
use crate::object::ObjectStore;

/// Most entries read at once.
const WINDOW: u64 = 16;
/// Most entries read at once that a hint speaks of.
const HINTED: u64 = 80;

/// What comes after a generation.
pub(crate) enum Next {
    /// The entry.
    Entry(u64, Box<Decoded>),
    /// An entry that is a stub by now: whoever has not read it before needs a checkpoint.
    Stub,
    /// Nothing: that generation is the newest.
    End,
}

/// Reads consecutive entries.
pub(crate) struct Reader<'a> {
    store: &'a dyn ObjectStore,
    id: &'a RepositoryId,
    ahead: VecDeque<(u64, Option<Numbered>)>,
    window: u64,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(store: &'a dyn ObjectStore, id: &'a RepositoryId) -> Self {
        Self { store, id, ahead: VecDeque::new(), window: 1 }
    }

    /// A reader that expects this many entries, from a hint.
    pub(crate) fn expecting(store: &'a dyn ObjectStore, id: &'a RepositoryId, entries: u64) -> Self {
        Self { window: entries.saturating_add(1).min(HINTED), ..Self::new(store, id) }
    }

    /// What comes after this generation.
    ///
    /// An answer "absent" holds although its predecessor was asked for at the same time: whatever was acknowledged before the
    /// question was there then.
    pub(crate) async fn next_after(&mut self, generation: u64) -> Result<Next, Error> {
        let wanted = generation + 1;
        while self.ahead.front().is_some_and(|(number, _)| *number < wanted) {
            self.ahead.pop_front();
        }
        // Whoever started over may be further back than what was read ahead.
        if self.ahead.front().is_none_or(|(number, _)| *number != wanted) {
            self.look_ahead(generation).await?;
        }
        if let Some((number, Some(found))) = self.ahead.pop_front() {
            return Ok(next(number, found));
        }
        // What was absent may come to be: it is asked for again.
        self.ahead.clear();
        Ok(Next::End)
    }

    /// Reads what comes after this generation, as far as is worth while.
    pub(crate) async fn look_ahead(&mut self, generation: u64) -> Result<(), Error> {
        let numbers = generation + 1..generation + 1 + self.window;
        let (store, id) = (self.store, self.id);
        let reads =
            numbers.map(|number| async move { read_number(store, id, number).await.map(|found| (number, found)) });
        self.ahead = try_join_all(reads).await?.into();
        self.window = (self.window * 2).min(WINDOW);
        Ok(())
    }
}

fn next(number: u64, found: Numbered) -> Next {
    match found {
        Numbered::Entry(entry) => Next::Entry(number, entry),
        Numbered::Stub(_) => Next::Stub,
    }
}

/// Reads and verifies what stands at a number of the log.
pub(crate) async fn read_number(
    store: &dyn ObjectStore,
    id: &RepositoryId,
    number: u64,
) -> Result<Option<Numbered>, Error> {
    let key = keys::log_entry(id, number);
    let found = store.get(&key).await?;
    decode(key, found)
}

/// The same from the store that decides: for who wants to know what became of a number that it tried to take.
pub(crate) async fn read_decided(
    store: &dyn ObjectStore,
    id: &RepositoryId,
    number: u64,
) -> Result<Option<Numbered>, Error> {
    let key = keys::log_entry(id, number);
    let found = store.get_decided(&key).await?;
    decode(key, found)
}

fn decode(key: String, found: Option<Bytes>) -> Result<Option<Numbered>, Error> {
    let Some(bytes) = found else { return Ok(None) };
    Numbered::decode(&bytes).map(Some).map_err(|error| Error::entry(key, error))
}
