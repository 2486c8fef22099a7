//! All repositories of one store: the catalog, and those that are open on this server.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use jiff::Timestamp;
use model::error::Kind;
use model::{RepositoryId, RepositoryPath};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::blocking::blocking;
use crate::cursor::Cursor;
use crate::direct::Direct;
use crate::envelope;
use crate::error::Error;
use crate::keys;
use crate::object::{Create, ObjectStore, StoreError, list_all};
use crate::replicated::{Home, Loss, Peers, PromoteError, Promotion};
use crate::repository::open::{self, Latest};
use crate::repository::{Context, Repository, Shared};
use crate::sealed::{seal, unseal};
use crate::state::Snapshot;

/// Repositories that are kept open; beyond, those that nobody uses are closed.
const MAX_OPEN: usize = 1_024;
/// Objects listed at once.
const PAGE: usize = 1_000;
/// Ids that are learned at once.
const LEARNING: usize = 16;
/// Doubtful answers to a create of a catalog entry.
const MAX_DOUBTS: u32 = 6;

/// What the catalog says of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CatalogEntry {
    /// Its id: where its objects are.
    repository_id: RepositoryId,
    /// Its path.
    #[serde(flatten)]
    path: CatalogPath,
    /// When it was first asked for.
    created_at: Timestamp,
    /// How its objects are encrypted before they get here, for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encryption: Option<CatalogEncryption>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum CatalogEncryption {
    Envelope,
}

/// A path as the catalog writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CatalogPath {
    namespace: model::Namespace,
    repository_name: model::RepositoryName,
}

/// The id in a catalog entry.
pub(crate) fn catalog_id(key: &str, body: &[u8]) -> Result<RepositoryId, Error> {
    let entry = unseal::<CatalogEntry>(body).map_err(|reason| Error::Damaged { key: key.to_owned(), reason })?;
    Ok(entry.repository_id)
}

/// All repositories that a store holds.
pub(crate) async fn catalog(store: &dyn ObjectStore) -> Result<Vec<RepositoryPath>, StoreError> {
    let listed = list_all(store, keys::catalog_all()).await?;
    Ok(listed.iter().filter_map(|object| keys::catalog_path(&object.key)).collect())
}

/// A repository that is open or being opened, and when it was last asked for.
struct Open {
    cell: Cell,
    used: Instant,
}

type Cell = Arc<OnceCell<Arc<Repository>>>;

impl Open {
    /// Whoever uses a repository holds it; the others can be read again from the store.
    fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.cell) > 1 || self.cell.get().is_none_or(|opened| Arc::strong_count(opened) > 1)
    }
}

/// What is remembered of a catalog entry.
#[derive(Clone)]
struct Known {
    id: RepositoryId,
    encryption: Option<CatalogEncryption>,
}

/// The repositories of one store on this server.
pub struct Repositories {
    shared: Arc<Shared>,
    /// Catalog entries never change, so they may be remembered.
    ids: Mutex<HashMap<RepositoryPath, Known>>,
    /// How the objects of each of them are reached.
    reached: Mutex<HashMap<RepositoryId, Arc<Shared>>>,
    open: Mutex<HashMap<RepositoryId, Open>>,
}

impl Repositories {
    /// The repositories of `store`.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, context: Context) -> Self {
        Self::reached(store, None, context)
    }

    /// The repositories of `store`, which clients may reach themselves.
    #[must_use]
    pub fn reached(store: Arc<dyn ObjectStore>, direct: Option<Direct>, context: Context) -> Self {
        let name = "default";
        let peers = Arc::new(BTreeMap::from([(name.to_owned(), Arc::clone(&store))]));
        Self::of_home(Home { name: name.into(), store, peers }, direct, context)
    }

    /// The repositories of the store of this name among all stores of the process; `None` when it is none of them.
    #[must_use]
    pub fn among(peers: &Peers, name: &str, direct: Option<Direct>, context: Context) -> Option<Self> {
        let home = Home { name: name.into(), store: Arc::clone(peers.get(name)?), peers: Arc::clone(peers) };
        Some(Self::of_home(home, direct, context))
    }

    fn of_home(home: Home, direct: Option<Direct>, context: Context) -> Self {
        let shared = Arc::new(Shared::new(home, direct.map(Arc::new), context));
        Self { shared, ids: Mutex::default(), reached: Mutex::default(), open: Mutex::default() }
    }

    /// Whether clients may reach the bucket themselves.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.shared.direct().is_some()
    }

    /// How the objects of a repository are reached.
    pub(crate) fn shared(&self, id: &RepositoryId) -> Arc<Shared> {
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(reached.get(id).unwrap_or(&self.shared))
    }

    /// The id of a repository, if the store holds it.
    ///
    /// # Errors
    /// When the store does not say, or the manifest wants it encrypted in another way than it is.
    pub async fn find(&self, path: &RepositoryPath) -> Result<Option<RepositoryId>, Error> {
        let Some(Known { id, encryption }) = self.look_up(path).await? else { return Ok(None) };
        let wanted = self.shared.keys.manifests.encryption(path).is_some_and(|wanted| wanted.envelope.is_some());
        let reason = match (encryption, wanted) {
            (None, false) | (Some(CatalogEncryption::Envelope), true) => return Ok(Some(id)),
            (None, true) => {
                "it was made without encryption by Codekeep, which cannot be added; remove spec.encryption.envelope, or push to a \
                 second Repository that has it"
            }
            (Some(CatalogEncryption::Envelope), false) => {
                "it is encrypted, and no manifest says with which key; give spec.encryption.envelope"
            }
        };
        Err(StoreError::Locked { repository: path.to_string(), reason: reason.to_owned() }.into())
    }

    async fn look_up(&self, path: &RepositoryPath) -> Result<Option<Known>, Error> {
        if let Some(known) = self.ids.lock().unwrap_or_else(PoisonError::into_inner).get(path) {
            return Ok(Some(known.clone()));
        }
        let key = keys::catalog_entry(path);
        let Some(body) = self.catalog_body(path, &key).await? else { return Ok(None) };
        let entry: CatalogEntry = unseal(&body).map_err(|reason| Error::Damaged { key, reason })?;
        Ok(Some(self.remember(path, &entry)))
    }

    /// What the catalog says of a repository; that of a replica when the store does not answer.
    async fn catalog_body(&self, path: &RepositoryPath, key: &str) -> Result<Option<Bytes>, StoreError> {
        let error = match self.shared.store.get(key).await {
            Err(error) if error.kind() == Kind::Unavailable || error.kind() == Kind::Denied => error,
            answer => return answer,
        };
        for replica in self.replicas(path) {
            if let Ok(Some(body)) = replica.get(key).await {
                return Ok(Some(body));
            }
        }
        Err(error)
    }

    /// The stores that a repository may be kept in, with their names: the one that the manifest names comes first.
    pub(crate) fn places(&self, path: &RepositoryPath) -> Vec<(String, Arc<dyn ObjectStore>)> {
        let home = &self.shared.home;
        let replication = self.shared.keys.manifests.replication(path);
        let further =
            replication.iter().flat_map(|replication| &replication.stores).filter(|name| ***name != *home.name);
        let further = further.filter_map(|name| Some((name.clone(), Arc::clone(home.peers.get(name)?))));
        std::iter::once((home.name.to_string(), Arc::clone(&home.store))).chain(further).collect()
    }

    /// Remembers what the catalog says, of whichever store.
    pub(crate) fn recall(&self, path: &RepositoryPath, key: &str, body: &[u8]) -> Result<(), Error> {
        let entry = unseal(body).map_err(|reason| Error::Damaged { key: key.to_owned(), reason })?;
        self.remember(path, &entry);
        Ok(())
    }

    /// The other stores that a repository is kept in.
    fn replicas(&self, path: &RepositoryPath) -> Vec<Arc<dyn ObjectStore>> {
        let Some(replication) = self.shared.keys.manifests.replication(path) else { return vec![] };
        replication.stores.iter().filter_map(|name| self.shared.home.peers.get(name).cloned()).collect()
    }

    /// The id of a repository; one that the store does not hold is created, empty.
    ///
    /// # Errors
    /// When the store does not say, or refuses.
    pub async fn find_or_create(&self, path: &RepositoryPath) -> Result<RepositoryId, Error> {
        let mut doubts = 0;
        loop {
            if let Some(id) = self.find(path).await? {
                return Ok(id);
            }
            let entry = self.new_entry(path).await?;
            let body = seal(&entry).map_err(|error| Error::Packs(error.to_string()))?;
            match self.shared.store.create(&keys::catalog_entry(path), body).await {
                Ok(Create::Created) => {
                    let Known { id, .. } = self.remember(path, &entry);
                    // Nobody has written to it before its name was there: there is nothing to read.
                    let empty = Repository::new(id.clone(), self.shared(&id), Latest::empty());
                    drop(self.cell(&id).set(Arc::new(empty)));
                    return Ok(id);
                }
                // Perhaps it is ours after all; then its data keys are needed.
                Ok(Create::Exists) => {}
                Err(StoreError::Unknown { .. }) if doubts < MAX_DOUBTS => {
                    doubts += 1;
                    tokio::time::sleep(Duration::from_millis(50 << doubts)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What the catalog is to say of a new repository. The data keys of an encrypted one are there before its name is.
    async fn new_entry(&self, path: &RepositoryPath) -> Result<CatalogEntry, Error> {
        let repository_id = RepositoryId::random(&*self.shared.random);
        let encryption = self.shared.keys.manifests.encryption(path).and_then(|encryption| encryption.envelope);
        if let Some(envelope) = &encryption {
            envelope::found(&*self.shared.store, &self.shared.context, &repository_id, path, envelope).await?;
        }
        Ok(CatalogEntry {
            repository_id,
            path: CatalogPath { namespace: path.namespace.clone(), repository_name: path.name.clone() },
            created_at: self.shared.clock.now(),
            encryption: encryption.map(|_| CatalogEncryption::Envelope),
        })
    }

    /// Learns the ids of repositories ahead of the first request for them, as far as the store has these. What goes wrong is left
    /// to that request.
    pub async fn learn(&self, paths: Vec<RepositoryPath>) {
        stream::iter(paths).for_each_concurrent(LEARNING, async |path| drop(self.find(&path).await)).await;
    }

    /// Forgets the ids of repositories that are not wanted any more: one that comes back may be another one.
    pub fn forget(&self, paths: &[RepositoryPath]) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        for path in paths {
            if let Some(known) = ids.remove(path) {
                reached.remove(&known.id);
            }
        }
    }

    fn remember(&self, path: &RepositoryPath, entry: &CatalogEntry) -> Known {
        let known = Known { id: entry.repository_id.clone(), encryption: entry.encryption };
        let reached = || Arc::new(self.shared.of_repository(&known.id, path, known.encryption.is_some()));
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).entry(known.id.clone()).or_insert_with(reached);
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), known.clone());
        known
    }

    /// All repositories that the store holds. Lists the catalog: not for a request path.
    ///
    /// # Errors
    /// When the store does not say.
    pub async fn list(&self) -> Result<Vec<RepositoryPath>, Error> {
        Ok(catalog(&*self.shared.store).await?)
    }

    /// Opens a repository, or returns the open one.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub async fn open(&self, id: &RepositoryId) -> Result<Arc<Repository>, Error> {
        self.cell(id).get_or_try_init(|| self.read(id)).await.cloned()
    }

    /// Opens a repository and tells its state at some time within `staleness` before the call, or later; with none, everything
    /// acknowledged before the call is in it.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub async fn open_within(
        &self,
        id: &RepositoryId,
        staleness: Duration,
    ) -> Result<(Arc<Repository>, Arc<Snapshot>), Error> {
        let (mut known, cell) = (None, self.cell(id));
        let opened = cell.get_or_try_init(|| async {
            let repository = self.read(id).await?;
            // Just read, so there is no need to ask again; who waits for another one's reading has to.
            known = Some(repository.known());
            Ok::<_, Error>(repository)
        });
        let repository = Arc::clone(opened.await?);
        let snapshot = match known {
            Some(known) => known,
            None => repository.snapshot_within(staleness).await?,
        };
        Ok((repository, snapshot))
    }

    /// The repository of this name, if it is open here.
    #[must_use]
    pub fn opened(&self, path: &RepositoryPath) -> Option<Arc<Repository>> {
        let Known { id, .. } = self.ids.lock().unwrap_or_else(PoisonError::into_inner).get(path)?.clone();
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&id)?.cell.get().cloned()
    }

    async fn read(&self, id: &RepositoryId) -> Result<Arc<Repository>, Error> {
        let began = Instant::now();
        let shared = self.shared(id);
        let latest = Latest { began: Some(began), ..open::latest(&shared, id).await? };
        let hint_is_poor = latest.hint_is_poor;
        let repository = Arc::new(Repository::new(id.clone(), shared, latest));
        if hint_is_poor {
            repository.keep_checkpoints();
        }
        Ok(repository)
    }

    fn cell(&self, id: &RepositoryId) -> Cell {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MAX_OPEN && !open.contains_key(id) {
            open.retain(|_, open| open.is_in_use());
        }
        let used = Instant::now();
        let open = open.entry(id.clone()).or_insert_with(|| Open { cell: Cell::default(), used });
        open.used = used;
        Arc::clone(&open.cell)
    }

    /// Closes repositories that nobody has asked for in this time, and writes their small packs to disk: an idle one costs no memory.
    pub async fn close_idle(&self, idle: Duration) {
        {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.retain(|_, open| open.used.elapsed() < idle || open.is_in_use());
            open.shrink_to_fit();
        }
        let cache = Arc::clone(&self.shared.cache);
        // Fails only when the process stops.
        let _ = blocking(move || cache.relieve_idle(idle)).await;
    }

    /// Removes packs from the local cache that nobody has used in this time: an idle repository costs no disk.
    pub fn evict_idle(&self, idle: Duration) {
        self.shared.cache.evict_idle(idle);
    }

    /// Deletes a repository: its name first, so that no new request finds it, then its objects.
    ///
    /// # Errors
    /// When objects may be left; calling it again with the id goes on.
    pub async fn delete(&self, path: &RepositoryPath) -> Result<(), Error> {
        let Some(Known { id, .. }) = self.look_up(path).await? else { return Ok(()) };
        let stores = self.holding(path, &id).await?;
        for store in stores.iter().rev() {
            store.delete(&keys::catalog_entry(path)).await?;
        }
        self.forget(std::slice::from_ref(path));
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        // Without its data keys the rest is nothing to anybody.
        for prefix in [keys::keyring_all(&id), keys::repository(&id)] {
            for store in &stores {
                delete_all(&**store, &prefix).await?;
            }
        }
        self.shared.cache.forget(&id);
        Ok(())
    }

    /// The stores of the process that hold this very repository, ours first: its manifest may be gone.
    async fn holding(&self, path: &RepositoryPath, id: &RepositoryId) -> Result<Vec<Arc<dyn ObjectStore>>, Error> {
        let key = keys::catalog_entry(path);
        let mut stores = vec![Arc::clone(&self.shared.store)];
        for (name, store) in self.shared.home.peers.iter().filter(|(name, _)| **name != *self.shared.home.name) {
            let found = store
                .get(&key)
                .await
                .inspect_err(|error| tracing::warn!(store = name, %error, "not asked for copies"))?;
            if found.is_some_and(|body| catalog_id(&key, &body).is_ok_and(|found| found == *id)) {
                stores.push(Arc::clone(store));
            }
        }
        Ok(stores)
    }

    /// Makes a store the primary one of a repository (ADR 0019).
    ///
    /// # Errors
    /// Says whether pushes could be lost, or a store failed.
    pub async fn promote(&self, path: &RepositoryPath, to: &str, loss: Loss) -> Result<Promotion, PromoteError> {
        let absent = || PromoteError::Unknown(format!("the store has no repository {path}"));
        // Whatever the keys are: nothing is decrypted.
        let Known { id, .. } = self.look_up(path).await?.ok_or_else(absent)?;
        let shared = self.shared(&id);
        shared.replicated.as_ref().ok_or_else(absent)?.promote(to, loss).await
    }

    /// Has the replicas of a repository catch up, beside what goes on.
    ///
    /// # Errors
    /// When the store does not say whether it has it.
    pub async fn replicate(&self, path: &RepositoryPath) -> Result<(), Error> {
        if let Some(id) = self.find(path).await?
            && let Some(replicated) = &self.shared(&id).replicated
        {
            replicated.look().await;
        }
        Ok(())
    }

    /// The delivery cursor of a notification target on a repository.
    #[must_use]
    pub fn cursor(&self, id: &RepositoryId, target: &str) -> Cursor {
        Cursor::new(Arc::clone(&self.shared(id).store), id.clone(), target.to_owned())
    }
}

async fn delete_all(store: &dyn ObjectStore, prefix: &str) -> Result<(), StoreError> {
    loop {
        let page = store.list(prefix, None, PAGE).await?;
        if page.is_empty() {
            return Ok(());
        }
        for object in page {
            store.delete(&object.key).await?;
        }
    }
}
