//! One store of a replicated repository: the names of its log, and what may stand at a number of it.

mod restore;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use model::RepositoryId;

use super::epoch::{Epochs, MARKER};
use crate::entry::Stub;
use crate::envelope::sealed_size;
use crate::keys;
use crate::object::{Create, ObjectBytes, ObjectMeta, ObjectStore, StoreError};

/// Objects listed at once.
const PAGE: usize = 1_000;
/// Times that others may get in the way of closing a log, or that a store may not say what became of a request.
const TRIES: u32 = 64;

/// The objects of one repository in one store; entries of the log are asked for by the names of the first epoch.
#[derive(Clone)]
pub(crate) struct Member {
    /// The name of the store.
    pub(crate) name: Arc<str>,
    store: Arc<dyn ObjectStore>,
    id: RepositoryId,
    epochs: Arc<Epochs>,
}

/// What stands at a number of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slot {
    Free,
    /// The log has ended before it.
    Closed,
    Holds(Bytes),
}

/// Whether the log of a replica could be made the same as that of the primary store at a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    Same,
    /// It was closed: somebody promotes, or has.
    Closed,
}

impl Member {
    pub(crate) fn new(name: Arc<str>, store: Arc<dyn ObjectStore>, id: RepositoryId, epochs: Arc<Epochs>) -> Self {
        Self { name, store, id, epochs }
    }

    /// The same by the names of other epochs.
    pub(crate) fn of(&self, epochs: Arc<Epochs>) -> Self {
        Self { epochs, ..self.clone() }
    }

    /// The store itself.
    pub(crate) fn raw(&self) -> &dyn ObjectStore {
        &*self.store
    }

    /// The epoch by whose names it is asked.
    pub(crate) fn epoch(&self) -> u64 {
        self.epochs.number()
    }

    /// The number that a name of the log stands for.
    pub(crate) fn number(id: &RepositoryId, key: &str) -> Option<u64> {
        keys::number(key.strip_prefix(&keys::log_all(id))?)
    }

    fn key(&self, key: &str) -> String {
        Self::number(&self.id, key).map_or_else(|| key.to_owned(), |number| self.epochs.key(&self.id, number))
    }

    /// The epochs in whose log an entry may be. Where the log of a replica was closed before it, it is in that of a later epoch.
    fn epochs_of(&self, number: u64) -> std::ops::RangeInclusive<u64> {
        self.epochs.holding(number)..=self.epochs.number()
    }

    /// What stands at a number of the log.
    pub(crate) async fn slot(&self, number: u64) -> Result<Slot, StoreError> {
        Ok(self.find(number).await?.1)
    }

    /// As [`Self::slot`], with its name.
    async fn find(&self, number: u64) -> Result<(String, Slot), StoreError> {
        let mut last = (String::new(), Slot::Free);
        for epoch in self.epochs_of(number) {
            let key = keys::log_entry_of(&self.id, epoch, number);
            last = match self.store.get(&key).await? {
                None => (key, Slot::Free),
                Some(body) if body == MARKER => (key, Slot::Closed),
                Some(body) => return Ok((key, Slot::Holds(body))),
            };
        }
        Ok(last)
    }

    /// Makes a replica hold what the primary store has at a number, and has for ever. Where it holds something else, which a server wrote
    /// in vain, that is overruled: what has been decided is created first, and counts if the log was not closed before.
    pub(crate) async fn settle(&self, number: u64, body: &Bytes) -> Result<Settled, StoreError> {
        self.settle_behind(number, body, &mut None).await
    }

    /// The same, when it is known in the log of which epoch the entry before was settled; this one's is known afterwards.
    pub(crate) async fn settle_behind(
        &self,
        number: u64,
        body: &Bytes,
        place: &mut Option<u64>,
    ) -> Result<Settled, StoreError> {
        for epoch in self.epochs_of(number) {
            let is_past = epoch < self.epochs.number();
            if is_past && *place != Some(epoch) && !self.goes_up_to(epoch, number).await? {
                continue;
            }
            let key = keys::log_entry_of(&self.id, epoch, number);
            if self.settle_at(&key, number, body, is_past).await? == Settled::Same {
                *place = Some(epoch);
                return Ok(Settled::Same);
            }
        }
        Ok(Settled::Closed)
    }

    /// Whether the log of a past epoch has the entry before this one: behind a marker nothing may stand, for a server that has not heard of it
    /// would go on there.
    async fn goes_up_to(&self, epoch: u64, number: u64) -> Result<bool, StoreError> {
        let before = number - 1;
        if before <= self.epochs.until(epoch).base() {
            return Ok(true);
        }
        let found = self.store.get(&keys::log_entry_of(&self.id, epoch, before)).await?;
        Ok(found.is_some_and(|body| body != MARKER))
    }

    /// `is_past`: it is known what counts of the epoch, and nobody can add to it.
    async fn settle_at(&self, key: &str, number: u64, body: &Bytes, is_past: bool) -> Result<Settled, StoreError> {
        for _ in 0..TRIES {
            match self.store.create(key, body.clone()).await {
                Ok(Create::Created) => return Ok(Settled::Same),
                Ok(Create::Exists) | Err(StoreError::Unknown { .. }) => {}
                Err(error) => return Err(error),
            }
            match self.store.get(key).await? {
                None => {}
                Some(found) if found == MARKER => return Ok(Settled::Closed),
                Some(found) if found == *body || is_stub(found.len()) || is_stub(body.len()) => {
                    return Ok(Settled::Same);
                }
                Some(_) if is_past => return self.store.put(key, body.clone()).await.map(|()| Settled::Same),
                Some(_) => return self.overrule(number, key, body).await,
            }
        }
        Err(unsettled(key))
    }

    async fn overrule(&self, number: u64, key: &str, body: &Bytes) -> Result<Settled, StoreError> {
        let decided = keys::decided(key);
        for _ in 0..TRIES {
            match self.store.create(&decided, body.clone()).await {
                Ok(_) => {
                    // Whoever promotes closes the log first, and looks for what has been decided afterwards.
                    if self.is_closed_behind(key, number).await? {
                        return Ok(Settled::Closed);
                    }
                    self.store.put(key, body.clone()).await?;
                    return Ok(Settled::Same);
                }
                Err(StoreError::Unknown { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(unsettled(&decided))
    }

    /// Whether the log that has an entry of this name ends with it.
    async fn is_closed_behind(&self, key: &str, number: u64) -> Result<bool, StoreError> {
        let Some((log, _)) = key.rsplit_once('/') else { return Ok(false) };
        let next = self.store.get(&format!("{log}/{:020}", number + 1)).await?;
        Ok(next.is_some_and(|body| body == MARKER))
    }

    /// Closes the log of the present epoch, if it is not closed yet, and tells the number before its end: the last entry of a store that has
    /// all entries of the epochs before. A log that is to have more entries, up to `least`, is closed behind these.
    pub(crate) async fn close(&self, least: u64) -> Result<u64, StoreError> {
        let mut end = self.epochs.base();
        for _ in 0..TRIES {
            end = self.end(end).await?.max(least);
            let key = self.epochs.key(&self.id, end + 1);
            match self.store.create(&key, Bytes::from_static(MARKER)).await {
                Ok(Create::Created) => return Ok(end),
                Ok(Create::Exists) | Err(StoreError::Unknown { .. }) => {}
                Err(error) => return Err(error),
            }
            match self.slot(end + 1).await? {
                Slot::Closed => return Ok(end),
                Slot::Holds(_) => end += 1,
                Slot::Free => {}
            }
        }
        Err(unsettled(&self.epochs.key(&self.id, end + 1)))
    }

    /// What counts at the end of a log that is closed is brought to where it is looked for.
    pub(crate) async fn adopt_decision(&self, end: u64) -> Result<(), StoreError> {
        if end <= self.epochs.base() {
            return Ok(());
        }
        let key = self.epochs.key(&self.id, end);
        match self.store.get(&keys::decided(&key)).await? {
            Some(body) => self.store.put(&key, body).await,
            None => Ok(()),
        }
    }

    /// The last entry of the log, which has one of this number or is empty: numbers have no gaps, so a few questions are enough.
    pub(crate) async fn end(&self, from: u64) -> Result<u64, StoreError> {
        let (mut has, mut step) = (from, 1);
        while self.has(has + step).await? {
            has += step;
            step *= 2;
        }
        let mut lacks = has + step;
        while has + 1 < lacks {
            let middle = has.midpoint(lacks);
            if self.has(middle).await? { has = middle } else { lacks = middle }
        }
        Ok(has)
    }

    async fn has(&self, number: u64) -> Result<bool, StoreError> {
        for epoch in self.epochs_of(number) {
            let found = self.store.list(&keys::log_entry_of(&self.id, epoch, number), None, 1).await?;
            if found.first().is_some_and(|object| object.size != MARKER.len() as u64) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Objects of the log by the names that it has for its readers.
    async fn list_log(&self, after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        let after = after.and_then(|key| Self::number(&self.id, key)).unwrap_or(0);
        let mut found = Vec::new();
        for epoch in self.epochs.holding(after + 1)..=self.epochs.number() {
            let mut start = Some(keys::log_entry_of(&self.id, epoch, after));
            while let Some(last) = start.take() {
                let page = self.store.list(&keys::log_of(&self.id, epoch), Some(&last), PAGE).await?;
                start = page.last().filter(|_| page.len() == PAGE).map(|object| object.key.clone());
                found.extend(page.iter().filter_map(|object| self.as_read(epoch, object)));
                if found.len() >= limit {
                    found.truncate(limit);
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// An object of an epoch's log by the name that it has for readers; `None` of markers, decisions, and what an old primary store held
    /// beyond what counts.
    fn as_read(&self, epoch: u64, object: &ObjectMeta) -> Option<ObjectMeta> {
        let number = keys::number(&object.key)?;
        let counts = self.epochs.holding(number) <= epoch && object.size != MARKER.len() as u64;
        counts.then(|| ObjectMeta { key: keys::log_entry(&self.id, number), ..*object })
    }
}

/// Whether an object of the log has the size of a stub, which takes the place of an old entry.
pub(crate) fn is_stub(size: usize) -> bool {
    size == Stub::BYTES || size as u64 == sealed_size(Stub::BYTES as u64)
}

fn unsettled(key: &str) -> StoreError {
    StoreError::Unknown {
        operation: "create",
        key: key.to_owned(),
        reason: "it stays unknown what stands there".to_owned(),
    }
}

#[async_trait]
impl ObjectStore for Member {
    async fn create(&self, key: &str, body: Bytes) -> Result<Create, StoreError> {
        self.store.create(&self.key(key), body).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        // A marker is never replaced, and an entry of the past may be in a later log.
        if let Some(number) = Self::number(&self.id, key).filter(|number| *number <= self.epochs.base())
            && let (place, Slot::Holds(_)) = self.find(number).await?
        {
            return self.store.put(&place, body).await;
        }
        self.store.put(&self.key(key), body).await
    }

    async fn upload(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        self.store.upload(key, file).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let Some(number) = Self::number(&self.id, key) else { return self.store.get(key).await };
        Ok(match self.slot(number).await? {
            Slot::Holds(body) => Some(body),
            Slot::Free | Slot::Closed => None,
        })
    }

    async fn download(&self, key: &str, file: &Path, size: u64) -> Result<bool, StoreError> {
        self.store.download(&self.key(key), file, size).await
    }

    async fn download_range(&self, key: &str, file: &Path, range: Range<u64>, size: u64) -> Result<bool, StoreError> {
        self.store.download_range(&self.key(key), file, range, size).await
    }

    async fn stream(&self, key: &str, range: Range<u64>, size: u64) -> Result<Option<ObjectBytes>, StoreError> {
        self.store.stream(&self.key(key), range, size).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.store.delete(&self.key(key)).await
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        if prefix == keys::log_all(&self.id) {
            return self.list_log(start_after, limit).await;
        }
        self.store.list(prefix, start_after, limit).await
    }
}

#[cfg(test)]
mod tests;
