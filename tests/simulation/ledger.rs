//! What the log says, by what was written to the bucket: the one order of all commits, and when each took place.
//!
//! It is kept by the bucket, at the moment at which a request is carried out, and checks there what must hold at that moment. It
//! folds the log by its own few lines, not by the store's.

mod packs;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use model::{ObjectId, RefName};
use store::entry::{Decoded, Entry, Numbered};

use crate::bucket::{Bucket, Kind};
use crate::git::Universe;
use crate::refs::Refs;
use crate::world::World;
use packs::Packs;

/// One entry and what it made of the state.
pub(crate) struct Generation {
    pub(crate) at: Duration,
    pub(crate) digest: [u8; 32],
    pub(crate) entry: Entry,
    /// The references before its first push, and after each of its pushes.
    pub(crate) steps: Vec<Arc<Refs>>,
    /// When it became a stub.
    pub(crate) stub_since: Option<Duration>,
}

impl Generation {
    pub(crate) fn after(&self) -> &Arc<Refs> {
        self.steps.last().expect("because there is a state before the first push")
    }
}

/// The log of one repository.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) generations: Vec<Generation>,
    packs: Packs,
}

/// What the ledger knows of the servers' policy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Promises {
    /// What was dropped is kept for this time.
    pub(crate) retention: Duration,
    /// Clocks are wrong by this much at most.
    pub(crate) clock_error: Duration,
}

/// All logs of the bucket, by repository.
pub(crate) struct Ledger {
    world: Arc<World>,
    pub(crate) universe: Arc<Universe>,
    promises: Promises,
    logs: Mutex<BTreeMap<String, Log>>,
}

impl Log {
    /// The references after an entry; none before the first.
    pub(crate) fn refs(&self, generation: u64) -> Option<Arc<Refs>> {
        match generation {
            0 => Some(Arc::default()),
            number => Some(Arc::clone(self.generation(number)?.after())),
        }
    }

    /// An entry by its number.
    pub(crate) fn generation(&self, number: u64) -> Option<&Generation> {
        self.generations.get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// The default branch after an entry.
    pub(crate) fn head(&self, generation: u64) -> Option<RefName> {
        let entries = self.generations.iter().take(usize::try_from(generation).unwrap_or(usize::MAX));
        let pushes = entries.flat_map(|generation| &generation.entry.pushes);
        pushes.filter_map(|push| push.default_branch.clone()).next_back()
    }

    pub(crate) fn last(&self) -> u64 {
        self.generations.len() as u64
    }

    /// Whether a pack of the state after the last entry lies there.
    pub(crate) fn needs_upload(&self, upload: &str) -> bool {
        self.packs.lies_in_upload(upload)
    }

    /// Objects in the packs of the state after the last entry.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &ObjectId> {
        self.packs.objects()
    }
}

impl Ledger {
    pub(crate) fn new(world: Arc<World>, promises: Promises) -> Self {
        Self { world, universe: Arc::default(), promises, logs: Mutex::default() }
    }

    pub(crate) fn logs(&self) -> MutexGuard<'_, BTreeMap<String, Log>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An object came to be.
    pub(crate) fn created(&self, bucket: &Bucket, key: &str, body: &Bytes) {
        let Some((repository, number)) = log_key(key) else { return };
        if let Err(problem) = self.append(bucket, repository, number, body) {
            self.world.violation(format!("entry {number}: {problem}"));
        }
    }

    fn append(&self, bucket: &Bucket, repository: &str, number: u64, body: &Bytes) -> Result<(), String> {
        let Decoded { entry, payload, digest } = Entry::decode(body).map_err(|error| error.to_string())?;
        let mut logs = self.logs();
        let log = logs.entry(repository.to_owned()).or_default();
        if number != log.last() + 1 {
            return Err(format!("it does not follow {}", log.last()));
        }
        if log.generations.last().map_or([0; 32], |last| last.digest) != entry.previous {
            return Err("it does not name the digest of the one before".to_owned());
        }
        self.world.trace(format_args!("log {number}: {}", describe(&entry)));
        self.world.count("entry");
        if entry.pushes.len() > 1 {
            self.world.count("entry of several pushes");
        }
        let steps = fold_refs(&log.refs(number - 1).unwrap_or_default(), &entry)?;
        let refs = Arc::clone(steps.last().ok_or("it has no state")?);
        let get = |upload: &str, end: &str| bucket.read(&format!("{repository}/packs/{upload}.{end}"));
        let folded =
            packs::Folding { world: &self.world, universe: &self.universe, promises: self.promises, get: &get };
        folded.fold(&mut log.packs, number, &entry, &payload)?;
        log.generations.push(Generation { at: self.world.now(), digest, entry, steps, stub_since: None });
        log.packs.check_whole(&self.universe, refs.tips())
    }

    /// An object is about to be overwritten.
    pub(crate) fn replaced(&self, bucket: &Bucket, key: &str, body: &Bytes) {
        let before = bucket.read(key);
        let outcome = match (Kind::of(key), before) {
            (Kind::Log, Some(before)) if before != *body => self.shortened(bucket, key, body),
            (Kind::Log, None) | (Kind::Checkpoint | Kind::References, _) => Err("was put, not created".to_owned()),
            (Kind::Pack | Kind::Index | Kind::Table, Some(before)) if before != *body => {
                Err("was overwritten".to_owned())
            }
            _ => Ok(()),
        };
        if let Err(problem) = outcome {
            self.world.violation(format!("{key} {problem}"));
        }
    }

    /// An entry is about to be replaced by a stub.
    fn shortened(&self, bucket: &Bucket, key: &str, body: &Bytes) -> Result<(), String> {
        let (repository, number) = log_key(key).ok_or("is no entry")?;
        let Ok(Numbered::Stub(stub)) = Numbered::decode(body) else { return Err("was overwritten".to_owned()) };
        let covered = bucket.keys().iter().any(|key| checkpoint_key(key).is_some_and(|of| of >= (repository, number)));
        let mut logs = self.logs();
        let log = logs.get_mut(repository).ok_or("is of no log")?;
        if log.packs.lie_in(number) {
            return Err("became a stub, and packs lie in it".to_owned());
        }
        if !covered || number == log.last() {
            return Err("became a stub, and no checkpoint covers it".to_owned());
        }
        let place = usize::try_from(number - 1).unwrap_or(usize::MAX);
        let generation = log.generations.get_mut(place).ok_or("is no entry")?;
        if (stub.digest, stub.writer) != (generation.digest, generation.entry.writer) {
            return Err("became the stub of something else".to_owned());
        }
        generation.stub_since = Some(self.world.now());
        self.world.count("stub");
        Ok(())
    }

    /// An object is about to be deleted.
    pub(crate) fn deleted(&self, bucket: &Bucket, key: &str) {
        let Some((repository, rest)) = key.split_once('/') else { return };
        let checkpoints = || bucket.keys().into_iter().filter(|other| other != key);
        let logs = self.logs();
        let Some(log) = logs.get(repository) else { return };
        let needed = match Kind::of(key) {
            Kind::Pack | Kind::Index | Kind::Table => log.packs.lies_in_upload(upload(rest)),
            Kind::Log => true,
            Kind::Checkpoint => {
                let stubs = log.generations.iter().filter(|generation| generation.stub_since.is_some()).count() as u64;
                let newest = checkpoints().filter_map(|key| Some(checkpoint_key(&key)?.1)).max();
                newest.unwrap_or(0) < stubs
            }
            _ => false,
        };
        drop(logs);
        self.world.count(&format!("deleted {:?}", Kind::of(key)));
        if needed {
            self.world.violation(format!("{rest} was deleted and is needed"));
        }
    }
}

/// The name of the upload of `packs/<upload>.pack`.
pub(crate) fn upload(key: &str) -> &str {
    let name = key.rsplit('/').next().unwrap_or_default();
    name.split('.').next().unwrap_or_default()
}

/// Repository and number of an entry's key.
fn log_key(key: &str) -> Option<(&str, u64)> {
    let (repository, rest) = key.split_once('/')?;
    Some((repository, rest.strip_prefix("log/")?.parse().ok()?))
}

fn checkpoint_key(key: &str) -> Option<(&str, u64)> {
    let (repository, rest) = key.split_once('/')?;
    Some((repository, rest.strip_prefix("checkpoint/")?.parse().ok()?))
}

fn fold_refs(before: &Arc<Refs>, entry: &Entry) -> Result<Vec<Arc<Refs>>, String> {
    let mut steps = vec![Arc::clone(before)];
    let mut refs = (**before).clone();
    for push in &entry.pushes {
        for edit in &push.edits {
            if refs.get(&edit.name) != edit.old {
                return Err(format!("it changes {} from a value that it does not have", edit.name));
            }
            refs.edit(edit);
        }
        steps.push(Arc::new(refs.clone()));
    }
    Ok(steps)
}

fn describe(entry: &Entry) -> String {
    let mut words: Vec<String> = entry.pushes.iter().map(|push| push.request_id.clone()).collect();
    if let Some(compaction) = &entry.compaction {
        let what = if compaction.pruned_through.is_some() { "pruned" } else { "retired" };
        words.push(format!("{} packs {what}, {} added", compaction.retired.len(), compaction.added.len()));
    }
    if let Some(upkeep) = &entry.upkeep {
        let fence = upkeep.uploads_before;
        words.push(format!("fence {fence}, truncated {}, deleted {}", upkeep.truncated, upkeep.deleted.len()));
    }
    words.join(", ")
}
