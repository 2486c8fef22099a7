//! Commits: many pushes, one entry; every doubtful answer is settled by reading.
//!
//! Pushes wait in a queue while the entry before them is under way, and go together into the next one. The work runs in a task
//! of its own, so that a client that goes away does not leave a commit half known.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use model::ObjectId;
use tokio::sync::oneshot;

use super::{Committed, EditResult, Push, Repository};
use crate::blocking::blocking;
use crate::cache::CachedPack;
use crate::digest::sha256_file;
use crate::entry::{Decoded, Entry, PackRecord, Place, PushRecord};
use crate::error::{CommitError, Error};
use crate::keys;
use crate::object::{Create, StoreError};
use crate::state::{PackId, RefEdit, Snapshot};

/// Packs up to this size, with their index, travel inside the entry.
const INLINE_BYTES: u64 = 256 << 10;
/// An entry takes on more pushes up to this payload.
const ENTRY_BYTES: usize = 4 << 20;
/// An entry takes on more pushes up to this number of edits.
const ENTRY_EDITS: usize = 50_000;
/// Numbers that others may take before we give up.
const MAX_LOST_RACES: u32 = 256;
/// Doubtful answers in a row before we say that we do not know.
const MAX_DOUBTS: u32 = 6;

/// A push in the queue.
pub(super) struct Pending {
    push: Push,
    packs: Vec<PreparedPack>,
    answer: oneshot::Sender<Result<Committed, CommitError>>,
}

/// A pack whose bytes are where the entry needs them.
struct PreparedPack {
    record: PackRecord,
    /// Pack and index, when they travel inside the entry.
    inline: Option<Bytes>,
    /// Keeps the local copy.
    cached: Arc<CachedPack>,
}

/// What a group makes of the state: the entry to write, and what each push will be told.
struct Plan {
    pushes: Vec<PushRecord>,
    payload: Vec<u8>,
    outcomes: Vec<Outcome>,
}

enum Outcome {
    Accepted(Vec<EditResult>),
    Moved(Vec<(model::RefName, Option<ObjectId>)>),
}

impl Repository {
    /// Commits a push; when this returns `Ok`, it is durable and visible to every server.
    ///
    /// # Errors
    /// Says whether nothing was changed or whether that is not known.
    pub async fn commit(self: &Arc<Self>, mut push: Push) -> Result<Committed, CommitError> {
        let pack = push.pack.take();
        let packs = match pack {
            Some(pack) => vec![self.prepare(pack).await.map_err(CommitError::Failed)?],
            None => vec![],
        };
        let (answer, answered) = oneshot::channel();
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push(Pending { push, packs, answer });
        let repository = Arc::clone(self);
        tokio::spawn(async move { repository.drain().await });
        answered.await.unwrap_or(Err(CommitError::Failed(Error::Stopping)))
    }

    /// Brings a received pack to where the entry can name it: into the bucket, or into the entry when it is small.
    async fn prepare(&self, received: super::ReceivedPack) -> Result<PreparedPack, Error> {
        let (cache, id) = (Arc::clone(&self.shared.cache), self.id.clone());
        let admit = blocking(move || -> Result<_, Error> {
            let (pack_id, bytes) = sha256_file(&received.pack)?;
            let (index_id, index_bytes) = sha256_file(&received.index)?;
            let small = bytes + index_bytes <= INLINE_BYTES;
            let place = if small { Place::Inlined { offset: 0 } } else { Place::Uploaded };
            let (objects, exact) = (received.objects, received.exact);
            let record = PackRecord { id: PackId(pack_id), index_id, bytes, index_bytes, objects, exact, place };
            let inline = if small {
                let mut both = std::fs::read(&received.pack)?;
                both.extend_from_slice(&std::fs::read(&received.index)?);
                Some(Bytes::from(both))
            } else {
                None
            };
            let cached = cache.insert(&id, &record, &received.pack, &received.index)?;
            Ok(PreparedPack { record, inline, cached })
        });
        let prepared = admit.await??;
        if prepared.inline.is_none() {
            self.upload(&prepared.record, &prepared.cached).await?;
        }
        Ok(prepared)
    }

    /// Uploads pack and index, both before the entry that names them.
    pub(super) async fn upload(&self, record: &PackRecord, cached: &CachedPack) -> Result<(), Error> {
        let (pack, index) = (keys::pack(&self.id, &record.id), keys::pack_index(&self.id, &record.id));
        let store = &self.shared.store;
        let upload_index = async {
            let uploaded = store.upload(&index, &cached.index).await;
            if sabotaged!(IgnoreFailedUpload) { Ok(()) } else { uploaded }
        };
        tokio::try_join!(store.upload(&pack, &cached.pack), upload_index)?;
        Ok(())
    }

    /// Commits what waits in the queue.
    async fn drain(self: Arc<Self>) {
        let turn = self.writing.lock().await;
        let group = self.take_group();
        if group.is_empty() {
            return;
        }
        let outcome = self.write_group(&group).await;
        drop(turn);
        let answers: Vec<Result<Committed, CommitError>> = match outcome {
            Ok((generation, outcomes)) => outcomes.into_iter().map(|outcome| outcome.answer(generation)).collect(),
            Err(error) => error.for_each_of(group.len()),
        };
        for (pending, answer) in group.into_iter().zip(answers) {
            // The client may have gone; the commit stands all the same.
            let _ = pending.answer.send(answer);
        }
        self.keep_house();
    }

    fn take_group(&self) -> Vec<Pending> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut bytes, mut edits, mut count) = (0, 0, 0);
        for pending in queue.iter() {
            bytes += pending.packs.iter().filter_map(|pack| pack.inline.as_ref()).map(Bytes::len).sum::<usize>();
            edits += pending.push.edits.len();
            if count > 0 && (bytes > ENTRY_BYTES || edits > ENTRY_EDITS) {
                break;
            }
            count += 1;
        }
        queue.drain(..count).collect()
    }

    /// Writes one entry for the group; the generation is that of the entry, or what is known when no push could go on.
    async fn write_group(&self, group: &[Pending]) -> Result<(u64, Vec<Outcome>), GroupError> {
        let mut fresh = sabotaged!(RefuseFromMemory);
        let mut lost = 0;
        let first = self.known();
        loop {
            let base = self.known();
            let plan = Plan::new(if sabotaged!(SkipRecheck) { &first } else { &base }, group);
            if plan.is_doubtful() && !fresh {
                // What we know may be old: only the log can tell a client that its reference moved.
                self.catch_up().await.map_err(GroupError::failed)?;
                fresh = true;
                continue;
            }
            if plan.pushes.is_empty() {
                return Ok((base.generation, plan.outcomes));
            }
            if self.write_entry(&base, plan.pushes, None, &plan.payload).await? {
                return Ok((base.generation + 1, plan.outcomes));
            }
            // Only one of the entries behind what we knew has been read: it may be old news, too.
            fresh = sabotaged!(RefuseFromMemory);
            lost += 1;
            if lost > MAX_LOST_RACES {
                return Err(GroupError::Contended);
            }
        }
    }

    /// Creates the entry after `base`. `Ok(false)`: the number is somebody else's, whose entry is applied now.
    pub(super) async fn write_entry(
        &self,
        base: &Snapshot,
        pushes: Vec<PushRecord>,
        compaction: Option<crate::entry::Compaction>,
        payload: &[u8],
    ) -> Result<bool, GroupError> {
        let mut writer = [0; 16];
        self.shared.random.fill(&mut writer);
        let entry = Entry { previous: base.digest, writer, time: self.shared.clock.now(), pushes, compaction };
        let generation = base.generation + 1;
        let (bytes, digest) = entry.encode(payload);
        let ours = Decoded { entry, payload: Bytes::copy_from_slice(payload), digest };
        let key = keys::log_entry(&self.id, generation);
        let mut doubts = 0;
        if sabotaged!(AcknowledgeEarly) {
            let (store, key, bytes) = (Arc::clone(&self.shared.store), key.clone(), bytes.clone());
            tokio::spawn(async move { store.create(&key, bytes).await });
            self.apply(generation, &ours).map_err(GroupError::failed)?;
            return Ok(true);
        }
        loop {
            let mut answer = self.shared.store.create(&key, bytes.clone()).await;
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
                    self.apply(generation, &ours).map_err(GroupError::failed)?;
                    return Ok(true);
                }
                Ok(Create::Exists) => None,
                Err(error @ StoreError::Unknown { .. }) if !sabotaged!(TakeDoubtForFailure) => Some(error),
                Err(error) if sabotaged!(TakeDoubtForFailure) => return Err(GroupError::failed(error.into())),
                Err(error) if doubts == 0 => return Err(GroupError::failed(error.into())),
                // An earlier attempt may have got through.
                Err(error) => Some(error),
            };
            match self.settle(generation, &writer, doubt, &mut doubts).await? {
                Settled::Ours => {
                    self.apply(generation, &ours).map_err(GroupError::failed)?;
                    return Ok(true);
                }
                Settled::Theirs(theirs) => {
                    self.apply(generation, &theirs).map_err(GroupError::failed)?;
                    return Ok(false);
                }
                Settled::Absent => {}
            }
        }
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
            match super::read::read_entry(&*self.shared.store, &self.id, generation).await {
                Ok(Some(read)) if read.entry.writer == *writer => return Ok(Settled::Ours),
                Ok(Some(read)) => return Ok(Settled::Theirs(Box::new(read))),
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
    Absent,
}

/// Why a whole group failed; each of its pushes is told.
pub(super) enum GroupError {
    Contended,
    Unknown(String),
    Failed(Arc<Error>),
}

impl GroupError {
    fn failed(error: Error) -> Self {
        Self::Failed(Arc::new(error))
    }

    fn for_each_of(&self, count: usize) -> Vec<Result<Committed, CommitError>> {
        (0..count).map(|_| Err(self.to_commit_error())).collect()
    }

    fn to_commit_error(&self) -> CommitError {
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
    pub(super) fn reason(&self) -> String {
        self.to_commit_error().to_string()
    }
}

impl Outcome {
    fn answer(self, generation: u64) -> Result<Committed, CommitError> {
        match self {
            Self::Accepted(results) => Ok(Committed { generation, results }),
            Self::Moved(moved) => Err(CommitError::Moved(moved)),
        }
    }
}

impl Plan {
    /// Pure: decides each push against the state that the pushes before it leave.
    fn new(base: &Snapshot, group: &[Pending]) -> Self {
        let mut plan = Self { pushes: vec![], payload: vec![], outcomes: vec![] };
        let mut state = base.clone();
        for pending in group {
            let results: Vec<EditResult> = pending.push.edits.iter().map(|edit| check(&state, edit)).collect();
            let refused = results.iter().filter(|result| result.is_err()).count();
            let atomic = pending.push.atomic && !sabotaged!(SplitAtomic);
            if refused > 0 && (atomic || refused == results.len()) {
                plan.outcomes.push(Outcome::Moved(state.moved(&pending.push.edits)));
                continue;
            }
            let accepted = pending.push.edits.iter().zip(&results).filter(|(_, result)| result.is_ok());
            let edits: Vec<RefEdit> = accepted.map(|(edit, _)| edit.clone()).collect();
            for edit in &edits {
                state.refs.set(&edit.name, edit.new);
            }
            let default_branch = pending.push.default_branch.clone().filter(|branch| {
                state.head.is_none() && edits.iter().any(|edit| edit.name == *branch && edit.new.is_some())
            });
            if default_branch.is_some() {
                state.head.clone_from(&default_branch);
            }
            plan.accept(pending, edits, default_branch);
            plan.outcomes.push(Outcome::Accepted(results));
        }
        plan
    }

    fn accept(&mut self, pending: &Pending, edits: Vec<RefEdit>, default_branch: Option<model::RefName>) {
        let packs = pending.packs.iter().map(|pack| {
            let place = pack.inline.as_ref().map_or(Place::Uploaded, |bytes| {
                let offset = self.payload.len() as u64;
                self.payload.extend_from_slice(bytes);
                Place::Inlined { offset }
            });
            PackRecord { place, ..pack.record.clone() }
        });
        let packs = packs.collect();
        let Push { actor, request_id, options, dropped, .. } = &pending.push;
        self.pushes.push(PushRecord {
            actor: actor.clone(),
            request_id: request_id.clone(),
            options: options.clone(),
            edits,
            packs,
            dropped: dropped.clone(),
            default_branch,
        });
    }

    fn is_doubtful(&self) -> bool {
        self.outcomes.iter().any(|outcome| match outcome {
            Outcome::Moved(_) => true,
            Outcome::Accepted(results) => results.iter().any(Result::is_err),
        })
    }
}

fn check(state: &Snapshot, edit: &RefEdit) -> EditResult {
    let present = state.refs.get(&edit.name);
    if present == edit.old { Ok(()) } else { Err(present) }
}
