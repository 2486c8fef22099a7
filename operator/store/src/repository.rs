//! One repository on one server: its state in memory, kept fresh by probing the log, moved on by commits.

mod arrival;
mod bundles;
mod check;
mod checkpoints;
mod commit;
mod copies;
mod events;
mod hint;
mod history;
mod housekeeping;
mod locks;
mod maintain;
pub(crate) mod open;
mod packs;
mod read;
mod stage;
mod tables;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use gix::bstr::BString;
use model::clock::{Clock, Random};
use model::{Content, ObjectId, RefName, RepositoryId, RepositoryPath};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::cache::Cache;
use crate::direct::Direct;
use crate::entry::Decoded;
use crate::envelope::{EncryptionInUse, EnvelopeStore, KeySources};
use crate::error::Error;
use crate::keys;
use crate::lfs::{Adoptions, Usages};
use crate::metrics::StoreMetrics;
use crate::object::ObjectStore;
use crate::pack_tools::PackTools;
use crate::refs::Base;
use crate::replicated::{Home, ReplicatedStore, ReplicationStatus};
use crate::state::{PackId, RefEdit, Snapshot, Upload};
use arrival::Arrival;
pub use bundles::BundleLink;
pub use check::CheckReport;
use checkpoints::Written;
use commit::{Pace, Pending};
pub use copies::{StoreReport, Surplus, Verified};
pub use events::{Events, PushCertificate};
pub use history::{Change, Moment, Past, PastError};
pub use locks::{LockActor, LockRefusal};
pub use maintain::{BundleWish, Maintained, Policy};
use open::Latest;
pub use packs::{LocalPack, LocalPacks};
use read::{Next, Reader};
pub use stage::StagedPack;

/// What repositories need beside their bucket.
#[derive(Clone)]
pub struct Context {
    /// The local cache.
    pub cache: Arc<Cache>,
    /// Who knows git.
    pub tools: Arc<dyn PackTools>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// When maintenance does what.
    pub policy: Policy,
    /// Where it is counted.
    pub metrics: StoreMetrics,
    /// Who has the keys of encrypted repositories.
    pub keys: KeySources,
}

/// What all repositories of a store share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) context: Context,
    /// Random name of this process, for leases.
    pub(crate) process: [u8; 16],
    /// Bytes of LFS objects, where somebody wants to know.
    pub(crate) lfs_usage: Arc<Usages>,
    /// LFS objects that clients have sent to the bucket themselves.
    pub(crate) adoptions: Arc<Adoptions>,
    /// The bucket as clients reach it, if they do; never that of a repository that we encrypt.
    direct: Option<Arc<Direct>>,
    /// The stores of the process.
    pub(crate) home: Home,
    /// The same as `store`, of one encrypted repository.
    envelope: Option<Arc<EnvelopeStore>>,
    /// The same as `store` but for encryption, of one repository.
    pub(crate) replicated: Option<Arc<ReplicatedStore>>,
}

impl Shared {
    pub(crate) fn new(home: Home, direct: Option<Arc<Direct>>, context: Context) -> Self {
        let store = Arc::clone(&home.store);
        let mut process = [0; 16];
        context.random.fill(&mut process);
        let (lfs_usage, adoptions) = (Arc::default(), Arc::default());
        Self { store, context, process, lfs_usage, adoptions, direct, home, envelope: None, replicated: None }
    }

    /// The same for one repository, whose objects may be encrypted.
    pub(crate) fn of_repository(&self, id: &RepositoryId, path: &RepositoryPath, is_sealed: bool) -> Self {
        let (context, process, home) = (self.context.clone(), self.process, self.home.clone());
        let (lfs_usage, adoptions) = (Arc::clone(&self.lfs_usage), Arc::clone(&self.adoptions));
        let replicated = ReplicatedStore::new(home.clone(), id.clone(), path.clone(), &context);
        let sealed = || EnvelopeStore::new(Arc::clone(&replicated) as _, id.clone(), path.clone(), context.clone());
        let envelope = is_sealed.then(|| Arc::new(sealed()));
        if let Some(envelope) = &envelope {
            replicated.opens_with(envelope);
        }
        let store: Arc<dyn ObjectStore> = match &envelope {
            Some(envelope) => Arc::clone(envelope) as _,
            None => Arc::clone(&replicated) as _,
        };
        let direct = self.direct.clone().filter(|_| !is_sealed);
        Self { store, context, process, lfs_usage, adoptions, direct, home, envelope, replicated: Some(replicated) }
    }

    /// The same repository as one store has it, or as its objects lie in a folder.
    fn at(&self, objects: Arc<dyn ObjectStore>) -> Arc<Self> {
        let envelope = self.envelope.as_ref().map(|envelope| Arc::new(envelope.over(Arc::clone(&objects))));
        let store = match &envelope {
            Some(envelope) => Arc::clone(envelope) as _,
            None => objects,
        };
        let (context, process, home) = (self.context.clone(), self.process, self.home.clone());
        let (lfs_usage, adoptions) = (Arc::clone(&self.lfs_usage), Arc::clone(&self.adoptions));
        Arc::new(Self { store, context, process, lfs_usage, adoptions, direct: None, home, envelope, replicated: None })
    }

    /// The bucket as clients reach it, if they may: what they send there themselves would not get to replicas.
    pub(crate) fn direct(&self) -> Option<&Arc<Direct>> {
        let is_replicated = self.replicated.as_ref().is_some_and(|store| store.is_replicated());
        self.direct.as_ref().filter(|_| !is_replicated)
    }
}

impl std::ops::Deref for Shared {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

/// A pack that was received and checked, in memory or below [`Repository::incoming`].
#[derive(Debug, Clone)]
pub struct ReceivedPack {
    /// The pack. Its file is moved to where it belongs.
    pub pack: Content,
    /// Its index.
    pub index: Content,
    /// Objects in it.
    pub objects: u64,
    /// Whether every object is reachable from what is pushed with it.
    pub exact: bool,
}

/// A push, ready to be committed.
#[derive(Debug)]
pub struct Push {
    /// Who pushes.
    pub actor: String,
    /// The request that does.
    pub request_id: String,
    /// Push options.
    pub options: Vec<BString>,
    /// What the client has signed, as it was sent; nobody here verifies the signature.
    pub certificate: Option<BString>,
    /// All edits or none.
    pub atomic: bool,
    /// Changes of references.
    pub edits: Vec<RefEdit>,
    /// The objects, unless they are all there.
    pub pack: Option<PushedPack>,
    /// Generation of the state that all of this was checked against.
    pub checked_at: u64,
    /// Old values that the new ones do not descend from.
    pub dropped: Vec<ObjectId>,
    /// The branch that becomes the default if the repository has none yet.
    pub default_branch: Option<RefName>,
}

/// The pack of a push.
#[derive(Debug)]
pub enum PushedPack {
    /// As it was received.
    Received(ReceivedPack),
    /// Ready to be named by an entry.
    Staged(StagedPack),
}

impl From<ReceivedPack> for PushedPack {
    fn from(pack: ReceivedPack) -> Self {
        Self::Received(pack)
    }
}

/// The outcome of each edit of a push: done, or the value that the reference has instead.
pub type EditResult = Result<(), Option<ObjectId>>;

/// A committed push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The entry that holds it.
    pub generation: u64,
    /// One result per edit, in order.
    pub results: Vec<EditResult>,
}

/// No epoch.
const UNPROVEN: u64 = u64::MAX;

/// A repository.
pub struct Repository {
    id: RepositoryId,
    shared: Arc<Shared>,
    known: ArcSwap<Snapshot>,
    /// The epoch (ADR 0019) in which an entry of the log has vouched for `known`, which came from a hint or checkpoint, or from another
    /// primary store; [`UNPROVEN`] when none has.
    proven: AtomicU64,
    /// Guards changes of `known`: entries are applied one after the other.
    applying: Mutex<()>,
    generations: watch::Sender<u64>,
    probes: tokio::sync::Mutex<u64>,
    arrivals: AtomicU64,
    /// When the last finished probe began.
    confirmed: Mutex<Option<Instant>>,
    queue: Mutex<Vec<Pending>>,
    /// Tells who gathers a group that another push has come.
    arrived: Notify,
    writing: tokio::sync::Mutex<Pace>,
    /// Payloads of the newest entries, so that their inlined packs need not be read again.
    payloads: Mutex<Payloads>,
    /// Held by the one who brings packs in.
    bringing: tokio::sync::Mutex<()>,
    /// Held by the one who brings a reachability table in.
    bringing_tables: tokio::sync::Mutex<()>,
    /// Tables that cannot be used: they are not asked for again, and maintenance makes others.
    damaged_tables: Mutex<HashSet<Upload>>,
    /// Large packs that are on their way.
    on_their_way: Arc<Mutex<HashMap<PackId, Arc<Arrival>>>>,
    /// Bytes of payloads since the last checkpoint.
    logged: AtomicU64,
    written: tokio::sync::Mutex<Written>,
    housekeeping: tokio::sync::Mutex<housekeeping::Housekeeping>,
}

impl Repository {
    pub(crate) fn new(id: RepositoryId, shared: Arc<Shared>, latest: Latest) -> Self {
        let Latest { snapshot, checkpoint, proven, payloads, began, epoch, hint_is_poor: _ } = latest;
        let (generations, _) = watch::channel(snapshot.generation);
        Self {
            id,
            shared,
            known: ArcSwap::from_pointee(snapshot),
            proven: AtomicU64::new(if proven { epoch } else { UNPROVEN }),
            applying: Mutex::default(),
            generations,
            probes: tokio::sync::Mutex::new(0),
            arrivals: AtomicU64::new(0),
            confirmed: Mutex::new(began),
            queue: Mutex::default(),
            arrived: Notify::new(),
            writing: tokio::sync::Mutex::default(),
            payloads: Mutex::new(payloads),
            bringing: tokio::sync::Mutex::default(),
            bringing_tables: tokio::sync::Mutex::default(),
            damaged_tables: Mutex::default(),
            on_their_way: Arc::default(),
            logged: AtomicU64::new(0),
            written: tokio::sync::Mutex::new(Written { checkpoint, hint: 0 }),
            housekeeping: tokio::sync::Mutex::default(),
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &RepositoryId {
        &self.id
    }

    /// Where else it is kept, if it is.
    #[must_use]
    pub fn replication(&self) -> Option<ReplicationStatus> {
        self.shared.replicated.as_ref()?.status()
    }

    /// How it is encrypted by us, if it is.
    #[must_use]
    pub fn encryption(&self) -> Option<EncryptionInUse> {
        self.shared.envelope.as_ref()?.in_use()
    }

    /// What this server knows, possibly behind the log.
    #[must_use]
    pub fn known(&self) -> Arc<Snapshot> {
        self.known.load_full()
    }

    /// Tells of every generation that this server learns of.
    #[must_use]
    pub fn generations(&self) -> watch::Receiver<u64> {
        self.generations.subscribe()
    }

    /// As [`Self::snapshot`], or what was the state of the log at some time within `staleness`.
    ///
    /// # Errors
    /// When the store does not answer, or the log is damaged.
    pub async fn snapshot_within(&self, staleness: Duration) -> Result<Arc<Snapshot>, Error> {
        let confirmed = *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        if confirmed.is_some_and(|confirmed| confirmed.elapsed() < staleness) {
            return Ok(self.known());
        }
        self.snapshot().await
    }

    /// The state of the log now: everything acknowledged before the call is in it.
    ///
    /// One request to the store; callers that arrive while one is under way share the next.
    ///
    /// # Errors
    /// When the store does not answer, or the log is damaged.
    pub async fn snapshot(&self) -> Result<Arc<Snapshot>, Error> {
        if sabotaged!(AnswerFromMemory) {
            return Ok(self.known());
        }
        let arrival = self.arrivals.fetch_add(1, Ordering::SeqCst);
        // Holds the number of arrivals when the last finished probe began: it answers all who came before.
        let mut answered = self.probes.lock().await;
        if *answered <= arrival {
            let (answers, start) = (self.arrivals.load(Ordering::SeqCst), Instant::now());
            self.catch_up().await?;
            *answered = if sabotaged!(ShareOlderProbe) { self.arrivals.load(Ordering::SeqCst) } else { answers };
            *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = Some(start);
        }
        Ok(self.known())
    }

    /// Reads the log from what is known to its end, and returns whether anything was new.
    pub(crate) async fn catch_up(&self) -> Result<bool, Error> {
        loop {
            let epoch = self.shared.store.epoch();
            let outcome = self.catch_up_in(epoch).await;
            // What was read of the log of an epoch that is over does not go with what was read after it.
            if self.shared.store.epoch() == epoch {
                return outcome;
            }
        }
    }

    async fn catch_up_in(&self, epoch: u64) -> Result<bool, Error> {
        let mut reader = Reader::new(&*self.shared.store, &self.id);
        let before = self.known().generation;
        if !self.is_proven() {
            // The first answer was given without: from now on it is sure.
            tokio::try_join!(reader.look_ahead(before), self.prove())?;
        }
        loop {
            let next = reader.next_after(self.known().generation).await?;
            let is_far = match next {
                Next::Entry(generation, entry) => {
                    self.apply(epoch, generation, &entry)?.generation >= before + open::FAR
                }
                Next::Stub if sabotaged!(StopAtStub) => return Ok(self.known().generation > before),
                Next::Stub => true,
                Next::End => return Ok(self.known().generation > before),
            };
            if is_far {
                self.reload().await?;
                return Ok(true);
            }
        }
    }

    /// Moves on by an entry of the log of an epoch; one that is known already changes nothing.
    fn apply(&self, epoch: u64, generation: u64, read: &Decoded) -> Result<Arc<Snapshot>, Error> {
        let guard = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known();
        if generation != known.generation + 1 {
            return Ok(known);
        }
        let next = known
            .after(&read.entry, read.digest)
            .map_err(|error| Error::fold(keys::log_entry(&self.id, generation), &error))?;
        let next = Arc::new(next);
        self.known.store(Arc::clone(&next));
        self.proven.store(epoch, Ordering::SeqCst);
        drop(guard);
        self.logged.fetch_add(read.payload.len() as u64, Ordering::Relaxed);
        if !read.payload.is_empty() {
            self.payloads.lock().unwrap_or_else(PoisonError::into_inner).add(generation, read.payload.clone());
        }
        self.generations.send_replace(generation);
        Ok(next)
    }
}

impl Repository {
    fn is_proven(&self) -> bool {
        self.proven.load(Ordering::SeqCst) == self.shared.store.epoch()
    }

    /// An entry of the log vouches for this state.
    fn believe(&self, state: &Snapshot, epoch: u64) {
        let _guard = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known();
        if (known.generation, known.digest) == (state.generation, state.digest) {
            self.proven.store(epoch, Ordering::SeqCst);
        }
    }

    /// Goes on from another state, if it is still wanted when it can be had.
    fn go_on_from(&self, latest: Latest, is_wanted: impl FnOnce(&Snapshot, &Snapshot) -> bool) {
        let guard = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let Latest { snapshot, proven, epoch, .. } = latest;
        if !is_wanted(&self.known(), &snapshot) {
            return;
        }
        let generation = snapshot.generation;
        self.known.store(Arc::new(snapshot));
        self.proven.store(if proven { epoch } else { UNPROVEN }, Ordering::SeqCst);
        drop(guard);
        self.generations.send_replace(generation);
    }

    /// Goes on from another base, which was made from `origin`; the state stays the same. Blocks for as long as it takes to
    /// compare what has changed.
    fn rebase(&self, base: Base, origin: &Snapshot) -> bool {
        let _guard = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known();
        let Some(refs) = known.refs.rebased(base, &origin.refs) else { return false };
        self.known.store(Arc::new(Snapshot { refs, ..(*known).clone() }));
        true
    }

    fn logged(&self) -> u64 {
        self.logged.load(Ordering::Relaxed)
    }

    fn forget_logged(&self) {
        self.logged.store(0, Ordering::Relaxed);
    }
}

/// A bounded memory of payloads, oldest out first.
#[derive(Default)]
pub(crate) struct Payloads {
    entries: std::collections::BTreeMap<u64, Bytes>,
    bytes: usize,
}

impl Payloads {
    const CAPACITY: usize = 1 << 20;

    fn add(&mut self, generation: u64, payload: Bytes) {
        self.bytes += payload.len();
        if let Some(replaced) = self.entries.insert(generation, payload) {
            self.bytes -= replaced.len();
        }
        while self.bytes > Self::CAPACITY {
            let Some((_, oldest)) = self.entries.pop_first() else { break };
            self.bytes -= oldest.len();
        }
    }

    pub(crate) fn get(&self, generation: u64) -> Option<Bytes> {
        self.entries.get(&generation).cloned()
    }

    /// Forgets those of a generation and before.
    pub(crate) fn forget_until(&mut self, generation: u64) {
        let later = self.entries.split_off(&generation.saturating_add(1));
        self.bytes = later.values().map(Bytes::len).sum();
        self.entries = later;
    }
}

#[cfg(test)]
pub(crate) mod tests;
