//! Takes over content that a client has sent to the bucket itself: it becomes visible once all of it was read and has the hash that is its
//! name, like everything else. What the bucket made of the checksum that the client sent along is not relied on (ADR 0017).

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use model::RepositoryId;
use model::lfs::Oid;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use super::summing::Summing;
use super::{LfsObject, LfsObjects};
use crate::blocking::blocking;
use crate::error::Error;
use crate::keys;
use crate::object::StoreError;

const PIECE: u64 = 4 << 20;
/// Pieces of an object that are read at once: one connection to a bucket has seldom all of its rate.
const PIECES: usize = 4;
/// Pieces of all objects that are in memory at once.
const ALL_PIECES: usize = 16;
/// Times that a part is asked for.
const ATTEMPTS: u32 = 4;

/// What became of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adopted {
    /// It is an object now, or was one before.
    Kept(LfsObject),
    /// There is none.
    Missing,
    /// It is not what its name says, and stays invisible.
    Wrong(String),
}

/// Some bytes, and the room that they take.
struct Piece {
    bytes: Vec<Bytes>,
    _room: OwnedSemaphorePermit,
}

type Name = (RepositoryId, Oid);

/// Who takes over what on this server.
pub(crate) struct Adoptions {
    /// Given in the order of asking, so that the first piece of an object that is waited for is never behind a later one.
    room: Arc<Semaphore>,
    /// A client that does not get an answer in time asks again: then somebody is at it already.
    underway: Mutex<HashMap<Name, Weak<Turn<()>>>>,
}

impl Default for Adoptions {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(ALL_PIECES)), underway: Mutex::default() }
    }
}

impl Adoptions {
    async fn alone(&self, id: &RepositoryId, oid: Oid) -> OwnedMutexGuard<()> {
        let turn = {
            let mut underway = self.underway.lock().unwrap_or_else(PoisonError::into_inner);
            underway.retain(|_, turn| turn.strong_count() > 0);
            let name = (id.clone(), oid);
            let known = underway.get(&name).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let turn = Arc::new(Turn::new(()));
                underway.insert(name, Arc::downgrade(&turn));
                turn
            })
        };
        turn.lock_owned().await
    }
}

impl LfsObjects {
    /// Makes visible what lies under the name of an object, if it is that object.
    ///
    /// # Errors
    /// When the store does not say.
    pub async fn adopt(&self, oid: Oid, size: u64) -> Result<Adopted, Error> {
        // Never sent there: see `Direct::upload`.
        if size == 0 {
            return Ok(Adopted::Missing);
        }
        let _alone = self.shared.adoptions.alone(&self.id, oid).await;
        loop {
            let (life, found) = self.lasting(&oid).await?;
            if let Some(found) = found {
                return Ok(Adopted::Kept(found));
            }
            let object = match self.summed(oid, life, size).await {
                Ok(Some(object)) => object,
                Ok(None) => return Ok(Adopted::Missing),
                Err(Error::Store(StoreError::Damaged { reason, .. })) => return Ok(Adopted::Wrong(reason)),
                Err(error) => return Err(error),
            };
            if *object.oid() != oid {
                let found = object.oid();
                return Ok(Adopted::Wrong(format!("the SHA-256 of what is there is {found}: these are not its bytes")));
            }
            self.create(&keys::lfs_sums(&self.id, &oid, life), &object.encode()).await?;
            // Given up all the same: something else had lain there for long. Nobody was told that it is there.
            if !self.is_gone(&oid, life).await? {
                self.shared.lfs_usage.took(&self.id, &oid, size);
                return Ok(Adopted::Kept(object.in_life(life)));
            }
        }
    }

    /// Reads all of the content of a life; `None` when there is none.
    async fn summed(&self, oid: Oid, life: u32, size: u64) -> Result<Option<LfsObject>, Error> {
        let key = keys::lfs(&self.id, &oid, life);
        let starts = (0..size).step_by(usize::try_from(PIECE).unwrap_or(usize::MAX));
        let mut pieces = pin!(stream::iter(starts).map(|start| self.piece(&key, start, size)).buffered(PIECES));
        let (mut summing, mut next) = (Summing::new(size), pieces.next().await);
        while let Some(piece) = next {
            let Some(piece) = piece? else { return Ok(None) };
            let sum = move || {
                piece.bytes.iter().for_each(|bytes| summing.update(bytes));
                summing
            };
            let (summed, following) = tokio::join!(blocking(sum), pieces.next());
            (summing, next) = (summed?, following);
        }
        Ok(Some(summing.finish()))
    }

    async fn piece(&self, key: &str, start: u64, size: u64) -> Result<Option<Piece>, Error> {
        let room = Arc::clone(&self.shared.adoptions.room);
        let room = room.acquire_owned().await.map_err(|_| Error::Stopping)?;
        let mut attempt = 1;
        loop {
            match self.try_piece(key, start, size).await {
                Err(StoreError::Unavailable { .. }) if attempt < ATTEMPTS => {
                    tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
                    attempt += 1;
                }
                outcome => return Ok(outcome?.map(|bytes| Piece { bytes, _room: room })),
            }
        }
    }

    async fn try_piece(&self, key: &str, start: u64, size: u64) -> Result<Option<Vec<Bytes>>, StoreError> {
        let end = (start + PIECE).min(size);
        let Some(mut arriving) = self.shared.store.stream(key, start..end, size).await? else { return Ok(None) };
        let (mut piece, mut missing) = (Vec::new(), end - start);
        while missing > 0 {
            let Some(bytes) = arriving.next().await.transpose()? else {
                let reason = "it ended early".to_owned();
                return Err(StoreError::Unavailable { operation: "stream", key: key.to_owned(), reason });
            };
            missing = missing.saturating_sub(bytes.len() as u64);
            piece.push(bytes);
        }
        Ok(Some(piece))
    }
}
