//! Scrubbing: what the bucket holds is read and compared with its checksums, slowly, so that damage is found while a replica or a
//! back-up still has the object, and not when a user needs it.

use std::collections::HashSet;
use std::time::Duration;

use model::Content;

use super::scrub_lfs::LfsScrub;
use super::{Housekeeping, Repository, Say};
use crate::blocking::blocking;
use crate::cache::verify;
use crate::entry::{PackRecord, Place, UpkeepRecord};
use crate::error::Error;
use crate::keys;
use crate::repository::{open, read};
use crate::state::{Snapshot, StoredPack};

/// After a scrub that found something, the next one comes sooner: somebody may have mended it.
const AFTER_DAMAGE: Duration = Duration::from_hours(24);
/// Problems that are kept.
pub(super) const MAX_PROBLEMS: usize = 16;

impl Repository {
    /// Scrubs, when it is due; returns how many problems were found.
    pub(super) async fn scrub(&self, state: &mut Housekeeping) -> Result<u64, Error> {
        let known = self.known();
        let interval = self.shared.policy.scrub_interval;
        let due = match &known.upkeep.scrub {
            None => known.upkeep.begun.is_some_and(|begun| self.is_older(begun, interval)),
            Some(scrub) if scrub.problems.is_empty() => self.is_older(scrub.at, interval),
            Some(scrub) => self.is_older(scrub.at, interval.min(AFTER_DAMAGE)),
        };
        if !(due || state.lfs_scrub.is_some()) || !self.hold_lease(state).await? {
            return Ok(0);
        }
        let under_way = self.scrub_under_way(state).await?;
        let told = under_way.as_ref().map_or(0, |scrub| scrub.problems.len());
        let mut scrub = match under_way {
            Some(scrub) => scrub,
            None => LfsScrub::after_packs(self.problems(&known).await?),
        };
        let is_done = self.scrub_lfs(&mut scrub, state).await?;
        let found = scrub.problems.len().saturating_sub(told) as u64;
        if is_done {
            self.report(scrub.problems).await?;
        } else {
            if found > 0 {
                // What is known so far is said at once.
                let last = known.upkeep.scrub.iter().flat_map(|last| &last.problems);
                self.report(scrub.problems.iter().chain(last).cloned().collect()).await?;
            }
            state.lfs_scrub = Some(scrub);
        }
        Ok(found)
    }

    /// Says in the log what is damaged.
    async fn report(&self, mut problems: Vec<String>) -> Result<(), Error> {
        let mut seen = HashSet::new();
        problems.retain(|problem| seen.insert(problem.clone()));
        problems.truncate(MAX_PROBLEMS);
        for problem in &problems {
            tracing::error!(repo.id = %self.id, problem, "damage in the store");
        }
        let upkeep = UpkeepRecord { scrubbed: Some(problems), ..UpkeepRecord::default() };
        self.append(|_| Some(Say { upkeep: upkeep.clone(), ..Say::default() })).await.map(drop)
    }

    async fn problems(&self, known: &Snapshot) -> Result<Vec<String>, Error> {
        let mut problems = Vec::new();
        for pack in known.packs.iter() {
            let checked = self.scrub_pack(pack).await.and(self.scrub_table(pack).await);
            if !matches!(checked, Err(Error::Missing { .. })) || self.still_has(pack).await? {
                note(checked, &mut problems)?;
            }
            let table = pack.reach.map_or(0, |table| table.bytes);
            self.rest(pack.record.bytes + pack.record.index_bytes + table).await;
        }
        problems.extend(self.unreadable().await?);
        for generation in known.upkeep.truncated + 1..=known.generation {
            let found = match read::read_number(&*self.shared.store, &self.id, generation).await {
                Ok(None) => Err(Error::Missing { key: keys::log_entry(&self.id, generation) }),
                Ok(Some(_)) => Ok(()),
                Err(error) => Err(error),
            };
            note(found, &mut problems)?;
            self.rest(4_096).await;
            if problems.len() >= MAX_PROBLEMS {
                break;
            }
        }
        problems.truncate(MAX_PROBLEMS);
        Ok(problems)
    }

    /// Whether the pack has not been replaced while everything was read, which takes long.
    async fn still_has(&self, pack: &StoredPack) -> Result<bool, Error> {
        let fresh = self.snapshot().await?;
        Ok(fresh.packs.iter().any(|other| other.record.place == pack.record.place))
    }

    /// Checkpoints and bases of these that cannot be read.
    async fn unreadable(&self) -> Result<Vec<String>, Error> {
        let mut suspects = Vec::new();
        for generation in open::checkpoints(&self.shared, &self.id).await? {
            if open::read_layer(&self.shared, &self.id, generation).await?.is_none() {
                suspects.push(keys::checkpoint(&self.id, generation));
            }
            self.rest(65_536).await;
        }
        for generation in open::bases(&self.shared, &self.id).await? {
            match open::read_base(&self.shared, &self.id, generation).await? {
                Some(base) => self.rest(base.table.bytes()).await,
                None => suspects.push(keys::references(&self.id, generation)),
            }
        }
        let mut problems = Vec::new();
        for key in suspects {
            // One that is gone was listed before it was deleted.
            if self.shared.store.get(&key).await?.is_some() {
                problems.push(format!("{key} cannot be read"));
            }
        }
        Ok(problems)
    }

    /// Reads the objects of a pack from the bucket, whatever the cache has. Inlined ones are read with their entries.
    async fn scrub_pack(&self, pack: &StoredPack) -> Result<(), Error> {
        let Place::Uploaded(upload) = pack.record.place else { return Ok(()) };
        let (pack_key, index_key) = (keys::pack(&self.id, &upload), keys::pack_index(&self.id, &upload));
        let folder = self.temporary()?;
        let (pack_file, index_file) = (folder.path().join("pack"), folder.path().join("idx"));
        let store = &self.shared.store;
        let PackRecord { bytes, index_bytes, .. } = pack.record;
        for (key, file, size) in [(&pack_key, &pack_file, bytes), (&index_key, &index_file, index_bytes)] {
            if !store.download(key, file, size).await? {
                return Err(Error::Missing { key: key.clone() });
            }
        }
        let record = pack.record.clone();
        let verified = blocking(move || {
            // Keeps the files until they are read.
            let _folder = folder;
            verify(&Content::File(pack_file), &Content::File(index_file), &record)
        });
        verified.await?.map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => Error::Damaged { key: pack_key, reason: error.to_string() },
            _ => Error::Cache(error),
        })
    }

    async fn scrub_table(&self, pack: &StoredPack) -> Result<(), Error> {
        match &pack.reach {
            Some(table) => self.download_table(table).await.map(drop),
            None => Ok(()),
        }
    }

    /// Waits for as long as the bytes may take.
    pub(super) async fn rest(&self, bytes: u64) {
        tokio::time::sleep(self.shared.policy.scrub_time(bytes)).await;
    }
}

/// Damage is a finding; that the store does not answer is none.
pub(super) fn note(checked: Result<(), Error>, problems: &mut Vec<String>) -> Result<(), Error> {
    match checked {
        Err(error) if error.is_damage() => problems.push(error.to_string()),
        other => return other,
    }
    Ok(())
}
