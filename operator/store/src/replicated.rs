//! A repository that is kept in several stores, as one [`ObjectStore`] (ADR 0019).
//!
//! One of them is the primary one: its log says what happened. Writes go there first, and to the replicas as the manifest wants it; reads
//! go to a replica when the primary one does not answer. Lies below envelope encryption: all stores hold the same bytes.

mod copied;
mod copies;
mod epoch;
mod finish;
mod follow;
mod member;
mod promote;
mod reading;
mod status;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::stream::{FuturesUnordered, StreamExt as _};
use model::replication::Replication;
use model::{RepositoryId, RepositoryPath};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::envelope::{EnvelopeStore, ServerSideStore};
use crate::keys;
use crate::object::{Create, ObjectBytes, ObjectMeta, ObjectStore, StoreError};
use crate::repository::Context;
use crate::state::Upload;
use copied::Copied;
pub(crate) use epoch::Epochs;
pub(crate) use follow::Depth;
use follow::Following;
pub(crate) use member::{Member, Settled, is_stub};
pub use promote::{Loss, PromoteError, Promotion};
pub use status::{MemberStatus, ReplicationProblem, ReplicationStatus};
use status::{Replica, Sightings};

/// How long a store may take to say which epochs it knows of.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same of a store that was lost.
const LOST_PATIENCE: Duration = Duration::from_millis(500);
/// A primary store that did not answer is left alone for this long, where a replica can answer.
const AWAY: Duration = Duration::from_secs(2);
/// While the primary store is away, the others are not asked more often for epochs.
const LEARN_AGAIN: Duration = Duration::from_millis(500);
/// How long the first read waits for all stores to say which epochs they know of.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);

/// All stores of a process, by name.
pub type Peers = Arc<BTreeMap<String, Arc<dyn ObjectStore>>>;

/// The objects of one repository, wherever they are kept.
pub(crate) struct ReplicatedStore {
    this: Weak<Self>,
    id: RepositoryId,
    path: RepositoryPath,
    /// The store that the manifest names.
    home: Arc<str>,
    own: Arc<dyn ObjectStore>,
    peers: Peers,
    context: Context,
    reign: ArcSwap<Reign>,
    replicas: Mutex<BTreeMap<Arc<str>, Replica>>,
    /// Told whenever a replica has caught up, or has failed to.
    stepped: Notify,
    following: Mutex<Following>,
    /// Entries of the primary store that are known.
    sightings: Mutex<Sightings>,
    /// Until when the primary store is left alone.
    away: Mutex<Option<Instant>>,
    /// When the stores were last asked for epochs, and what came of it; nothing is written before they were.
    learned: tokio::sync::Mutex<Option<(Instant, Learned)>>,
    /// How often that was begun.
    rounds: AtomicU64,
    /// Whether they have been asked once.
    is_acquainted: AtomicBool,
    /// Who can read entries that are encrypted.
    opener: ArcSwapOption<Weak<EnvelopeStore>>,
    /// Uploads that the log is known to name.
    named: ArcSwapOption<BTreeSet<Upload>>,
    /// The epoch whose log was found closed although there is no other one, and since when.
    closed: Mutex<Option<(u64, Instant)>>,
}

/// What asking for epochs came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Learned {
    /// There is another one.
    Newer,
    /// There is none.
    Nothing,
    /// Not all stores have answered.
    Unsure,
}

/// Who is the primary store at the moment.
pub(crate) struct Reign {
    pub(crate) epochs: Arc<Epochs>,
    pub(crate) primary: Member,
}

/// The stores of a process, as a repository is found in them.
#[derive(Clone)]
pub(crate) struct Home {
    pub(crate) name: Arc<str>,
    /// The store of this name.
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) peers: Peers,
}

impl ReplicatedStore {
    pub(crate) fn new(home: Home, id: RepositoryId, path: RepositoryPath, context: &Context) -> Arc<Self> {
        let Home { name, store, peers } = home;
        // The key that the bucket encrypts with is one of the store that the manifest names; the others do what they do by default.
        let own: Arc<dyn ObjectStore> = ServerSideStore::new(store, &path, context);
        let epochs = Arc::new(Epochs::default());
        let primary = Member::new(Arc::clone(&name), Arc::clone(&own), id.clone(), Arc::clone(&epochs));
        Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            id,
            path,
            home: name,
            own,
            peers,
            context: context.clone(),
            reign: ArcSwap::from_pointee(Reign { epochs, primary }),
            replicas: Mutex::default(),
            stepped: Notify::new(),
            following: Mutex::default(),
            sightings: Mutex::default(),
            away: Mutex::default(),
            learned: tokio::sync::Mutex::default(),
            rounds: AtomicU64::new(0),
            is_acquainted: AtomicBool::new(false),
            opener: ArcSwapOption::empty(),
            named: ArcSwapOption::empty(),
            closed: Mutex::default(),
        })
    }

    /// A store by its name, if this server has it.
    fn peer(&self, name: &str) -> Option<&Arc<dyn ObjectStore>> {
        if *name == *self.home { Some(&self.own) } else { self.peers.get(name) }
    }

    fn replication(&self) -> Option<Arc<Replication>> {
        self.context.keys.manifests.replication(&self.path)
    }

    /// Replicas that must hold what is acknowledged.
    fn needed(&self, reign: &Reign) -> usize {
        let Some(replication) = self.replication() else { return 0 };
        let counting = self.names(reign).iter().filter(|name| !reign.epochs.is_without(name)).count();
        replication.needed().min(counting)
    }

    /// Whether clients have to send everything through us.
    pub(crate) fn is_replicated(&self) -> bool {
        self.replication().is_some() || self.epoch() > 0
    }

    /// Names of the stores beside the primary one.
    fn names(&self, reign: &Reign) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = vec![];
        if let Some(replication) = self.replication() {
            names.push(Arc::clone(&self.home));
            names.extend(replication.stores.iter().map(|name| Arc::from(name.as_str())));
        }
        names.retain(|name| *name != reign.primary.name);
        names.sort();
        names.dedup();
        names
    }

    fn member(&self, name: &Arc<str>, epochs: &Arc<Epochs>) -> Option<Member> {
        let store = Arc::clone(self.peer(name)?);
        Some(Member::new(Arc::clone(name), store, self.id.clone(), Arc::clone(epochs)))
    }

    /// The stores beside the primary one, as far as this server has them.
    fn members(&self, reign: &Reign) -> Vec<Member> {
        self.names(reign).iter().filter_map(|name| self.member(name, &reign.epochs)).collect()
    }

    fn replicas(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Replica>> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks all stores which epochs there are. Callers who come while that goes on share the next round.
    pub(crate) async fn learn(&self) -> Learned {
        let (before, arrived) = (self.epoch(), self.rounds.load(Ordering::SeqCst));
        let mut learned = self.learned.lock().await;
        if self.epoch() > before {
            return Learned::Newer;
        }
        if let Some((_, learned)) = *learned
            && self.rounds.load(Ordering::SeqCst) > arrived
        {
            return learned;
        }
        self.rounds.fetch_add(1, Ordering::SeqCst);
        let reign = self.reign.load_full();
        let mut stores = self.members(&reign);
        stores.push(reign.primary.clone());
        let asked = stores.iter().map(|store| {
            let is_lost = reign.epochs.is_without(&store.name);
            tokio::time::timeout(if is_lost { LOST_PATIENCE } else { PATIENCE }, Epochs::read(store.raw(), &self.id))
        });
        let (mut asked, mut told): (FuturesUnordered<_>, _) = (asked.collect(), Vec::new());
        while let Some(answer) = asked.next().await {
            told.extend(answer.ok().and_then(Result::ok));
            // One that knows of a newer one is enough: a store that is lost takes longest.
            if told.last().is_some_and(|told: &Epochs| told.number() > before) {
                break;
            }
        }
        let is_all = told.len() == stores.len();
        let newest = told.into_iter().max_by_key(Epochs::number).unwrap_or_default();
        let is_newer = newest.number() > before && self.is_in_effect(&newest).await && self.follow_epochs(newest);
        let outcome = match (is_newer, is_all) {
            (true, _) => Learned::Newer,
            (false, true) => Learned::Nothing,
            (false, false) => Learned::Unsure,
        };
        *learned = Some((Instant::now(), outcome));
        self.is_acquainted.store(true, Ordering::SeqCst);
        outcome
    }

    /// The same, but not too often: for a primary store that is away.
    async fn learn_again(&self) -> Learned {
        let last = *self.learned.lock().await;
        match last {
            Some((then, learned)) if then.elapsed() < LEARN_AGAIN && learned != Learned::Newer => learned,
            _ => self.learn().await,
        }
    }

    /// Asks once, before anything is relied on.
    async fn get_acquainted(&self, patience: Duration) {
        if !self.is_acquainted.load(Ordering::SeqCst) && self.is_replicated() {
            let _ = tokio::time::timeout(patience, self.learn()).await;
        }
    }

    /// An epoch begins when its primary store has been told, which comes last.
    async fn is_in_effect(&self, epochs: &Epochs) -> bool {
        let Some(store) = epochs.primary().and_then(|name| self.peer(name)) else { return true };
        let told = tokio::time::timeout(PATIENCE, Epochs::read(&**store, &self.id)).await;
        told.is_ok_and(|told| told.is_ok_and(|told| told.number() >= epochs.number()))
    }

    /// Goes on in another store. One that this server does not have is read from the copy in the store that the manifest names, as far as that
    /// goes; nothing is written.
    fn follow_epochs(&self, epochs: Epochs) -> bool {
        let name: Arc<str> = epochs.primary().unwrap_or(&self.home).into();
        let epochs = Arc::new(epochs);
        let (number, base) = (epochs.number(), epochs.base());
        let Some(primary) = self.member(&name, &epochs) else {
            tracing::error!(
                repo.name = %self.path,
                store = &*name,
                "the primary store of a repository is none of this server's, so it is not written to; give it as --store {name}=URL"
            );
            let copy = Arc::new(Copied(Arc::clone(&self.own)));
            let primary = Member::new(name, copy, self.id.clone(), Arc::clone(&epochs));
            self.reign.store(Arc::new(Reign { epochs, primary }));
            return true;
        };
        tracing::info!(repo.name = %self.path, store = &*name, epoch = number, "another store is the primary one");
        self.sightings().begin_at(base);
        self.reign.store(Arc::new(Reign { epochs, primary }));
        self.replicas().clear();
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.kick(Depth::Everything);
        true
    }

    fn saw(&self, generation: u64) {
        self.sightings().note(generation);
    }

    fn seen(&self) -> u64 {
        self.sightings().last()
    }

    fn sightings(&self) -> MutexGuard<'_, Sightings> {
        self.sightings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ObjectStore for ReplicatedStore {
    async fn create(&self, key: &str, body: Bytes) -> Result<Create, StoreError> {
        self.create_object(key, body).await
    }

    async fn create_in(&self, epoch: u64, key: &str, body: Bytes) -> Result<Create, StoreError> {
        match Member::number(&self.id, key) {
            Some(number) => self.create_entry(epoch, number, body).await,
            None => self.create_object(key, body).await,
        }
    }

    async fn get_decided(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        match Member::number(&self.id, key) {
            Some(number) => self.get_entry(number, false).await,
            None => self.get(key).await,
        }
    }

    async fn confirm(&self, key: &str) -> Result<(), StoreError> {
        match Member::number(&self.id, key) {
            Some(number) => self.confirm_entry(number).await,
            None => Ok(()),
        }
    }

    fn epoch(&self) -> u64 {
        self.reign.load().epochs.number()
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        self.reign.load_full().primary.put(key, body).await
    }

    async fn upload(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        self.upload_everywhere(key, file).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        if let Some(number) = Member::number(&self.id, key) {
            return self.get_entry(number, true).await;
        }
        // A replica may lack what follows from the log.
        let may_lack = !key.starts_with(&keys::lfs_all(&self.id));
        self.read(|store| async move { store.get(key).await }.boxed(), |found| found.is_some() || may_lack).await
    }

    async fn download(&self, key: &str, file: &Path, size: u64) -> Result<bool, StoreError> {
        self.read(|store| async move { store.download(key, file, size).await }.boxed(), |found| *found).await
    }

    async fn download_range(&self, key: &str, file: &Path, range: Range<u64>, size: u64) -> Result<bool, StoreError> {
        let read = |store: Member| {
            let range = range.clone();
            async move { store.download_range(key, file, range, size).await }.boxed()
        };
        self.read(read, |found| *found).await
    }

    async fn stream(&self, key: &str, range: Range<u64>, size: u64) -> Result<Option<ObjectBytes>, StoreError> {
        let read = |store: Member| {
            let range = range.clone();
            async move { store.stream(key, range, size).await }.boxed()
        };
        self.read(read, Option::is_some).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.reign.load_full().primary.delete(key).await
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        self.read(|store| async move { store.list(prefix, start_after, limit).await }.boxed(), |_| true).await
    }
}

#[cfg(test)]
mod tests;
