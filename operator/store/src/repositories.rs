//! All repositories of one store: the catalog, and those that are open on this server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use jiff::Timestamp;
use model::{RepositoryId, RepositoryPath};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::blocking::blocking;
use crate::cursor::Cursor;
use crate::direct::Direct;
use crate::error::Error;
use crate::keys;
use crate::lfs::{Adoptions, Usages};
use crate::object::{Create, ObjectStore, StoreError};
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
}

/// A path as the catalog writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CatalogPath {
    namespace: model::Namespace,
    repository_name: model::RepositoryName,
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

/// The repositories of one store on this server.
pub struct Repositories {
    shared: Arc<Shared>,
    /// Catalog entries never change, so they may be remembered.
    ids: Mutex<HashMap<RepositoryPath, RepositoryId>>,
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
        let mut process = [0; 16];
        context.random.fill(&mut process);
        let (lfs_usage, adoptions) = (Usages::default(), Adoptions::default());
        let shared = Arc::new(Shared { store, context, process, lfs_usage, adoptions, direct });
        Self { shared, ids: Mutex::default(), open: Mutex::default() }
    }

    /// Whether clients may reach the bucket themselves.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.shared.direct.is_some()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The id of a repository, if the store holds it.
    ///
    /// # Errors
    /// When the store does not say.
    pub async fn find(&self, path: &RepositoryPath) -> Result<Option<RepositoryId>, Error> {
        if let Some(id) = self.ids.lock().unwrap_or_else(PoisonError::into_inner).get(path) {
            return Ok(Some(id.clone()));
        }
        let key = keys::catalog_entry(path);
        let Some(body) = self.shared.store.get(&key).await? else { return Ok(None) };
        let entry: CatalogEntry = unseal(&body).map_err(|reason| Error::Damaged { key, reason })?;
        self.remember(path, &entry.repository_id);
        Ok(Some(entry.repository_id))
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
            let entry = CatalogEntry {
                repository_id: RepositoryId::random(&*self.shared.random),
                path: CatalogPath { namespace: path.namespace.clone(), repository_name: path.name.clone() },
                created_at: self.shared.clock.now(),
            };
            let body = seal(&entry).map_err(|error| Error::Packs(error.to_string()))?;
            match self.shared.store.create(&keys::catalog_entry(path), body).await {
                Ok(Create::Created) => {
                    let id = entry.repository_id;
                    self.remember(path, &id);
                    // Nobody has written to it before its name was there: there is nothing to read.
                    let empty = Repository::new(id.clone(), Arc::clone(&self.shared), Latest::empty());
                    drop(self.cell(&id).set(Arc::new(empty)));
                    return Ok(id);
                }
                Ok(Create::Exists) => {}
                Err(StoreError::Unknown { .. }) if doubts < MAX_DOUBTS => {
                    doubts += 1;
                    tokio::time::sleep(Duration::from_millis(50 << doubts)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Learns the ids of repositories ahead of the first request for them, as far as the store has these. What goes wrong is left
    /// to that request.
    pub async fn learn(&self, paths: Vec<RepositoryPath>) {
        stream::iter(paths).for_each_concurrent(LEARNING, async |path| drop(self.find(&path).await)).await;
    }

    /// Forgets the ids of repositories that are not wanted any more: one that comes back may be another one.
    pub fn forget(&self, paths: &[RepositoryPath]) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        for path in paths {
            ids.remove(path);
        }
    }

    fn remember(&self, path: &RepositoryPath, id: &RepositoryId) {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), id.clone());
    }

    /// All repositories that the store holds. Lists the catalog: not for a request path.
    ///
    /// # Errors
    /// When the store does not say.
    pub async fn list(&self) -> Result<Vec<RepositoryPath>, Error> {
        let (mut paths, mut after): (Vec<RepositoryPath>, Option<String>) = (vec![], None);
        loop {
            let page = self.shared.store.list(keys::catalog_all(), after.as_deref(), PAGE).await?;
            paths.extend(page.iter().filter_map(|object| keys::catalog_path(&object.key)));
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.key.clone()),
                _ => return Ok(paths),
            }
        }
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
        let id = self.ids.lock().unwrap_or_else(PoisonError::into_inner).get(path)?.clone();
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&id)?.cell.get().cloned()
    }

    async fn read(&self, id: &RepositoryId) -> Result<Arc<Repository>, Error> {
        let began = Instant::now();
        let latest = Latest { began: Some(began), ..open::latest(&self.shared, id).await? };
        let hint_is_poor = latest.hint_is_poor;
        let repository = Arc::new(Repository::new(id.clone(), Arc::clone(&self.shared), latest));
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
        let Some(id) = self.find(path).await? else { return Ok(()) };
        self.shared.store.delete(&keys::catalog_entry(path)).await?;
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        let prefix = keys::repository(&id);
        loop {
            let page = self.shared.store.list(&prefix, None, PAGE).await?;
            if page.is_empty() {
                break;
            }
            for object in page {
                self.shared.store.delete(&object.key).await?;
            }
        }
        self.shared.cache.forget(&id);
        Ok(())
    }

    /// The delivery cursor of a notification target on a repository.
    #[must_use]
    pub fn cursor(&self, id: &RepositoryId, target: &str) -> Cursor {
        Cursor::new(Arc::clone(&self.shared.store), id.clone(), target.to_owned())
    }
}
