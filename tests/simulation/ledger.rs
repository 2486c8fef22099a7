//! What the log says, by what was written to the bucket: the one order of all commits, and when each took place.
//!
//! It is kept by the bucket, at the moment at which a request is carried out, and checks there what must hold at that moment. It
//! folds the log by its own few lines, not by the store's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use model::{ObjectId, RefName};
use store::entry::{Decoded, Entry, PackRecord, Place};

use crate::bucket::{Bucket, Kind};
use crate::git::{Objects, Universe, index_of};
use crate::world::World;

/// References and their values.
pub(crate) type Refs = BTreeMap<RefName, ObjectId>;

/// One entry and what it made of the state.
pub(crate) struct Generation {
    pub(crate) at: Duration,
    pub(crate) digest: [u8; 32],
    pub(crate) entry: Entry,
    /// The references before its first push, and after each of its pushes.
    pub(crate) steps: Vec<Arc<Refs>>,
}

impl Generation {
    pub(crate) fn after(&self) -> &Arc<Refs> {
        self.steps.last().expect("because there is a state before the first push")
    }
}

/// A pack that the state needs.
struct Live {
    objects: Arc<Objects>,
    /// The entry that it lies in, or none when it is an object of its own.
    inlined_at: Option<u64>,
}

/// The log of one repository.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) generations: Vec<Generation>,
    live: BTreeMap<String, Live>,
    /// Objects that are there with all that they lead to.
    whole: BTreeSet<ObjectId>,
}

/// All logs of the bucket, by repository.
pub(crate) struct Ledger {
    world: Arc<World>,
    pub(crate) universe: Arc<Universe>,
    logs: Mutex<BTreeMap<String, Log>>,
}

impl Log {
    /// The references after an entry; none before the first.
    pub(crate) fn refs(&self, generation: u64) -> Option<Arc<Refs>> {
        match generation.checked_sub(1) {
            None => Some(Arc::default()),
            Some(place) => Some(Arc::clone(self.generation(place + 1)?.after())),
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
        pushes.filter_map(|push| push.default_branch.clone()).last()
    }

    pub(crate) fn last(&self) -> u64 {
        self.generations.len() as u64
    }

    /// Packs that the state after the last entry needs.
    pub(crate) fn live_packs(&self) -> impl Iterator<Item = &String> {
        self.live.keys()
    }
}

impl Ledger {
    pub(crate) fn new(world: Arc<World>) -> Self {
        Self { world, universe: Arc::default(), logs: Mutex::default() }
    }

    pub(crate) fn logs(&self) -> MutexGuard<'_, BTreeMap<String, Log>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An object came to be.
    pub(crate) fn created(&self, bucket: &Bucket, key: &str, body: &Bytes) {
        let Some((repository, number)) = log_key(key) else { return };
        let outcome = self.append(bucket, repository, number, body);
        if let Err(problem) = outcome {
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
        self.fold_packs(bucket, repository, log, number, &entry, &payload)?;
        log.generations.push(Generation { at: self.world.now(), digest, entry, steps });
        self.check_whole(log)
    }

    fn fold_packs(
        &self,
        bucket: &Bucket,
        repository: &str,
        log: &mut Log,
        number: u64,
        entry: &Entry,
        payload: &Bytes,
    ) -> Result<(), String> {
        if let Some(compaction) = &entry.compaction {
            self.world.count("compaction");
            for retired in &compaction.retired {
                log.live.remove(&retired.to_string()).ok_or("it retires a pack that is not there")?;
            }
            log.whole.clear();
        }
        let added = entry.pushes.iter().flat_map(|push| &push.packs);
        for record in added.chain(entry.compaction.iter().flat_map(|compaction| &compaction.added)) {
            let id = record.id.to_string();
            if log.live.contains_key(&id) {
                self.world.count("pack committed twice");
                continue;
            }
            let (pack, index, inlined_at) = match record.place {
                Place::Uploaded => {
                    let get = |end: &str| bucket.get(&format!("{repository}/packs/{id}.{end}"));
                    let pack = get("pack").ok_or(format!("pack {id} was not uploaded"))?;
                    (pack, get("idx").ok_or(format!("the index of {id} was not uploaded"))?, None)
                }
                Place::Inlined { offset } => {
                    let (pack, index) = slices(payload, offset, record).ok_or("a pack lies outside the payload")?;
                    (pack, index, Some(number))
                }
            };
            let objects = self.universe.parse(&pack).ok_or(format!("pack {id} is not one"))?;
            if index != index_of(&pack) {
                return Err(format!("the index of {id} is not its own"));
            }
            log.live.insert(id, Live { objects, inlined_at });
        }
        Ok(())
    }

    /// Whatever the references lead to is in the packs of the state.
    fn check_whole(&self, log: &mut Log) -> Result<(), String> {
        let Some(last) = log.generations.last() else { return Ok(()) };
        let found = self.universe.reachable(last.after().values().copied(), &log.whole);
        let missing = found.iter().find(|id| !log.live.values().any(|pack| pack.objects.contains_key(*id)));
        if let Some(id) = missing {
            return Err(format!("object {id} is needed and in no pack"));
        }
        log.whole.extend(found);
        Ok(())
    }

    /// An object is about to be overwritten.
    pub(crate) fn replaced(&self, bucket: &Bucket, key: &str, body: &Bytes) {
        if let Kind::Log | Kind::Checkpoint = Kind::of(key)
            && bucket.get(key).is_some_and(|before| before != *body)
        {
            self.world.violation(format!("{key} was overwritten"));
        }
    }

    /// An object is about to be deleted.
    pub(crate) fn deleted(&self, key: &str) {
        let Some((repository, rest)) = key.split_once('/') else { return };
        let logs = self.logs();
        let Some(log) = logs.get(repository) else { return };
        let needed = match Kind::of(key) {
            Kind::Pack | Kind::Index => {
                let id = rest.trim_start_matches("packs/").split('.').next().unwrap_or_default();
                log.live.get(id).is_some_and(|pack| pack.inlined_at.is_none())
            }
            Kind::Log => log_key(key).is_some_and(|(_, number)| is_needed(log, number)),
            _ => false,
        };
        drop(logs);
        if needed {
            self.world.violation(format!("{rest} was deleted and is needed"));
        }
    }
}

fn is_needed(log: &Log, number: u64) -> bool {
    log.live.values().any(|pack| pack.inlined_at == Some(number)) || number == log.last()
}

/// Repository and number of an entry's key.
fn log_key(key: &str) -> Option<(&str, u64)> {
    let (repository, rest) = key.split_once('/')?;
    Some((repository, rest.strip_prefix("log/")?.parse().ok()?))
}

fn fold_refs(before: &Arc<Refs>, entry: &Entry) -> Result<Vec<Arc<Refs>>, String> {
    let mut steps = vec![Arc::clone(before)];
    let mut refs = (**before).clone();
    for push in &entry.pushes {
        for edit in &push.edits {
            if refs.get(&edit.name).copied() != edit.old {
                return Err(format!("it changes {} from a value that it does not have", edit.name));
            }
            match edit.new {
                Some(new) => drop(refs.insert(edit.name.clone(), new)),
                None => drop(refs.remove(&edit.name)),
            }
        }
        steps.push(Arc::new(refs.clone()));
    }
    Ok(steps)
}

fn slices(payload: &Bytes, offset: u64, record: &PackRecord) -> Option<(Bytes, Bytes)> {
    let number = |number: u64| usize::try_from(number).ok();
    let start = number(offset)?;
    let middle = start.checked_add(number(record.bytes)?)?;
    let end = middle.checked_add(number(record.index_bytes)?)?;
    (end <= payload.len()).then(|| (payload.slice(start..middle), payload.slice(middle..end)))
}

fn describe(entry: &Entry) -> String {
    let mut words: Vec<String> = entry.pushes.iter().map(|push| push.request_id.clone()).collect();
    if let Some(compaction) = &entry.compaction {
        words.push(format!("{} packs retired, {} added", compaction.retired.len(), compaction.added.len()));
    }
    words.join(", ")
}
