//! The packs of a state, where they lie, and which objects can be read from them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use model::ObjectId;
use store::Upload;
use store::entry::{Compaction, Entry, PackRecord, Place, ReachRecord};

use super::Promises;
use crate::git::{Objects, Universe, extend_readable, index_of, readable};
use crate::world::{EPOCH_SECONDS, World};

/// Where the bytes of a pack are: inside an entry, or in objects of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Lies {
    Inlined(u64),
    Uploaded(String),
}

struct Pack {
    objects: Arc<Objects>,
    lies: Lies,
    /// The upload of its reachability table.
    table: Option<String>,
}

/// What a push dropped, with the number of its entry and the time that the entry says.
struct Dropped {
    tip: ObjectId,
    generation: u64,
    seconds: i64,
}

/// The packs of a state.
#[derive(Default)]
pub(super) struct Packs {
    live: BTreeMap<String, Pack>,
    /// Uploads that an entry has named. A name is used once.
    named: BTreeSet<String>,
    /// Objects that can be read.
    readable: BTreeSet<ObjectId>,
    /// Objects that can be read with all that they lead to.
    whole: BTreeSet<ObjectId>,
    dropped: Vec<Dropped>,
    /// No entry may name an upload that began before this generation.
    fence: u64,
}

/// What folding an entry needs.
pub(super) struct Folding<'a> {
    pub(super) world: &'a World,
    pub(super) universe: &'a Universe,
    pub(super) promises: Promises,
    /// What the bucket holds of an upload.
    pub(super) get: &'a dyn Fn(&str, &str) -> Option<Bytes>,
}

impl Packs {
    pub(super) fn lie_in(&self, generation: u64) -> bool {
        self.live.values().any(|pack| pack.lies == Lies::Inlined(generation))
    }

    pub(super) fn lies_in_upload(&self, upload: &str) -> bool {
        let lies_there = |pack: &Pack| matches!(&pack.lies, Lies::Uploaded(name) if name == upload);
        self.live.values().any(|pack| lies_there(pack) || pack.table.as_deref() == Some(upload))
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = &ObjectId> {
        self.live.values().flat_map(|pack| pack.objects.keys())
    }

    /// Whatever `tips` lead to can be read, and so can every copy of every object in every pack.
    pub(super) fn check_whole(
        &mut self,
        universe: &Universe,
        tips: impl Iterator<Item = ObjectId>,
    ) -> Result<(), String> {
        let found = universe.reachable(tips, &self.whole);
        if let Some(id) = found.difference(&self.readable).next() {
            return Err(format!("object {id} is needed and cannot be read from any pack"));
        }
        // Every copy of it: which one is left by a fold is nobody's promise.
        let mut copies = self.live.values().flat_map(|pack| pack.objects.iter());
        let unread = copies.find(|(_, base)| base.is_some_and(|base| !self.readable.contains(&base)));
        if let Some((id, _)) = unread {
            return Err(format!("a copy of object {id} is in a pack and cannot be read"));
        }
        self.whole.extend(found);
        Ok(())
    }

    /// An entry names an upload.
    fn name(&mut self, upload: Upload) -> Result<String, String> {
        let name = upload.to_string();
        if upload.generation < self.fence {
            return Err(format!("upload {name} is older than the fence {}", self.fence));
        }
        if !self.named.insert(name.clone()) {
            return Err(format!("upload {name} was named before"));
        }
        Ok(name)
    }

    fn read_all(&mut self) {
        self.readable = readable(self.live.values().map(|pack| &*pack.objects));
        self.whole.clear();
    }
}

impl Folding<'_> {
    pub(super) fn fold(&self, packs: &mut Packs, number: u64, entry: &Entry, payload: &Bytes) -> Result<(), String> {
        for push in &entry.pushes {
            push.packs.iter().try_for_each(|record| self.add(packs, number, record, payload))?;
            let seconds = entry.time.as_second() - EPOCH_SECONDS;
            packs.dropped.extend(push.dropped.iter().map(|tip| Dropped { tip: *tip, generation: number, seconds }));
        }
        if let Some(compaction) = &entry.compaction {
            self.compact(packs, number, compaction, payload)?;
        }
        if let Some(upkeep) = &entry.upkeep {
            upkeep.reach.iter().try_for_each(|(pack, table)| self.tabulate(packs, &pack.to_string(), table))?;
            packs.fence = packs.fence.max(upkeep.uploads_before);
        }
        Ok(())
    }

    fn add(&self, packs: &mut Packs, number: u64, record: &PackRecord, payload: &Bytes) -> Result<(), String> {
        let id = record.id.to_string();
        let (pack, index, lies) = match record.place {
            Place::Uploaded(upload) => {
                let name = packs.name(upload)?;
                let pack = (self.get)(&name, "pack").ok_or_else(|| format!("upload {name} is not there"))?;
                let index =
                    (self.get)(&name, "idx").ok_or_else(|| format!("the index of upload {name} is not there"))?;
                (pack, index, Lies::Uploaded(name))
            }
            Place::Inlined { offset } => {
                let (pack, index) = slices(payload, offset, record).ok_or("a pack lies outside the payload")?;
                (pack, index, Lies::Inlined(number))
            }
        };
        let objects = self.universe.parse(&pack).ok_or_else(|| format!("pack {id} is not one"))?;
        if index != index_of(&pack) {
            return Err(format!("the index of {id} is not its own"));
        }
        if packs.live.contains_key(&id) {
            self.world.count("pack committed twice");
            return Ok(());
        }
        packs.live.insert(id, Pack { objects: Arc::clone(&objects), lies, table: None });
        extend_readable(&mut packs.readable, &objects);
        Ok(())
    }

    fn tabulate(&self, packs: &mut Packs, pack: &str, record: &ReachRecord) -> Result<(), String> {
        let name = packs.name(record.upload)?;
        let table = (self.get)(&name, "reach").ok_or_else(|| format!("table {name} is not there"))?;
        let pack = packs.live.get_mut(pack).ok_or_else(|| format!("table {name} is of a pack that has gone"))?;
        if self.universe.table(&pack.objects) != Some(table) {
            return Err(format!("table {name} does not say what its pack says"));
        }
        if pack.table.replace(name).is_some() {
            self.world.count("table made again");
        }
        Ok(())
    }

    fn compact(&self, packs: &mut Packs, number: u64, compaction: &Compaction, payload: &Bytes) -> Result<(), String> {
        self.world.count(if compaction.pruned_through.is_some() { "prune" } else { "fold" });
        for retired in &compaction.retired {
            packs.live.remove(&retired.to_string()).ok_or("it retires a pack that is not there")?;
        }
        compaction.added.iter().try_for_each(|record| self.add(packs, number, record, payload))?;
        packs.read_all();
        let through = compaction.pruned_through.unwrap_or(0);
        let now = i64::try_from(self.world.now().as_secs()).unwrap_or(i64::MAX);
        let (retention, error) = (self.promises.retention.as_secs(), self.promises.clock_error.as_secs());
        let young = now - i64::try_from(retention.saturating_sub(2 * error + 1)).unwrap_or(i64::MAX);
        if packs.dropped.iter().any(|dropped| dropped.generation <= through && dropped.seconds > young) {
            return Err("it forgets a tip that was dropped lately".to_owned());
        }
        packs.dropped.retain(|dropped| dropped.generation > through);
        let kept: Vec<ObjectId> = packs.dropped.iter().map(|dropped| dropped.tip).collect();
        packs.check_whole(self.universe, kept.into_iter())
    }
}

fn slices(payload: &Bytes, offset: u64, record: &PackRecord) -> Option<(Bytes, Bytes)> {
    let number = |number: u64| usize::try_from(number).ok();
    let start = number(offset)?;
    let middle = start.checked_add(number(record.bytes)?)?;
    let end = middle.checked_add(number(record.index_bytes)?)?;
    (end <= payload.len()).then(|| (payload.slice(start..middle), payload.slice(middle..end)))
}
