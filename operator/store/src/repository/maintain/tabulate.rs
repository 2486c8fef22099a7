//! Tabulating: large packs get a reachability table each, which says what every commit of theirs brings (ADR 0011).

use std::path::Path;
use std::sync::Arc;

use super::{Housekeeping, Repository, Say};
use crate::blocking::blocking;
use crate::entry::{Place, ReachRecord, UpkeepRecord};
use crate::error::Error;
use crate::keys;
use crate::repository::LocalPacks;
use crate::state::{PackId, Snapshot, StoredPack};

impl Repository {
    /// Makes the tables that are missing or damaged, of older packs first; returns how many.
    pub(super) async fn tabulate(&self, state: &mut Housekeeping) -> Result<u64, Error> {
        let mut made = 0;
        let known = self.known();
        state.without_commits.retain(|id| known.packs.iter().any(|pack| pack.record.id == *id));
        self.forget_damaged_tables(&known);
        loop {
            let known = self.known();
            let is_due = |pack: &StoredPack| self.wants_table(pack) && !state.without_commits.contains(&pack.record.id);
            let Some(at) = known.packs.iter().position(is_due) else { return Ok(made) };
            if !self.hold_lease(state).await? {
                return Ok(made);
            }
            let id = known.packs[at].record.id;
            match self.make_table(&known, at).await? {
                None => {
                    state.without_commits.insert(id);
                }
                // Another server has replaced the pack, or was quicker.
                Some(false) => return Ok(made),
                Some(true) => made += 1,
            }
        }
    }

    fn wants_table(&self, pack: &StoredPack) -> bool {
        let is_upload = matches!(pack.record.place, Place::Uploaded(_));
        let lacks_it = pack.reach.is_none_or(|table| self.is_damaged(&table));
        is_upload && lacks_it && pack.record.objects >= self.shared.policy.table_objects
    }

    /// Makes a table and has the log name it, which may come too late; `None` when there is nothing to write down.
    async fn make_table(&self, known: &Snapshot, at: usize) -> Result<Option<bool>, Error> {
        let LocalPacks { packs } = self.local_packs(known).await?;
        let folder = self.temporary()?;
        let file = folder.path().join("reach");
        let Some((id, bytes)) = self.build_table(packs, at, file.clone()).await? else { return Ok(None) };
        let table = ReachRecord { id, bytes, upload: self.new_upload() };
        self.shared.store.upload(&keys::reach(&self.id, &table.upload), &file).await?;
        let pack = &known.packs[at];
        let is_named = self.name_table(pack, table).await?;
        if is_named {
            self.keep_table(pack.record.id, bytes, &file).await?;
            tracing::info!(repo.id = %self.id, table.bytes = bytes, "made a reachability table");
        }
        Ok(Some(is_named))
    }

    pub(in crate::repository) async fn name_table(&self, pack: &StoredPack, table: ReachRecord) -> Result<bool, Error> {
        let upkeep = UpkeepRecord { reach: vec![(pack.record.id, table)], ..UpkeepRecord::default() };
        let named = self.append(|known| {
            let is_same = |other: &StoredPack| (other.record.id, other.reach) == (pack.record.id, pack.reach);
            let lacks_it = known.packs.iter().any(is_same);
            // An upload that a sweep has passed may be gone already.
            let admitted = known.upkeep.admits(&table.upload);
            (lacks_it && admitted).then(|| Say { upkeep: upkeep.clone(), ..Say::default() })
        });
        Ok(named.await?.is_some())
    }

    async fn keep_table(&self, pack: PackId, bytes: u64, file: &Path) -> Result<(), Error> {
        let (cache, repository, file) = (Arc::clone(&self.shared.cache), self.id.clone(), file.to_owned());
        blocking(move || cache.add_table(&repository, &pack, bytes, &file)).await??;
        Ok(())
    }
}
