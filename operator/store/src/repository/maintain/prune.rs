//! Pruning: all packs become one without what nothing leads to any more.
//!
//! Takes long, so pushes go on meanwhile. The entry is written only if nothing that they brought hangs on what is left out; and
//! from that entry on, whatever push was checked before it is checked again before it is committed.

use std::sync::Arc;

use model::ObjectId;

use super::fold::Pruned;
use super::{Housekeeping, Repository};
use crate::blocking::blocking;
use crate::error::Error;
use crate::repository::{LocalPacks, StagedPack};
use crate::state::{PackId, Snapshot};

/// Rounds of looking at what was pushed meanwhile before it is left to another day.
const TRIES: u32 = 4;

impl Repository {
    /// Prunes, when it is due; returns how many packs were rewritten.
    pub(super) async fn prune(&self, state: &mut Housekeeping) -> Result<u64, Error> {
        let base = self.known();
        let Some(through) = self.prunable(&base) else { return Ok(0) };
        if !self.hold_lease(state).await? {
            return Ok(0);
        }
        let LocalPacks { packs } = self.local_packs(&base).await?;
        let young = base.upkeep.dropped.iter().filter(|(_, generation, _)| *generation > through);
        let tips: Vec<ObjectId> =
            base.refs.iter().map(|reference| reference.id).chain(young.map(|(id, ..)| id)).collect();
        let folder = self.temporary()?;
        let (tools, path) = (Arc::clone(&self.shared.tools), folder.path().to_owned());
        let pruned = blocking(move || tools.prune(&packs, &tips, &path).map_err(Error::Packs));
        let added = match pruned.await?? {
            Some(pack) => Some(self.stage_uploaded(pack).await?),
            None => None,
        };
        let retired: Vec<PackId> = base.packs.iter().map(|pack| pack.record.id).collect();
        for _ in 0..TRIES {
            let fresh = self.snapshot().await?;
            if !self.holds_alone(&base, &fresh, added.as_ref()).await? {
                return Ok(0);
            }
            let pruned = Pruned { through, seen: fresh.generation };
            if self.replace(&retired, added.as_slice(), Some(pruned)).await?.is_some() {
                tracing::info!(repo.id = %self.id, prune.packs = retired.len(), "removed what nothing leads to");
                return Ok(retired.len() as u64);
            }
        }
        Ok(0)
    }

    /// The generation up to which dropped tips may go; `None` when nothing is old enough.
    fn prunable(&self, base: &Snapshot) -> Option<u64> {
        let retention = self.shared.policy.unreachable_retention;
        let upkeep = &base.upkeep;
        let old = upkeep.dropped.iter().take_while(|(_, _, at)| self.is_older(*at, retention)).last();
        let junk = upkeep.junk_since.is_some_and(|since| self.is_older(since, retention));
        match old {
            Some((_, generation, _)) => Some(generation),
            None => junk.then_some(0),
        }
    }

    /// Whether everything that came after `base` finds what it needs in the pruned pack and among what came.
    async fn holds_alone(&self, base: &Snapshot, fresh: &Snapshot, pruned: Option<&StagedPack>) -> Result<bool, Error> {
        if sabotaged!(PruneUnseen) {
            return Ok(true);
        }
        let is_in = |snapshot: &Snapshot, id: &PackId| snapshot.packs.iter().any(|pack| pack.record.id == *id);
        if !base.packs.iter().all(|pack| is_in(fresh, &pack.record.id)) {
            return Ok(false);
        }
        let came: Vec<_> = fresh.packs.iter().filter(|pack| !is_in(base, &pack.record.id)).cloned().collect();
        let mut tips = fresh.refs.unlike(&base.refs);
        // What was dropped meanwhile is kept like everything that was dropped lately.
        tips.extend(fresh.upkeep.dropped.iter().filter(|(_, at, _)| *at > base.generation).map(|(id, ..)| id));
        let LocalPacks { packs: mut came } =
            self.local_packs(&Snapshot { packs: Arc::new(came), ..Snapshot::clone(fresh) }).await?;
        if let Some(pruned) = pruned {
            came.insert(0, pruned.local());
        }
        let (tools, complete) = (Arc::clone(&self.shared.tools), pruned.is_some());
        blocking(move || tools.covers(&came, complete, &tips).map_err(Error::Packs)).await?
    }
}
