//! Folding: the newest small packs become one.
//!
//! It never waits for pushes, and a push never waits longer than for one entry.

use std::sync::Arc;

use super::{Housekeeping, Repository, Say};
use crate::blocking::blocking;
use crate::entry::{Compaction, Place};
use crate::error::Error;
use crate::repository::{LocalPack, LocalPacks, ReceivedPack, StagedPack};
use crate::state::{PackId, Snapshot, StoredPack};

/// So many times the packs that are to be folded, and whoever has the lease is not at it: it may have been killed.
const OVERDUE: usize = 4;
/// Packs from this size on are left alone.
const LARGE_BYTES: u64 = 2 << 30;

/// What a replacement leaves out.
#[derive(Clone, Copy)]
pub(super) struct Pruned {
    /// Tips that were dropped up to this generation, and what only they led to.
    pub(super) through: u64,
    /// The generation up to which everybody was seen to do without; nothing may have come after it.
    pub(super) seen: u64,
}

impl Repository {
    /// Folds, when it is due; returns how many packs became one.
    pub(super) async fn fold(&self, state: &mut Housekeeping) -> Result<u64, Error> {
        let base = self.known();
        let inlined = base.packs.iter().filter(|pack| Snapshot::is_inlined(pack)).count();
        let victims = newest_small(&base.packs);
        if inlined < self.shared.policy.fold_packs || victims.len() < 2 {
            return Ok(0);
        }
        if inlined < OVERDUE * self.shared.policy.fold_packs && !self.hold_lease(state).await? {
            return Ok(0);
        }
        let chosen = Snapshot { packs: Arc::new(victims.clone()), ..Snapshot::clone(&base) };
        let LocalPacks { packs } = self.local_packs(&chosen).await?;
        let retired: Vec<PackId> = victims.iter().map(|pack| pack.record.id).collect();
        let folded = self.write_folded(packs).await?;
        if self.replace(&retired, &[folded], None).await?.is_none() {
            // Another server folded them first; our pack is an orphan, which a sweep removes.
            return Ok(0);
        }
        tracing::info!(repo.id = %self.id, fold.packs = retired.len(), "folded packs");
        Ok(retired.len() as u64)
    }

    async fn write_folded(&self, packs: Vec<LocalPack>) -> Result<StagedPack, Error> {
        let folder = self.temporary()?;
        let tools = Arc::clone(&self.shared.tools);
        let path = folder.path().to_owned();
        let fold = blocking(move || {
            let received = tools.fold(&packs, &path).map_err(Error::Packs)?;
            Ok::<_, Error>(ReceivedPack { exact: packs.iter().all(|pack| pack.exact), ..received })
        });
        let received = fold.await??;
        self.stage_uploaded(received).await
    }

    /// Puts packs in the place of others, unless one of those has gone meanwhile; returns the generation.
    pub(super) async fn replace(
        &self,
        retired: &[PackId],
        added: &[StagedPack],
        pruned: Option<Pruned>,
    ) -> Result<Option<u64>, Error> {
        let compaction = Compaction {
            added: added.iter().map(|pack| pack.record.clone()).collect(),
            retired: retired.to_vec(),
            pruned_through: pruned.map(|pruned| pruned.through),
        };
        self.append(|known| {
            let still_there = |id: &PackId| known.packs.iter().any(|pack| pack.record.id == *id);
            // An upload that a sweep has passed may be gone already.
            let admitted = compaction.added.iter().all(|pack| match &pack.place {
                Place::Uploaded(upload) => known.upkeep.admits(upload),
                Place::Inlined { .. } => true,
            });
            let unchanged = pruned.is_none_or(|pruned| pruned.seen == known.generation);
            (admitted && unchanged && retired.iter().all(still_there))
                .then(|| Say { compaction: Some(compaction.clone()), ..Say::default() })
        })
        .await
    }
}

/// Pure: the newest packs to fold. All inlined ones, then older ones while they are not twice as large as what is gathered.
fn newest_small(packs: &[StoredPack]) -> Vec<StoredPack> {
    let mut gathered = 0;
    let mut from = packs.len();
    for (at, pack) in packs.iter().enumerate().rev() {
        let bytes = pack.record.bytes;
        if bytes > LARGE_BYTES || (!Snapshot::is_inlined(pack) && bytes >= 2 * gathered) {
            break;
        }
        gathered += bytes;
        from = at;
    }
    packs[from..].to_vec()
}
