//! How many bytes the LFS objects of a repository have, about: what a listing found that may be some minutes old, what this server has
//! taken since, and what it let clients send to the bucket. Listed in the background, and only where somebody asks, which is where there is
//! a limit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::RepositoryId;
use model::lfs::Oid;
use tokio::sync::watch;
use tokio::time::Instant;

use super::LfsObjects;
use super::promises::Promises;

/// It is listed again after this time.
const FRESH: Duration = Duration::from_mins(10);
/// Whoever asks first waits for the listing, but not longer than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known of the repositories that somebody asked about.
#[derive(Debug, Default)]
pub(crate) struct Usages(Mutex<HashMap<RepositoryId, Arc<Usage>>>);

#[derive(Debug, Default)]
struct Usage {
    bytes: watch::Sender<Option<u64>>,
    listing: Mutex<Listing>,
    /// What clients were let to send to the bucket themselves.
    promises: Mutex<Promises>,
}

#[derive(Debug, Default)]
struct Listing {
    /// When the last one began.
    began: Option<Instant>,
    is_underway: bool,
    /// Bytes that were taken since; the listing may have missed them.
    taken: u64,
}

impl Usages {
    fn of(&self, id: &RepositoryId) -> Arc<Usage> {
        let mut usages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(usages.entry(id.clone()).or_default())
    }

    /// This server has taken an object.
    pub(super) fn took(&self, id: &RepositoryId, oid: &Oid, bytes: u64) {
        let usages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(usage) = usages.get(id) else { return };
        usage.promises().remove(oid);
        usage.listing().taken += bytes;
        usage.bytes.send_modify(|known| *known = known.map(|known| known.saturating_add(bytes)));
    }
}

impl Usage {
    fn listing(&self) -> MutexGuard<'_, Listing> {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn promises(&self) -> MutexGuard<'_, Promises> {
        let mut promises = self.promises.lock().unwrap_or_else(PoisonError::into_inner);
        promises.expire();
        promises
    }

    /// Whether it is time for a listing, which is the caller's to do then.
    fn begin(&self) -> bool {
        let mut listing = self.listing();
        let is_fresh = listing.began.is_some_and(|began| began.elapsed() < FRESH);
        if listing.is_underway || is_fresh {
            return false;
        }
        *listing = Listing { began: Some(Instant::now()), is_underway: true, taken: 0 };
        true
    }

    /// Takes the outcome of a listing; none when it failed.
    fn end(&self, listed: Option<u64>) {
        let mut listing = self.listing();
        listing.is_underway = false;
        match listed {
            Some(bytes) => drop(self.bytes.send_replace(Some(bytes.saturating_add(listing.taken)))),
            None => listing.began = None,
        }
    }
}

impl LfsObjects {
    /// Takes note that a client is let to send an object to the bucket; false when too many are already, of which nothing has come.
    #[must_use]
    pub fn promise(&self, oid: &Oid, bytes: u64) -> bool {
        self.shared.lfs_usage.of(&self.id).promises().add(*oid, bytes)
    }

    /// What of [`Self::usage`] is an object that a client was let to send.
    #[must_use]
    pub fn promised(&self, oid: &Oid) -> u64 {
        self.shared.lfs_usage.of(&self.id).promises().get(oid)
    }

    /// Bytes of all objects of the repository, about; `None` as long as nobody knows. What was given up does not count.
    pub async fn usage(&self) -> Option<u64> {
        let usage = self.shared.lfs_usage.of(&self.id);
        if usage.begin() {
            let (objects, usage) = (self.clone(), Arc::clone(&usage));
            tokio::spawn(async move {
                let listed = objects.listed_bytes().await;
                usage.end(listed.inspect_err(|error| tracing::warn!(%error, "failed to list lfs objects")).ok());
            });
        }
        let mut bytes = usage.bytes.subscribe();
        let known = tokio::time::timeout(PATIENCE, bytes.wait_for(Option::is_some)).await;
        let known = known.ok().and_then(|known| *known.ok()?)?;
        Some(known.saturating_add(usage.promises().bytes))
    }

    async fn listed_bytes(&self) -> Result<u64, crate::Error> {
        let mut bytes: u64 = 0;
        self.each_life(|life| {
            // Also what is not visible: somebody may have sent it and never say so.
            if life.gone.is_none() {
                bytes = bytes.saturating_add(life.bytes);
            }
        })
        .await?;
        Ok(bytes)
    }
}
