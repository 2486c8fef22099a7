//! Reads the log forward: one probe when nothing is new, ever more entries at once when much is.

use std::collections::VecDeque;

use futures::future::try_join_all;
use model::RepositoryId;

use crate::entry::{Decoded, Entry};
use crate::error::Error;
use crate::keys;
use crate::object::ObjectStore;

/// Most entries read at once.
const WINDOW: u64 = 16;
/// Most entries read at once that a hint speaks of.
const HINTED: u64 = 80;

/// Reads consecutive entries.
pub(crate) struct Reader<'a> {
    store: &'a dyn ObjectStore,
    id: &'a RepositoryId,
    ahead: VecDeque<(u64, Option<Decoded>)>,
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

    /// The entry after this generation, or `None` at the end of the log.
    ///
    /// An answer "absent" holds although its predecessor was asked for at the same time: whatever was acknowledged before the
    /// question was there then.
    pub(crate) async fn next_after(&mut self, generation: u64) -> Result<Option<(u64, Decoded)>, Error> {
        let wanted = generation + 1;
        while self.ahead.front().is_some_and(|(number, _)| *number < wanted) {
            self.ahead.pop_front();
        }
        if self.ahead.is_empty() {
            self.look_ahead(generation).await?;
        }
        let next = self.ahead.pop_front().and_then(|(number, entry)| entry.map(|entry| (number, entry)));
        if next.is_none() {
            // What was absent may come to be: it is asked for again.
            self.ahead.clear();
        }
        Ok(next)
    }

    /// Reads what comes after this generation, as far as is worth while.
    pub(crate) async fn look_ahead(&mut self, generation: u64) -> Result<(), Error> {
        let numbers = generation + 1..generation + 1 + self.window;
        let (store, id) = (self.store, self.id);
        let reads =
            numbers.map(|number| async move { read_entry(store, id, number).await.map(|entry| (number, entry)) });
        self.ahead = try_join_all(reads).await?.into();
        self.window = (self.window * 2).min(WINDOW);
        Ok(())
    }
}

/// Reads and verifies one entry.
pub(crate) async fn read_entry(
    store: &dyn ObjectStore,
    id: &RepositoryId,
    number: u64,
) -> Result<Option<Decoded>, Error> {
    let key = keys::log_entry(id, number);
    let Some(bytes) = store.get(&key).await? else { return Ok(None) };
    Entry::decode(&bytes).map(Some).map_err(|error| Error::entry(key, error))
}
