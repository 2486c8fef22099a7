//! Scrubbing: what the stores hold is read and compared with its checksums, slowly, so that damage is found while another store or a
//! back-up still has the object, and not when a user needs it. What another store has is written anew from there (ADR 0021).

use std::collections::HashSet;
use std::time::Duration;

use super::scrub_lfs::LfsScrub;
use super::{Housekeeping, Repository, Say};
use crate::entry::UpkeepRecord;
use crate::error::Error;
use crate::repository::copies::{Copies, Kept, Manner};
use crate::state::{Snapshot, StoredPack};

/// After a scrub that found something, the next one comes sooner: somebody may have mended it.
const AFTER_DAMAGE: Duration = Duration::from_hours(24);
/// Problems that are kept.
pub(super) const MAX_PROBLEMS: usize = 16;
/// How copies are read.
pub(super) const MANNER: Manner = Manner { mends: true, rests: true };

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
        let told = under_way.as_ref().map_or((0, 0), |scrub| (scrub.problems.len(), scrub.mended.len()));
        let mut scrub = match under_way {
            Some(scrub) => scrub,
            None => self.scrub_packs(&known).await?,
        };
        let is_done = self.scrub_lfs(&mut scrub, state).await?;
        let found = scrub.problems.len().saturating_sub(told.0) as u64;
        state.mended += scrub.mended.len().saturating_sub(told.1) as u64;
        if is_done {
            self.report(scrub.problems, scrub.mended).await?;
        } else {
            if found > 0 {
                // What is known so far is said at once.
                let last = known.upkeep.scrub.iter().flat_map(|last| &last.problems);
                self.report(scrub.problems.iter().chain(last).cloned().collect(), vec![]).await?;
            }
            state.lfs_scrub = Some(scrub);
        }
        Ok(found)
    }

    /// Says in the log what is damaged.
    async fn report(&self, mut problems: Vec<String>, mut mended: Vec<String>) -> Result<(), Error> {
        let mut seen = HashSet::new();
        problems.retain(|problem| seen.insert(problem.clone()));
        problems.truncate(MAX_PROBLEMS);
        mended.truncate(MAX_PROBLEMS);
        for problem in &problems {
            tracing::error!(repo.id = %self.id, problem, "damage in the store");
        }
        let upkeep = UpkeepRecord { scrubbed: Some(problems), mended, ..UpkeepRecord::default() };
        self.append(|_| Some(Say { upkeep: upkeep.clone(), ..Say::default() })).await.map(drop)
    }

    /// All but LFS objects.
    async fn scrub_packs(&self, known: &Snapshot) -> Result<LfsScrub, Error> {
        let mut copies = Copies::of(&self.shared, &self.id, MANNER)?;
        copies.examine_records().await?;
        copies.survey(known.upkeep.truncated).await?;
        for pack in known.packs.iter() {
            for kept in Kept::of_pack(&self.id, pack, known.generation) {
                let read = copies.read(&kept).await?;
                if read.is_sound() || !self.still_has(pack).await? {
                    continue;
                }
                let is_sound_at_home = read.is_sound_at_home();
                copies.mend(&kept, read).await?;
                if let (false, Some(table)) = (is_sound_at_home, &pack.reach) {
                    // One that stays damaged is made anew.
                    drop(self.download_table(table).await);
                }
            }
        }
        copies.examine_derived(known.generation).await?;
        copies.examine_log(known.generation, Some(known.digest), known.upkeep.truncated).await?;
        let (mut problems, mended) = copies.told();
        problems.truncate(MAX_PROBLEMS);
        Ok(LfsScrub::after_packs(problems, mended))
    }

    /// Whether the pack has not been replaced while everything was read, which takes long.
    async fn still_has(&self, pack: &StoredPack) -> Result<bool, Error> {
        let fresh = self.snapshot().await?;
        let is_it = |other: &StoredPack| (other.record.place, other.reach) == (pack.record.place, pack.reach);
        Ok(fresh.packs.iter().any(is_it))
    }

    /// Waits for as long as the bytes may take.
    pub(super) async fn rest(&self, bytes: u64) {
        tokio::time::sleep(self.shared.policy.scrub_time(bytes)).await;
    }
}
