//! Epochs: which store is the primary one, and under which names the entries of the log are (ADR 0019). Pure but for reading them.
//!
//! Each epoch has a log of its own in every store. A log that has come to its end is closed by a marker, which stays for ever: a server
//! that has not heard of the next epoch finds its next number taken.

use bytes::Bytes;
use jiff::Timestamp;
use model::RepositoryId;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::keys;
use crate::object::ObjectStore;
use crate::sealed::{seal, unseal};

/// Stands where the next entry of a closed log would.
pub(crate) const MARKER: &[u8] = b"CKCLOSED";
/// Epochs that are read at most: a repository is not moved more often.
const MAX_EPOCHS: u64 = 10_000;

/// The reign of a primary store. The first one, of the store that the manifest names, has no record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Epoch {
    /// 1 for the first that has a record.
    pub(crate) number: u64,
    /// Name of the primary store.
    pub(crate) primary: String,
    /// The last entry that counts of what was written before.
    pub(crate) base: u64,
    /// Stores that could not be asked when it began: what is acknowledged need not be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) without: Vec<String>,
    /// When it began.
    pub(crate) time: Timestamp,
}

impl Epoch {
    pub(crate) fn encode(&self) -> Result<Bytes, Error> {
        seal(self).map_err(|error| Error::Packs(error.to_string()))
    }
}

/// All epochs of a repository that have a record, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Epochs(Vec<Epoch>);

impl Epochs {
    /// What a store says of them.
    pub(crate) async fn read(store: &dyn ObjectStore, id: &RepositoryId) -> Result<Self, Error> {
        let mut epochs = Vec::new();
        for number in 1..=MAX_EPOCHS {
            let key = keys::epoch(id, number);
            let Some(body) = store.get(&key).await? else { break };
            let epoch: Epoch = unseal(&body).map_err(|reason| Error::Damaged { key: key.clone(), reason })?;
            if epoch.number != number {
                return Err(Error::Damaged { key, reason: format!("it is that of epoch {}", epoch.number) });
            }
            epochs.push(epoch);
        }
        Ok(Self(epochs))
    }

    /// Whether an object is a record of some epoch.
    pub(crate) fn is_record(body: &[u8]) -> bool {
        unseal::<Epoch>(body).is_ok()
    }

    /// The present one; 0 is the first.
    pub(crate) fn number(&self) -> u64 {
        self.0.len() as u64
    }

    /// The primary store, if it is not the one that the manifest names.
    pub(crate) fn primary(&self) -> Option<&str> {
        self.0.last().map(|epoch| epoch.primary.as_str())
    }

    /// Whether a store need not hold what is acknowledged.
    pub(crate) fn is_without(&self, name: &str) -> bool {
        self.0.last().is_some_and(|epoch| epoch.without.iter().any(|other| other == name))
    }

    /// The last entry before the present epoch.
    pub(crate) fn base(&self) -> u64 {
        self.0.last().map_or(0, |epoch| epoch.base)
    }

    /// Those with a record after this one.
    pub(crate) fn after(&self, number: u64) -> impl Iterator<Item = &Epoch> {
        self.0.iter().filter(move |epoch| epoch.number > number)
    }

    /// Those up to this one.
    pub(crate) fn until(&self, number: u64) -> Self {
        Self(self.0.iter().filter(|epoch| epoch.number <= number).cloned().collect())
    }

    /// These and the next one.
    pub(crate) fn with(&self, next: Epoch) -> Self {
        Self(self.0.iter().cloned().chain([next]).collect())
    }

    /// The epoch whose log holds an entry.
    pub(crate) fn holding(&self, generation: u64) -> u64 {
        self.0.iter().rev().find(|epoch| epoch.base < generation).map_or(0, |epoch| epoch.number)
    }

    /// Where an entry is.
    pub(crate) fn key(&self, id: &RepositoryId, generation: u64) -> String {
        keys::log_entry_of(id, self.holding(generation), generation)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Epochs that begin after these entries.
    pub(crate) fn epochs(bases: &[u64]) -> Epochs {
        let epoch = |(index, base): (usize, &u64)| Epoch {
            number: index as u64 + 1,
            primary: format!("store-{}", index + 1),
            base: *base,
            without: vec![],
            time: Timestamp::UNIX_EPOCH,
        };
        Epochs(bases.iter().enumerate().map(epoch).collect())
    }

    #[test]
    fn entries_are_in_the_log_of_the_epoch_that_wrote_them() {
        let found = |bases: &[u64]| (0..6).map(|number| epochs(bases).holding(number)).collect::<Vec<_>>();
        assert_eq!(found(&[]), [0, 0, 0, 0, 0, 0]);
        assert_eq!(found(&[3]), [0, 0, 0, 0, 1, 1]);
        assert_eq!(found(&[0]), [0, 1, 1, 1, 1, 1]);
        assert_eq!(found(&[1, 1, 4]), [0, 0, 2, 2, 2, 3], "nothing was written in the first epoch");
    }

    #[tokio::test]
    async fn records_are_read_back_and_one_of_another_number_is_damage() {
        let (store, id) = (crate::testing::MemoryStore::default(), RepositoryId::random(&model::clock::SystemRandom));
        assert_eq!(Epochs::read(&store, &id).await.unwrap(), Epochs::default());
        let wanted = epochs(&[3, 7]);
        for epoch in wanted.after(0) {
            store.put(&keys::epoch(&id, epoch.number), epoch.encode().unwrap()).await.unwrap();
        }
        assert_eq!(Epochs::read(&store, &id).await.unwrap(), wanted);
        let first = wanted.after(0).next().unwrap().encode().unwrap();
        store.put(&keys::epoch(&id, 2), first).await.unwrap();
        assert!(matches!(Epochs::read(&store, &id).await, Err(Error::Damaged { .. })));
    }
}
