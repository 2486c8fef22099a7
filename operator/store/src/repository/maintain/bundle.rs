//! Bundles: what the default branch leads to, in one object that clients read from the bucket themselves (ADR 0020).
//!
//! One is made where the manifest wants it and enough has come since the last one. The log ends it when its branch is rewound or deleted;
//! then it is deleted like a pack.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::{ObjectId, RefName, RepositoryPath};
use tokio::time::Instant;

use super::{Housekeeping, Repository, Say, TRIES};
use crate::blocking::blocking;
use crate::entry::{BundleChange, BundleRecord, UpkeepRecord};
use crate::error::Error;
use crate::keys;
use crate::object::StoreError;
use crate::repositories::Repositories;
use crate::repository::LocalPacks;
use crate::state::Snapshot;

/// A bundle is made anew when this part of what was stored then has come or gone.
const PART: u64 = 4;
/// After one was made none is made for so many times as long as that took: a branch may be rewound all day.
const REST: u32 = 10;
/// How often it is looked whether the bucket still has it.
const LOOK: Duration = Duration::from_hours(1);

/// What a manifest wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleWish {
    /// The default branch.
    pub branch: RefName,
    /// From so many bytes of packs on.
    pub min_bytes: u64,
}

/// When this server did what, last.
#[derive(Debug, Default)]
pub(crate) struct BundleLook {
    looked: Option<Instant>,
    rest_until: Option<Instant>,
}

impl Repositories {
    /// Makes the bundle of a repository of the store if that is due, or gives up one that is not wanted. True: a new one is there.
    ///
    /// # Errors
    /// When the store fails; it is done by the next round.
    pub async fn keep_bundle(&self, path: &RepositoryPath, wish: Option<&BundleWish>) -> Result<bool, Error> {
        let Some(id) = self.find(path).await? else { return Ok(false) };
        let repository = self.open(&id).await?;
        repository.keep_bundle(wish.filter(|_| repository.is_direct())).await
    }
}

impl Repository {
    pub(crate) async fn keep_bundle(&self, wish: Option<&BundleWish>) -> Result<bool, Error> {
        if wish.is_none() && self.known().upkeep.bundle.is_none() {
            return Ok(false);
        }
        let mut state = self.housekeeping.lock().await;
        let known = self.snapshot().await?;
        let Some(wish) = wish.filter(|wish| known.bytes() >= wish.min_bytes) else {
            return self.withdraw_bundle(&known, &mut state).await.map(|()| false);
        };
        let is_lost = self.has_lost_bundle(&known, &mut state).await?;
        let Some((branch, tip)) = due(&known, wish, is_lost) else { return Ok(false) };
        let rests = state.bundle.rest_until.is_some_and(|until| Instant::now() < until);
        if rests || !self.hold_lease(&mut state).await? {
            return Ok(false);
        }
        let began = Instant::now();
        let made = self.make_bundle(&known, branch, tip).await;
        state.bundle.rest_until = Some(Instant::now() + began.elapsed() * REST);
        self.shared.metrics.maintenance.count_bundle(made.as_ref().copied());
        made
    }

    async fn withdraw_bundle(&self, known: &Snapshot, state: &mut Housekeeping) -> Result<(), Error> {
        if known.upkeep.bundle.is_none() || !self.hold_lease(state).await? {
            return Ok(());
        }
        let upkeep = UpkeepRecord { bundle: Some(BundleChange::Withdrawn), ..UpkeepRecord::default() };
        let withdrawn = self
            .append(|known| known.upkeep.bundle.is_some().then(|| Say { upkeep: upkeep.clone(), ..Say::default() }))
            .await?;
        if withdrawn.is_some() {
            tracing::info!(repo.id = %self.id, "gave up a bundle that is not wanted any more");
        }
        Ok(())
    }

    /// Whether the bucket does not have what the log says, as far as a look once in a while tells.
    async fn has_lost_bundle(&self, known: &Snapshot, state: &mut Housekeeping) -> Result<bool, Error> {
        let Some(bundle) = &known.upkeep.bundle else { return Ok(false) };
        if state.bundle.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Ok(false);
        }
        let key = keys::bundle(&self.id, &bundle.upload);
        let is_lost = match self.shared.store.stream(&key, 0..1, bundle.bytes).await {
            Ok(found) => found.is_none(),
            Err(StoreError::Damaged { .. }) => true,
            Err(error) => return Err(error.into()),
        };
        if is_lost {
            tracing::warn!(repo.id = %self.id, key, "a bundle is missing or has another size; another one is made");
        } else {
            state.bundle.looked = Some(Instant::now());
        }
        Ok(is_lost)
    }

    /// Makes a bundle of what a branch was and has the log name it, which may come too late.
    async fn make_bundle(&self, known: &Snapshot, branch: RefName, tip: ObjectId) -> Result<bool, Error> {
        let LocalPacks { packs } = self.local_packs(known).await?;
        let mut tables: Vec<Option<PathBuf>> = Vec::with_capacity(packs.len());
        for pack in known.packs.iter() {
            // One that cannot be had is told and made again by who makes tables.
            tables.push(self.table(pack).await.unwrap_or_default());
        }
        let folder = self.temporary()?;
        let (tools, file, name) = (Arc::clone(&self.shared.tools), folder.path().join("bundle"), branch.clone());
        let out = file.clone();
        let write = move || tools.bundle(&packs, &tables, (&name, tip), &out).map_err(Error::Packs);
        let bytes = blocking(write).await??;
        let upload = self.new_upload();
        self.shared.store.upload(&keys::bundle(&self.id, &upload), &file).await?;
        let bundle = BundleRecord { upload, bytes, branch, tip, stored: known.bytes() };
        let is_named = self.name_bundle(bundle).await?;
        if is_named {
            tracing::info!(repo.id = %self.id, bundle.bytes = bytes, "made a bundle");
        }
        Ok(is_named)
    }

    /// Says in the log that there is a bundle, unless its branch does not lead to it any more.
    pub(in crate::repository) async fn name_bundle(&self, bundle: BundleRecord) -> Result<bool, Error> {
        let BundleRecord { upload, tip, .. } = bundle;
        let branch = bundle.branch.clone();
        let upkeep = UpkeepRecord { bundle: Some(BundleChange::Made(bundle)), ..UpkeepRecord::default() };
        for _ in 0..TRIES {
            let fresh = self.snapshot().await?;
            let Some(value) = fresh.refs.get(&branch) else { return Ok(false) };
            if !self.is_behind(&fresh, tip, value).await? {
                return Ok(false);
            }
            let named = self.append(|known| {
                // What it moved to meanwhile is to be looked at. And an upload that a sweep has passed may be gone already.
                let holds = known.refs.get(&branch) == Some(value) && known.upkeep.admits(&upload);
                holds.then(|| Say { upkeep: upkeep.clone(), ..Say::default() })
            });
            if named.await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn is_behind(&self, snapshot: &Snapshot, old: ObjectId, new: ObjectId) -> Result<bool, Error> {
        if old == new {
            return Ok(true);
        }
        let LocalPacks { packs } = self.local_packs(snapshot).await?;
        let tools = Arc::clone(&self.shared.tools);
        blocking(move || tools.is_behind(&packs, old, new).map_err(Error::Packs)).await?
    }
}

/// Pure: the branch to make a bundle of and its value, if it is time.
fn due(known: &Snapshot, wish: &BundleWish, is_lost: bool) -> Option<(RefName, ObjectId)> {
    // As with `HEAD`: the branch of the first push takes the place of one that does not exist.
    let mut branches = [Some(&wish.branch), known.head.as_ref()].into_iter().flatten();
    let (branch, tip) = branches.find_map(|branch| Some((branch, known.refs.get(branch)?)))?;
    let stored = known.bytes();
    let is_due = match &known.upkeep.bundle {
        Some(bundle) if bundle.branch == *branch && !is_lost => {
            // What was pruned counts as well: else what takes its place would not be seen.
            tip != bundle.tip && stored.abs_diff(bundle.stored) >= (bundle.stored / PART).max(1)
        }
        _ => true,
    };
    is_due.then(|| (branch.clone(), tip))
}

#[cfg(test)]
mod tests;
