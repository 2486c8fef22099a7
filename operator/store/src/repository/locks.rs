//! Git LFS locks are taken and released by entries of the log (ADR 0013): what one server acknowledged, every server sees.

use std::sync::Arc;

use model::lfs::{LockId, LockPath};

use super::Repository;
use super::commit::Draft;
use crate::entry::{LockChange, LockRecord};
use crate::error::{CommitError, Error};
use crate::state::{Lock, Snapshot};

/// Locks of a repository: all of them are in memory and in each checkpoint.
const MAX_LOCKS: usize = 10_000;
/// Numbers that others may take before we give up.
const MAX_LOST_RACES: u32 = 64;

/// Who changes a lock, and in which request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockActor {
    /// As access decisions name them.
    pub actor: String,
    /// The request.
    pub request_id: String,
}

/// Why a lock was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockRefusal {
    /// The path is locked already.
    Taken(Lock),
    /// There are too many locks.
    TooMany,
}

impl Repository {
    /// Takes the lock on a path; when this returns one, it is durable, and no server gives the path to anybody else.
    ///
    /// # Errors
    /// Says whether nothing was changed or whether that is not known.
    pub async fn lock(
        self: &Arc<Self>,
        id: LockId,
        path: LockPath,
        owner: String,
        by: LockActor,
    ) -> Result<Result<Lock, LockRefusal>, CommitError> {
        let wanted = Lock { id, path, owner, at: self.shared.clock.now() };
        let lock = wanted.clone();
        let changed = self.change_lock(id, by, move |known| match known.locks.on(&lock.path) {
            Some(lock) => Err(LockRefusal::Taken(lock.clone())),
            None if known.locks.len() >= MAX_LOCKS => Err(LockRefusal::TooMany),
            None => Ok(LockChange::Taken { path: lock.path.clone(), owner: lock.owner.clone() }),
        });
        // Somebody may have released it by now; it was taken all the same.
        Ok(changed.await?.map(|known| known.locks.get(&id).cloned().unwrap_or(wanted)))
    }

    /// Releases a lock; `None` when there is none of this name.
    ///
    /// # Errors
    /// Says whether nothing was changed or whether that is not known.
    pub async fn unlock(self: &Arc<Self>, id: LockId, by: LockActor) -> Result<Option<()>, CommitError> {
        let changed = self.change_lock(id, by, move |known| match known.locks.get(&id) {
            Some(_) => Ok(LockChange::Released),
            None => Err(()),
        });
        Ok(changed.await?.ok().map(drop))
    }

    /// Writes an entry that says what `decide` makes of the newest state, and gives the state after it. The work runs in a task of
    /// its own, so that a client that goes away does not leave it half known.
    async fn change_lock<R: Send + 'static>(
        self: &Arc<Self>,
        id: LockId,
        by: LockActor,
        decide: impl Fn(&Snapshot) -> Result<LockChange, R> + Send + 'static,
    ) -> Result<Result<Arc<Snapshot>, R>, CommitError> {
        let repository = Arc::clone(self);
        let task = tokio::spawn(async move {
            let done = repository.try_change_lock(id, &by, decide).await;
            repository.keep_checkpoints();
            done
        });
        task.await.unwrap_or(Err(CommitError::Failed(Error::Stopping)))
    }

    async fn try_change_lock<R>(
        &self,
        id: LockId,
        by: &LockActor,
        decide: impl Fn(&Snapshot) -> Result<LockChange, R>,
    ) -> Result<Result<Arc<Snapshot>, R>, CommitError> {
        let LockActor { actor, request_id } = by;
        for _ in 0..MAX_LOST_RACES {
            let _turn = self.writing.lock().await;
            self.prove().await.map_err(CommitError::Failed)?;
            // A refusal must not be made of old news; what is accepted is checked by the log itself.
            self.catch_up().await.map_err(CommitError::Failed)?;
            let known = self.known();
            let change = match decide(&known) {
                Ok(change) => change,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let record = LockRecord { actor: actor.clone(), request_id: request_id.clone(), id, change };
            let written = self.write_entry(&known, Draft { locks: vec![record], ..Draft::default() }).await;
            if written.map_err(|error| error.to_commit_error())? {
                return Ok(Ok(self.known()));
            }
        }
        Err(CommitError::Contended)
    }
}
