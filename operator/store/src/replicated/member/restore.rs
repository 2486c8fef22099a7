//! Entries that one store has lost, or has damaged, are put back to where they belong in its logs (ADR 0021).

use std::collections::BTreeSet;

use bytes::Bytes;

use super::super::epoch::MARKER;
use super::{Member, PAGE, Slot};
use crate::error::Error;
use crate::keys;
use crate::object::{Create, ObjectStore as _, StoreError, list_all};

impl Member {
    /// The numbers behind this one at which something stands that counts.
    pub(crate) async fn numbers(&self, after: u64) -> Result<BTreeSet<u64>, StoreError> {
        let (mut numbers, mut last) = (BTreeSet::new(), after);
        loop {
            let after = keys::log_entry(&self.id, last);
            let page = self.list(&keys::log_all(&self.id), Some(&after), PAGE).await?;
            numbers.extend(page.iter().filter_map(|object| keys::number(&object.key)));
            match numbers.last() {
                Some(newest) if page.len() == PAGE && *newest > last => last = *newest,
                _ => return Ok(numbers),
            }
        }
    }

    /// Keys and bytes of the epochs' records, as a store that was told of them has them.
    pub(crate) fn epoch_records(&self) -> Result<Vec<(String, Bytes)>, Error> {
        self.epochs.after(0).map(|epoch| Ok((keys::epoch(&self.id, epoch.number), epoch.encode()?))).collect()
    }

    /// How many entries are in its logs that do not count, and their bytes: what an old primary store held beyond.
    pub(crate) async fn surplus(&self) -> Result<(u64, u64), StoreError> {
        let (mut entries, mut bytes) = (0, 0);
        for epoch in 0..=self.epochs.number() {
            for object in list_all(self.raw(), &keys::log_of(&self.id, epoch)).await? {
                let is_entry = keys::number(&object.key).is_some() && object.size != MARKER.len() as u64;
                if is_entry && self.as_read(epoch, &object).is_none() {
                    entries += 1;
                    bytes += object.size;
                }
            }
        }
        Ok((entries, bytes))
    }

    /// Puts an entry back whose bytes were verified: over `instead_of`, which nobody can read, or, with none, where it is missing. False when
    /// something else is there by now. Nothing takes the place of a marker, be it damaged.
    pub(crate) async fn restore(
        &self,
        number: u64,
        body: &Bytes,
        instead_of: Option<&Bytes>,
    ) -> Result<bool, StoreError> {
        match (self.find(number).await?, instead_of) {
            ((key, Slot::Holds(found)), Some(bad)) if found == *bad && found.len() != MARKER.len() => {
                self.store.put(&key, body.clone()).await.map(|()| true)
            }
            ((_, Slot::Free | Slot::Closed), None) => self.create_again(number, body).await,
            _ => Ok(false),
        }
    }

    /// Creates it in the first log that may have it. Never overwrites: the number may have become somebody's.
    async fn create_again(&self, number: u64, body: &Bytes) -> Result<bool, StoreError> {
        for epoch in self.epochs_of(number) {
            if epoch < self.epochs.number() && !self.goes_up_to(epoch, number).await? {
                continue;
            }
            let key = keys::log_entry_of(&self.id, epoch, number);
            let created = self.store.create(&key, body.clone()).await;
            if matches!(created, Ok(Create::Created)) {
                return Ok(true);
            }
            match self.store.get(&key).await? {
                Some(found) if found == *body => return Ok(true),
                Some(found) if found == MARKER => {}
                Some(_) => return Ok(false),
                None => return created.map(|_| false),
            }
        }
        Ok(false)
    }
}
