//! Opened packs of repositories in use, so that a request does not open them again. Bounded; idle ones are closed.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use git::odb::{Pack, PackParts, Packs};
use git::reach::Table;
use model::{Content, RepositoryId};
use store::{LocalPacks, Repository, Snapshot, StoredPack};

use super::{Trouble, Work, blocking, chain};

/// Repositories whose packs are open.
const MAX_OPEN: usize = 256;
/// Packs that nobody asked for in this time are closed.
const IDLE: Duration = Duration::from_mins(2);

/// The packs of a repository as they were after one entry, open.
pub(crate) struct Opened {
    pub(crate) packs: Packs,
    generation: u64,
    /// What the log says of them.
    stored: Arc<Vec<StoredPack>>,
    /// Keeps the files in the cache.
    local: LocalPacks,
}

impl Opened {
    /// Whether these are the packs of a snapshot: most entries that move references alone leave the packs as they were.
    fn is_of(&self, snapshot: &Snapshot) -> bool {
        Arc::ptr_eq(&self.stored, &snapshot.packs) && !self.local.are_broken()
    }
}

/// Opened packs by repository.
#[derive(Default)]
pub(crate) struct OpenPacks {
    open: Mutex<HashMap<RepositoryId, (Arc<Opened>, Instant)>>,
}

impl OpenPacks {
    /// The packs of a snapshot.
    pub(crate) async fn get(
        &self,
        repository: &Arc<Repository>,
        snapshot: &Snapshot,
        work: &Work,
    ) -> Result<Arc<Opened>, Trouble> {
        let before = self.touch(repository.id());
        if let Some(opened) = before.as_ref().filter(|opened| opened.is_of(snapshot)) {
            return Ok(Arc::clone(opened));
        }
        let local = repository.arriving_packs(snapshot).await.map_err(|error| Trouble::of_store(&error, work))?;
        let (generation, stored) = (snapshot.generation, Arc::clone(&snapshot.packs));
        let asked = work.clone();
        let opened = blocking(work, move || {
            let parts: Vec<PackParts> = local
                .packs
                .iter()
                .map(|pack| PackParts {
                    pack: pack.pack.clone(),
                    index: pack.index.clone(),
                    exact: pack.exact,
                    arriving: pack.arriving(),
                })
                .collect();
            let packs = match before {
                Some(before) => before.packs.replaced(&parts),
                None => Packs::open(&parts),
            };
            let packs = packs.map_err(|error| Trouble::internal(&error, &asked))?;
            Ok(Arc::new(Opened { packs, generation, stored, local }))
        })
        .await?;
        self.remember(repository.id(), &opened);
        tokio::spawn(give_tables(Arc::clone(repository), Arc::clone(&opened)));
        Ok(opened)
    }

    /// Whether the packs of a snapshot are open already.
    pub(crate) fn has(&self, repository: &Repository, snapshot: &Snapshot) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(repository.id()).is_some_and(|(opened, _)| opened.is_of(snapshot))
    }

    /// Closes packs that nobody asked for lately.
    pub(crate) fn close_idle(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, (_, used)| used.elapsed() < IDLE);
        open.shrink_to_fit();
    }

    fn touch(&self, id: &RepositoryId) -> Option<Arc<Opened>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (opened, used) = open.get_mut(id)?;
        *used = Instant::now();
        Some(Arc::clone(opened))
    }

    fn remember(&self, id: &RepositoryId, opened: &Arc<Opened>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, (_, used)| used.elapsed() < IDLE);
        if open.len() >= MAX_OPEN
            && let Some(oldest) = open.iter().min_by_key(|(_, (_, used))| *used).map(|(id, _)| id.clone())
        {
            open.remove(&oldest);
        }
        // A request with an older snapshot must not hide what a younger one has opened.
        let newer = open.get(id).is_some_and(|(known, _)| known.generation > opened.generation);
        if !newer {
            open.insert(id.clone(), (Arc::clone(opened), Instant::now()));
        }
    }
}

/// Gives open packs their reachability tables. Nobody waits for that: what comes before they are there is answered by a walk.
async fn give_tables(repository: Arc<Repository>, opened: Arc<Opened>) {
    for (stored, pack) in opened.stored.iter().zip(opened.packs.packs()) {
        if pack.table().is_none()
            && let Err(error) = give_table(&repository, stored, pack).await
        {
            tracing::error!(repo.id = %repository.id(), error = %chain(&*error), "a reachability table cannot be used");
        }
    }
}

async fn give_table(
    repository: &Repository,
    stored: &StoredPack,
    pack: &Arc<Pack>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let Some(file) = repository.table(stored).await? else { return Ok(()) };
    let pack = Arc::clone(pack);
    let attach = move || {
        pack.attach(Table::open(&Content::File(file), &pack)?);
        Ok(())
    };
    tokio::task::spawn_blocking(attach).await?
}
