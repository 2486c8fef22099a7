//! Maintenance: what keeps a repository small and fast for years. None of it is on a request path.
//!
//! Whatever maintenance decides goes through the log and is checked there like a push, so two servers that both do it cannot
//! harm each other; a lease in the log only saves doing it twice. Objects are deleted when the log says that no entry can name
//! them ever again, and not before readers that knew them have had time to end (ADR 0008).
//!
//! - **fold**: the newest small packs become one, so that the number of packs grows with the logarithm of the pushes;
//! - **prune**: all packs become one without what nothing leads to any more;
//! - **tabulate**: large packs get a table of what each of their commits brings, so that few questions need a walk (ADR 0011);
//! - **bundle**: what the default branch leads to is put into one object for clients that read it from the bucket (ADR 0020);
//! - **delete**: the objects of packs that were folded or pruned;
//! - **lfs**: LFS objects that no pointer file names any more are deleted (ADR 0015);
//! - **truncate**: old entries become stubs, old checkpoints go;
//! - **sweep**: uploads that no entry names, left by pushes that crashed;
//! - **scrub**: everything that the stores hold is read and verified; what one has lost is written anew from another one (ADR 0021).

mod bundle;
mod delete;
mod fold;
mod lfs;
mod prune;
mod scrub;
mod scrub_lfs;
mod sweep;
mod tabulate;
mod truncate;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Repository;
use super::commit::Draft;
use super::housekeeping::Housekeeping;
use crate::entry::{Compaction, UpkeepRecord};
use crate::error::Error;
use crate::replicated::Depth;
use crate::repositories::Repositories;
use crate::state::{Lease, Snapshot};
pub(super) use bundle::BundleLook;
pub use bundle::BundleWish;
pub(super) use lfs::LfsLook;
use model::RepositoryPath;
pub(super) use scrub_lfs::LfsScrub;

/// Others leave maintenance alone for this long.
const LEASE_SECONDS: u64 = 60;
/// Tries to get an entry of maintenance into the log before it is left to the next round.
const TRIES: u32 = 8;
/// Objects that are read, written or deleted at once.
const CONCURRENCY: usize = 8;
/// A rest after that many, so that requests have the bucket for themselves.
const REST: Duration = Duration::from_millis(20);

/// When maintenance does what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Objects that nothing names any more are deleted after this time; longer than any request may take.
    pub grace: Duration,
    /// What only deleted or rewound references led to is kept for this time.
    pub unreachable_retention: Duration,
    /// LFS objects that no pointer file names are given up after this time, and deleted after as long again; never sooner than
    /// commits that nothing leads to. Longer than anybody takes between uploading large files and pushing what names them.
    pub lfs_retention: Duration,
    /// Entries of the log are kept whole for this time, for those who read events.
    pub log_retention: Duration,
    /// Everything is read and verified once in this time.
    pub scrub_interval: Duration,
    /// Bytes that a scrub reads in a second, at most.
    pub scrub_rate: u64,
    /// Packs are folded when so many of them lie inside entries.
    pub fold_packs: usize,
    /// A pack gets a reachability table from so many objects on.
    pub table_objects: u64,
    /// A checkpoint is written after so many entries.
    pub checkpoint_entries: u64,
    /// Fewer changed references are not worth a table of all of them.
    pub base_changes: usize,
}

impl Default for Policy {
    fn default() -> Self {
        let day = Duration::from_hours(24);
        Self {
            grace: day,
            unreachable_retention: 14 * day,
            lfs_retention: 14 * day,
            log_retention: 14 * day,
            scrub_interval: 30 * day,
            scrub_rate: 32 << 20,
            fold_packs: 32,
            table_objects: 4_096,
            checkpoint_entries: 64,
            base_changes: 4_096,
        }
    }
}

impl Policy {
    /// For how long LFS objects are kept that no pointer file names.
    pub(crate) fn lfs_retention(&self) -> Duration {
        self.lfs_retention.max(self.unreachable_retention)
    }

    /// How long a scrub may take for so many bytes.
    pub(crate) fn scrub_time(&self, bytes: u64) -> Duration {
        Duration::from_micros(bytes.saturating_mul(1_000_000) / self.scrub_rate.max(1))
    }
}

/// What a round of maintenance did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Maintained {
    /// Packs that were replaced by fewer.
    pub packs: u64,
    /// Packs that were rewritten without unreachable objects.
    pub pruned: u64,
    /// Packs that got a reachability table.
    pub tables: u64,
    /// Packs and tables whose objects were deleted.
    pub deleted: u64,
    /// LFS objects that were deleted.
    pub lfs: u64,
    /// Entries that became stubs.
    pub truncated: u64,
    /// Uploads without an owner that were deleted.
    pub orphans: u64,
    /// Problems that a scrub found.
    pub damaged: u64,
    /// Objects that a scrub found damaged or missing in one store, and has written anew from another one's.
    pub mended: u64,
}

/// The lease that was last seen in the log, and when.
#[derive(Debug, Default)]
pub(super) struct SeenLease(Option<(u64, Instant)>);

impl Repositories {
    /// A round of maintenance on a repository of the store; nothing when the store does not hold it.
    ///
    /// # Errors
    /// When the store fails; what was done stands, the rest is done by the next round.
    pub async fn maintain(&self, path: &RepositoryPath) -> Result<Maintained, Error> {
        match self.find(path).await? {
            Some(id) => self.open(&id).await?.maintain().await,
            None => Ok(Maintained::default()),
        }
    }
}

impl Repository {
    /// A round of maintenance: all that is due, unless another server is at it.
    ///
    /// # Errors
    /// When the store fails; what was done stands, the rest is done by the next round.
    pub async fn maintain(self: &Arc<Self>) -> Result<Maintained, Error> {
        let mut state = self.housekeeping.lock().await;
        let round = async {
            self.snapshot().await?;
            Ok(Maintained {
                // First: what is damaged keeps the others from their work, and may be mended.
                damaged: self.scrub(&mut state).await?,
                mended: std::mem::take(&mut state.mended),
                packs: self.fold(&mut state).await?,
                pruned: self.prune(&mut state).await?,
                deleted: self.delete_retired(&mut state).await?,
                truncated: self.truncate(&mut state).await?,
                orphans: self.sweep(&mut state).await?,
                tables: self.tabulate(&mut state).await?,
                lfs: self.delete_lfs(&mut state).await?,
            })
        };
        let done = round.await;
        if let Some(replicated) = &self.shared.replicated {
            replicated.keep(self.known().uploads());
            replicated.kick(Depth::Everything);
        }
        self.shared.metrics.maintenance.count(done.as_ref());
        drop(state);
        self.keep_house();
        self.keep_checkpoints();
        done
    }

    /// What cannot wait for the next round: a busy repository would have thousands of small packs by then.
    pub(super) async fn keep_small(&self, state: &mut Housekeeping) -> Result<(), Error> {
        let packs = self.fold(state).await?;
        let deleted = self.delete_retired(state).await?;
        self.shared.metrics.maintenance.count(Ok(&Maintained { packs, deleted, ..Maintained::default() }));
        Ok(())
    }

    /// Whether maintenance is this server's; takes it when it is nobody's.
    async fn hold_lease(&self, state: &mut Housekeeping) -> Result<bool, Error> {
        if let Some((generation, lease)) = self.known().upkeep.lease {
            let now = Instant::now();
            let seen = match state.lease.0 {
                Some((number, seen)) if number == generation => seen,
                _ => now,
            };
            state.lease.0 = Some((generation, seen));
            if now.duration_since(seen) < Duration::from_secs(lease.seconds) {
                return Ok(lease.holder == self.shared.process);
            }
        }
        let before = self.known().upkeep.lease;
        // Somebody else may take it at the same time: then it is theirs.
        self.append(|known| (known.upkeep.lease == before).then(Say::default)).await.map(|taken| taken.is_some())
    }

    /// Appends an entry of maintenance and returns its generation. `say` decides against the newest state what it is to say, or
    /// that there is nothing to say any more.
    async fn append(&self, mut say: impl FnMut(&Snapshot) -> Option<Say>) -> Result<Option<u64>, Error> {
        for _ in 0..TRIES {
            let _turn = self.writing.lock().await;
            let known = self.known();
            let Some(Say { compaction, upkeep }) = say(&known) else { return Ok(None) };
            let lease = Some(Lease { holder: self.shared.process, seconds: LEASE_SECONDS });
            let draft = Draft { compaction, upkeep: Some(UpkeepRecord { lease, ..upkeep }), ..Draft::default() };
            let written = self.write_entry(&known, draft).await;
            if written.map_err(|error| Error::Maintenance(error.reason()))? {
                return Ok(Some(known.generation + 1));
            }
        }
        Ok(None)
    }

    /// Whether something that happened then is old enough now.
    fn is_older(&self, then: Timestamp, age: Duration) -> bool {
        self.shared.clock.now().duration_since(then).unsigned_abs() >= age && self.shared.clock.now() > then
    }
}

/// What an entry of maintenance says beside the lease.
#[derive(Default)]
struct Say {
    compaction: Option<Compaction>,
    upkeep: UpkeepRecord,
}
