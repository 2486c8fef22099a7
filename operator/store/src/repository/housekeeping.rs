//! Housekeeping after commits: what maintenance must not leave until its next round. In the background.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::Repository;
use super::maintain::{BundleLook, LfsLook, LfsScrub, SeenLease};
use crate::state::PackId;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// What was last looked after.
#[derive(Default)]
pub(crate) struct Housekeeping {
    /// The generation that was.
    pub(super) kept: u64,
    pub(super) lease: SeenLease,
    /// Packs that have nothing for a reachability table.
    pub(super) without_commits: HashSet<PackId>,
    pub(super) bundle: BundleLook,
    pub(super) lfs: Option<LfsLook>,
    /// A scrub of LFS objects that goes on in the next round.
    pub(super) lfs_scrub: Option<LfsScrub>,
    /// Copies that a scrub has written anew, since they were last counted.
    pub(super) mended: u64,
}

impl Repository {
    /// Starts housekeeping, unless it is under way.
    pub(super) fn keep_house(self: &Arc<Self>) {
        let repository = Arc::clone(self);
        tokio::spawn(async move {
            // Pushes that come while this is under way find it busy, so it looks again before it ends.
            while let Ok(mut state) = repository.housekeeping.try_lock() {
                if repository.known().generation <= state.kept {
                    return;
                }
                if let Err(error) = repository.keep_small(&mut state).await {
                    tracing::warn!(repo.id = %repository.id, %error, "housekeeping failed; it is tried again after a later push");
                    return;
                }
                // What it wrote itself needs no look.
                state.kept = repository.known().generation;
                repository.keep_checkpoints();
                tokio::time::sleep(INTERVAL).await;
            }
        });
    }
}
