//! Truncation: entries that a checkpoint covers, whose packs are folded and whose events are old, become stubs.
//!
//! They are replaced, not deleted: a number of the log stays taken for ever. A server that stood still for a month would
//! otherwise find its next number free, write it, and acknowledge a push that nobody else ever sees.

use std::collections::BTreeSet;

use futures::future::try_join_all;

use super::{CONCURRENCY, Housekeeping, REST, Repository, Say};
use crate::entry::{Numbered, Stub, UpkeepRecord};
use crate::error::Error;
use crate::keys;
use crate::repository::{open, read};
use crate::state::Snapshot;

/// Entries that one round makes stubs of.
const BATCH: u64 = 10_000;

impl Repository {
    /// Makes stubs of old entries; returns how many.
    pub(super) async fn truncate(&self, state: &mut Housekeeping) -> Result<u64, Error> {
        let known = self.known();
        let from = known.upkeep.truncated + 1;
        // Two checkpoints cover what goes: should one be damaged, the other one and the entries behind it still tell all.
        let checkpoints = open::checkpoints(&self.shared, &self.id).await?;
        let Some(covered) = checkpoints.iter().rev().nth(1).copied() else { return Ok(0) };
        let end = through(&known, covered).min(from + BATCH - 1);
        if end < from {
            return Ok(0);
        }
        let Some(bases) = self.covering(covered, &checkpoints).await? else { return Ok(0) };
        if !self.hold_lease(state).await? {
            return Ok(0);
        }
        let mut done = from - 1;
        while done < end {
            let last = end.min(done + CONCURRENCY as u64);
            let stubs = try_join_all((done + 1..=last).map(|generation| self.make_stub(generation))).await?;
            done += stubs.iter().take_while(|stub| **stub).count() as u64;
            if done < last {
                break;
            }
            tokio::time::sleep(REST).await;
        }
        if done < from {
            return Ok(0);
        }
        let upkeep = UpkeepRecord { truncated: done, ..UpkeepRecord::default() };
        self.append(|known| (known.upkeep.truncated < done).then(|| Say { upkeep: upkeep.clone(), ..Say::default() }))
            .await?;
        self.delete_checkpoints(&checkpoints, covered).await?;
        self.delete_bases(&bases, covered.min(done)).await?;
        tracing::info!(repo.id = %self.id, entries = done, "made stubs of old entries");
        Ok(done + 1 - from)
    }

    /// The bases of that checkpoint and of the newer ones, if all of these can be read: they are about to be needed.
    async fn covering(&self, covered: u64, checkpoints: &[u64]) -> Result<Option<BTreeSet<u64>>, Error> {
        let mut bases = BTreeSet::new();
        for generation in checkpoints.iter().filter(|generation| **generation >= covered) {
            let Some(state) = open::read_checkpoint(&self.shared, &self.id, *generation).await? else {
                return Ok(None);
            };
            bases.extend(state.refs.base().map(|base| base.generation));
        }
        Ok(Some(bases))
    }

    /// False when the entry is too young. A stub says the same whoever writes it and however often.
    async fn make_stub(&self, generation: u64) -> Result<bool, Error> {
        let key = keys::log_entry(&self.id, generation);
        match read::read_number(&*self.shared.store, &self.id, generation).await? {
            Some(Numbered::Stub(_)) => Ok(true),
            Some(Numbered::Entry(read)) if self.is_older(read.entry.time, self.shared.policy.log_retention) => {
                if sabotaged!(DeleteEntries) {
                    self.shared.store.delete(&key).await?;
                    return Ok(true);
                }
                self.shared.store.put(&key, Stub::of(&read).encode()).await?;
                Ok(true)
            }
            Some(Numbered::Entry(_)) => Ok(false),
            None => Err(Error::Missing { key }),
        }
    }

    async fn delete_checkpoints(&self, checkpoints: &[u64], kept_from: u64) -> Result<(), Error> {
        for generation in checkpoints.iter().filter(|generation| **generation < kept_from) {
            self.shared.store.delete(&keys::checkpoint(&self.id, *generation)).await?;
        }
        Ok(())
    }
}

impl Repository {
    /// Deletes the bases that no kept checkpoint names. A server whose own base is as old makes another one when it learns what
    /// was truncated, so none is named again.
    async fn delete_bases(&self, kept: &BTreeSet<u64>, before: u64) -> Result<(), Error> {
        let bases = open::bases(&self.shared, &self.id).await?;
        for generation in bases.into_iter().filter(|base| *base < before && !kept.contains(base)) {
            self.shared.store.delete(&keys::references(&self.id, generation)).await?;
        }
        Ok(())
    }
}

/// The last entry that may go when a checkpoint covers this one. Others may have made it: what is in entries that this server has not
/// read yet, it cannot know.
fn through(known: &Snapshot, covered: u64) -> u64 {
    covered.min(known.generation).min(whole_from(known).saturating_sub(1))
}

/// The first entry whose payload somebody still needs.
fn whole_from(snapshot: &Snapshot) -> u64 {
    if sabotaged!(StubNeeded) {
        return u64::MAX;
    }
    let inlined = snapshot.packs.iter().filter(|pack| Snapshot::is_inlined(pack));
    inlined.map(|pack| pack.generation).min().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_were_not_read_stay_whatever_covers_them() {
        let known = Snapshot { generation: 8, ..Snapshot::default() };
        assert_eq!(through(&known, 10), 8);
        assert_eq!(through(&known, 5), 5);
    }
}
