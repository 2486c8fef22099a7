//! Deleting LFS objects that no pointer file names any more (ADR 0015).
//!
//! A pointer file counts as long as a pack holds it, whether anything leads to it or not: pruning is what takes it away. An object
//! that none names and that is older than the retention is given up; what was given up so long ago is deleted, unless a pointer
//! file came meanwhile. Nothing is given up or deleted unless every object of every pack could be read.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use jiff::Timestamp;
use model::lfs::Oid;

use super::{CONCURRENCY, Housekeeping, REST, Repository};
use crate::blocking::blocking;
use crate::error::Error;
use crate::lfs::{LfsObjects, Life};
use crate::repository::LocalPacks;
use crate::state::{PackId, Snapshot};

/// It is looked at most once in this time.
const INTERVAL: Duration = Duration::from_hours(24);

/// When it was last looked.
#[derive(Debug)]
pub(crate) struct LfsLook {
    at: Timestamp,
    /// The packs, and the number of objects, of which nothing had to go: as long as they are the same, nothing has to.
    settled: Option<(Vec<PackId>, u64)>,
}

/// What the listing of the objects says.
#[derive(Debug, Default)]
struct Found {
    objects: u64,
    /// Whether something is too young to be given up or deleted.
    waiting: bool,
    /// What may be given up.
    old: Vec<(Oid, u32)>,
    /// What was given up long ago.
    ended: Vec<Life>,
}

impl Repository {
    /// Gives up and deletes what is due; returns how many objects were deleted.
    pub(super) async fn delete_lfs(&self, state: &mut Housekeeping) -> Result<u64, Error> {
        let (at, retention) = (self.shared.clock.now(), self.shared.policy.lfs_retention());
        if state.lfs.as_ref().is_some_and(|look| !self.is_older(look.at, INTERVAL.min(retention))) {
            return Ok(0);
        }
        let objects = LfsObjects::of(&self.shared, &self.id);
        let found = self.listed_lfs(&objects, retention).await?;
        let as_it_is = (packs(&self.known()), found.objects);
        let settled = state.lfs.take().and_then(|look| look.settled).filter(|settled| *settled == as_it_is);
        let is_idle = settled.is_some() || found.old.is_empty() && found.ended.is_empty();
        if is_idle || !self.hold_lease(state).await? {
            state.lfs = Some(LfsLook { at, settled });
            return Ok(0);
        }
        // Newer than all that was listed.
        let snapshot = self.snapshot().await?;
        let unnamed = self.unnamed(&snapshot, &found).await?;
        let given_up: Vec<_> = found.old.into_iter().filter(|(oid, _)| unnamed.contains(oid)).collect();
        for some in given_up.chunks(CONCURRENCY) {
            try_join_all(some.iter().map(|(oid, life)| objects.end(oid, *life))).await?;
            tokio::time::sleep(REST).await;
        }
        let (mut deleted, mut bytes) = (0, 0);
        for life in &found.ended {
            if self.delete_life(&objects, life, !unnamed.contains(&life.oid)).await? {
                (deleted, bytes) = (deleted + 1, bytes + life.bytes);
            }
            tokio::time::sleep(REST).await;
        }
        if deleted > 0 || !given_up.is_empty() {
            let given_up = given_up.len();
            tracing::info!(
                repo.id = %self.id,
                lfs.given_up = given_up,
                lfs.deleted = deleted,
                lfs.bytes = bytes,
                "gave up or deleted lfs objects that no pointer file names"
            );
        }
        let is_settled = !found.waiting && given_up.is_empty() && found.ended.is_empty();
        state.lfs = Some(LfsLook { at, settled: is_settled.then(|| (packs(&snapshot), found.objects)) });
        Ok(deleted)
    }

    /// Those objects of which something may go that no pointer file names.
    async fn unnamed(&self, snapshot: &Snapshot, found: &Found) -> Result<HashSet<Oid>, Error> {
        let LocalPacks { packs } = self.local_packs(snapshot).await?;
        let ended = found.ended.iter().map(|life| life.oid);
        let oids: HashSet<Oid> = found.old.iter().map(|(oid, _)| *oid).chain(ended).collect();
        let tools = Arc::clone(&self.shared.tools);
        blocking(move || tools.lfs_unnamed(&packs, oids)).await?.map_err(Error::Packs)
    }

    /// False when the object is needed and cannot be saved.
    async fn delete_life(&self, objects: &LfsObjects, life: &Life, is_named: bool) -> Result<bool, Error> {
        if is_named {
            match objects.revive(&life.oid, life.number).await {
                Ok(()) => {}
                Err(error) if error.is_damage() => {
                    tracing::error!(repo.id = %self.id, lfs.oid = %life.oid, problem = %error, "damage in the store");
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        objects.delete(&life.oid, life.number).await?;
        Ok(true)
    }

    async fn listed_lfs(&self, objects: &LfsObjects, retention: Duration) -> Result<Found, Error> {
        let mut found = Found::default();
        let each = |life: &Life| {
            let Some(stored) = life.stored else { return };
            found.objects += 1;
            match life.gone {
                Some(gone) if self.is_older(gone, retention) => found.ended.push(*life),
                None if self.is_older(stored, retention) => found.old.push((life.oid, life.number)),
                _ => found.waiting = true,
            }
        };
        objects.each_life(each).await?;
        Ok(found)
    }
}

fn packs(snapshot: &Snapshot) -> Vec<PackId> {
    snapshot.packs.iter().map(|pack| pack.record.id).collect()
}
