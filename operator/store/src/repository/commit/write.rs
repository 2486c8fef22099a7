//! Writes one entry; every doubtful answer is settled by reading.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::entry::{Compaction, Decoded, Entry, LockRecord, Numbered, PushRecord, UpkeepRecord};
use crate::error::{CommitError, Error};
use crate::keys;
use crate::metrics::Attempt;
use crate::object::{Create, StoreError};
use crate::repository::{Committed, Repository, read};
use crate::state::Snapshot;

/// Doubtful answers in a row before we say that we do not know.
const MAX_DOUBTS: u32 = 6;

/// What an entry is to say.
#[derive(Default)]
pub(in crate::repository) struct Draft {
    pub(in crate::repository) pushes: Vec<PushRecord>,
    pub(in crate::repository) payload: Vec<u8>,
    pub(in crate::repository) compaction: Option<Compaction>,
    pub(in crate::repository) upkeep: Option<UpkeepRecord>,
    pub(in crate::repository) locks: Vec<LockRecord>,
}

impl Repository {
    /// Creates the entry after `base`. `Ok(false)`: the number is somebody else's, and what they wrote is known now.
    ///
    /// The caller holds the turn to write.
    pub(in crate::repository) async fn write_entry(&self, base: &Snapshot, draft: Draft) -> Result<bool, GroupError> {
        let written = self.try_to_write(base, draft).await;
        self.shared.metrics.commits.count(match &written {
            Ok(true) => Attempt::Created,
            Ok(false) => Attempt::LostRace,
            Err(GroupError::Unknown(_)) => Attempt::Unknown,
            Err(GroupError::Failed(_) | GroupError::Contended) => Attempt::Failed,
        });
        written
    }

    async fn try_to_write(&self, base: &Snapshot, draft: Draft) -> Result<bool, GroupError> {
        let mut writer = [0; 16];
        self.shared.random.fill(&mut writer);
        let Draft { pushes, payload, compaction, upkeep, locks } = draft;
        let time = self.shared.clock.now();
        let entry = Entry { previous: base.digest, writer, time, pushes, compaction, upkeep, locks };
        let generation = base.generation + 1;
        let (bytes, digest) = entry.encode(&payload);
        // Its packs are in the cache already, so nobody needs the payload.
        let ours = Decoded { entry, payload: Bytes::new(), digest };
        let key = keys::log_entry(&self.id, generation);
        let (epoch, mut doubts) = (self.shared.store.epoch(), 0);
        if !self.is_proven() {
            return self.look_again(generation, &writer, &mut doubts).await;
        }
        if sabotaged!(AcknowledgeEarly) {
            let (store, key, bytes) = (Arc::clone(&self.shared.store), key.clone(), bytes.clone());
            tokio::spawn(async move { store.create(&key, bytes).await });
            self.apply(epoch, generation, &ours).map_err(GroupError::failed)?;
            return Ok(true);
        }
        loop {
            let mut answer = self.shared.store.create_in(epoch, &key, bytes.clone()).await;
            if matches!(answer, Ok(Create::Exists)) && sabotaged!(TakeExistsForTheirs) {
                return self.catch_up().await.map(|_| false).map_err(GroupError::failed);
            }
            if matches!(answer, Ok(Create::Exists)) && sabotaged!(TakeExistsForOurs) {
                answer = Ok(Create::Created);
            }
            if matches!(answer, Ok(Create::Exists)) && sabotaged!(ReuseNumber) {
                answer = self.shared.store.put(&key, bytes.clone()).await.map(|()| Create::Created);
            }
            let doubt = match answer {
                Ok(Create::Created) => {
                    self.apply(epoch, generation, &ours).map_err(GroupError::failed)?;
                    return Ok(true);
                }
                Ok(Create::Exists) => None,
                Err(StoreError::Superseded { .. }) => return self.look_again(generation, &writer, &mut doubts).await,
                Err(error) if sabotaged!(TakeDoubtForFailure) => return Err(GroupError::failed(error.into())),
                Err(error @ StoreError::Unknown { .. }) => Some(error),
                Err(error) if doubts == 0 => return Err(GroupError::failed(error.into())),
                // An earlier attempt may have got through.
                Err(error) => Some(error),
            };
            if doubt.is_some() {
                self.shared.metrics.commits.count(Attempt::Doubtful);
            }
            let settled = self.settle(generation, &writer, doubt, &mut doubts).await?;
            if self.shared.store.epoch() != epoch {
                return self.look_again(generation, &writer, &mut doubts).await;
            }
            match settled {
                Settled::Ours => {
                    self.apply(epoch, generation, &ours).map_err(GroupError::failed)?;
                    return Ok(true);
                }
                Settled::Theirs(theirs) => {
                    self.apply(epoch, generation, &theirs).map_err(GroupError::failed)?;
                    return Ok(false);
                }
                Settled::Stub { ours } => {
                    self.reload().await.map_err(|error| GroupError::Unknown(error.to_string()))?;
                    return Ok(ours);
                }
                Settled::Absent => {}
            }
        }
    }

    /// Another store has become the primary one: what was known may not be in its log, and what was written may be.
    async fn look_again(&self, generation: u64, writer: &[u8; 16], doubts: &mut u32) -> Result<bool, GroupError> {
        self.prove().await.map_err(GroupError::failed)?;
        let settled = self.settle(generation, writer, None, doubts).await?;
        self.catch_up().await.map_err(GroupError::failed)?;
        Ok(matches!(settled, Settled::Ours | Settled::Stub { ours: true }))
    }

    /// Reads the number that we tried to create: whose is it?
    async fn settle(
        &self,
        generation: u64,
        writer: &[u8; 16],
        mut doubt: Option<StoreError>,
        doubts: &mut u32,
    ) -> Result<Settled, GroupError> {
        loop {
            if doubt.is_some() {
                *doubts += 1;
                if *doubts > MAX_DOUBTS {
                    let error = doubt.take().expect("because it was just seen");
                    return Err(GroupError::Unknown(error.to_string()));
                }
                tokio::time::sleep(Duration::from_millis(50 << (*doubts).min(6))).await;
            }
            let epoch = self.shared.store.epoch();
            match read::read_decided(&*self.shared.store, &self.id, generation).await {
                Ok(Some(Numbered::Entry(read))) if read.entry.writer == *writer => {
                    match self.shared.store.confirm(&keys::log_entry(&self.id, generation)).await {
                        // What was read is in the log that counts, unless another store has become the primary one meanwhile.
                        Ok(()) if self.shared.store.epoch() != epoch => {}
                        Ok(()) => return Ok(Settled::Ours),
                        Err(error) => doubt = Some(error),
                    }
                }
                Ok(Some(Numbered::Entry(read))) => return Ok(Settled::Theirs(read)),
                Ok(Some(Numbered::Stub(stub))) => return Ok(Settled::Stub { ours: stub.writer == *writer }),
                // "Exists", but not there: a store that contradicts itself. Ask again, but not for ever.
                Ok(None) if doubt.is_none() && *doubts >= MAX_DOUBTS => {
                    let reason = "the store says both that the entry exists and that it does not";
                    return Err(GroupError::Unknown(reason.to_owned()));
                }
                Ok(None) => {
                    *doubts += u32::from(doubt.is_none());
                    return Ok(Settled::Absent);
                }
                Err(Error::Store(error)) => doubt = Some(error),
                Err(error) => return Err(GroupError::Unknown(error.to_string())),
            }
        }
    }
}

enum Settled {
    Ours,
    Theirs(Box<Decoded>),
    /// We slept so long that others have written it, gone on, and cut the log behind them.
    Stub {
        ours: bool,
    },
    Absent,
}

/// Why a whole group failed; each of its pushes is told.
pub(in crate::repository) enum GroupError {
    Contended,
    Unknown(String),
    Failed(Arc<Error>),
}

impl GroupError {
    pub(super) fn failed(error: Error) -> Self {
        Self::Failed(Arc::new(error))
    }

    pub(super) fn for_each_of(&self, count: usize) -> Vec<Result<Committed, CommitError>> {
        (0..count).map(|_| Err(self.to_commit_error())).collect()
    }

    pub(in crate::repository) fn to_commit_error(&self) -> CommitError {
        let unavailable = |reason: &str| StoreError::Unavailable {
            operation: "commit",
            key: "log".to_owned(),
            reason: reason.to_owned(),
        };
        match self {
            Self::Contended => CommitError::Contended,
            Self::Unknown(reason) => CommitError::Unknown(unavailable(reason)),
            Self::Failed(error) => CommitError::Failed(match &**error {
                Error::Store(StoreError::Full { operation, key }) => {
                    StoreError::Full { operation, key: key.clone() }.into()
                }
                Error::Store(StoreError::Refused { operation, key, reason }) => {
                    StoreError::Refused { operation, key: key.clone(), reason: reason.clone() }.into()
                }
                Error::Damaged { key, reason } => Error::Damaged { key: key.clone(), reason: reason.clone() },
                other => unavailable(&other.to_string()).into(),
            }),
        }
    }

    /// What went wrong, for a log line.
    pub(in crate::repository) fn reason(&self) -> String {
        self.to_commit_error().to_string()
    }
}
