//! Just enough of git: objects with links to others, packs that are lists of objects, and what a repository's packs can tell.
//!
//! An object's id fixes its links, as a hash would. In a pack, an object may be a delta on another one, its base, which this or
//! another pack must hold, or it cannot be read: such packs are thin.

pub(crate) mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use model::{Content, ObjectId};
use store::{LocalPack, ReceivedPack};

use crate::dice::Dice;

const MAGIC: &[u8] = b"FAKEPACK";
/// What makes a pack too large to travel inside an entry.
const BULK: usize = 257 << 10;

/// The objects of a pack with their bases.
pub(crate) type Objects = BTreeMap<ObjectId, Option<ObjectId>>;

/// All objects that were ever made: what an id says.
#[derive(Default)]
pub(crate) struct Universe {
    links: Mutex<BTreeMap<ObjectId, Vec<ObjectId>>>,
    /// Packs that were read before, by their bytes.
    parsed: Mutex<BTreeMap<Bytes, Arc<Objects>>>,
    /// The same, by their files: no incarnation of a server writes another pack under a name.
    files: Mutex<BTreeMap<PathBuf, Arc<Objects>>>,
}

impl Universe {
    fn all(&self) -> MutexGuard<'_, BTreeMap<ObjectId, Vec<ObjectId>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new object.
    pub(crate) fn make(&self, dice: &mut Dice, links: Vec<ObjectId>) -> ObjectId {
        let mut bytes = [0; 20];
        dice.fill(&mut bytes);
        let id = ObjectId::Sha1(bytes);
        self.all().insert(id, links);
        id
    }

    /// Two objects of a run that are the same for all.
    pub(crate) fn flips(&self, seed: u64) -> [ObjectId; 2] {
        let mut dice = Dice::new(seed, "flips");
        [self.make(&mut dice, vec![]), self.make(&mut dice, vec![])]
    }

    /// What an object links to.
    pub(crate) fn links(&self, id: &ObjectId) -> Vec<ObjectId> {
        self.all().get(id).cloned().unwrap_or_default()
    }

    /// The objects that `tips` lead to, without those that `without` holds and what only they lead to.
    pub(crate) fn reachable(
        &self,
        tips: impl IntoIterator<Item = ObjectId>,
        without: &BTreeSet<ObjectId>,
    ) -> BTreeSet<ObjectId> {
        let links = self.all();
        let mut found = BTreeSet::new();
        let mut open: Vec<ObjectId> = tips.into_iter().collect();
        while let Some(id) = open.pop() {
            if without.contains(&id) || !found.insert(id) {
                continue;
            }
            open.extend(links.get(&id).into_iter().flatten());
        }
        found
    }

    /// The bytes of a pack.
    pub(crate) fn pack(&self, objects: &Objects, bulky: bool) -> Bytes {
        let links = self.all();
        let none = vec![];
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&number(objects.len()));
        for (id, base) in objects {
            let links = links.get(id).unwrap_or(&none);
            bytes.extend_from_slice(id.as_slice());
            bytes.push(u8::from(base.is_some()));
            bytes.extend_from_slice(base.as_ref().map(ObjectId::as_slice).unwrap_or_default());
            bytes.extend_from_slice(&number(links.len()));
            for link in links {
                bytes.extend_from_slice(link.as_slice());
            }
        }
        bytes.resize(bytes.len() + if bulky { BULK } else { 0 }, 0);
        bytes.into()
    }

    /// The objects of a pack; `None` when it is not one, or says something else of an object than its id does.
    pub(crate) fn parse(&self, bytes: &Bytes) -> Option<Arc<Objects>> {
        let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = parsed.get(bytes) {
            return Some(Arc::clone(known));
        }
        let objects = Arc::new(decode(bytes, &self.all())?);
        parsed.insert(bytes.clone(), Arc::clone(&objects));
        Some(objects)
    }

    /// The bytes of the reachability table of a pack; none for the packs of some sizes.
    pub(crate) fn table(&self, pack: &Objects) -> Option<Bytes> {
        let mut table = b"FAKEREACH".to_vec();
        let links = self.all();
        for id in pack.keys() {
            table.extend_from_slice(id.as_slice());
            table.extend(links.get(id).into_iter().flatten().flat_map(|link| link.as_slice().iter().copied()));
        }
        (pack.len() % 5 != 4).then(|| table.into())
    }

    /// The objects of packs on disk.
    pub(crate) fn read(&self, packs: &[LocalPack]) -> Result<Vec<Arc<Objects>>, String> {
        packs.iter().map(|pack| self.read_again(&pack.pack, &pack.index)).collect()
    }

    fn read_again(&self, pack: &Content, index: &Content) -> Result<Arc<Objects>, String> {
        let (pack, index) = match (pack, index) {
            (Content::File(pack), Content::File(index)) => (pack, index),
            (Content::Memory(pack), Content::Memory(index)) => return self.read_one(pack, index),
            _ => return Err("a pack and its index lie apart".to_owned()),
        };
        let known = self.files.lock().unwrap_or_else(PoisonError::into_inner).get(pack).cloned();
        match known {
            Some(known) if pack.exists() && index.exists() => Ok(known),
            Some(_) => Err("a pack went while it was held".to_owned()),
            None => {
                let bytes = |path| std::fs::read(path).map(Bytes::from).map_err(|error| error.to_string());
                let read = self.read_one(&bytes(pack)?, &bytes(index)?)?;
                self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(pack.clone(), Arc::clone(&read));
                Ok(read)
            }
        }
    }

    fn read_one(&self, bytes: &Bytes, index: &Bytes) -> Result<Arc<Objects>, String> {
        if *index != index_of(bytes) {
            return Err("an index is not that of its pack".to_owned());
        }
        self.parse(bytes).ok_or_else(|| "a pack is not one".to_owned())
    }
}

/// Objects of several packs that can be read: those whose bases, and their bases, are there.
pub(crate) fn readable<'a>(packs: impl IntoIterator<Item = &'a Objects>) -> BTreeSet<ObjectId> {
    let mut readable = BTreeSet::new();
    let packs: Vec<&Objects> = packs.into_iter().collect();
    loop {
        let before = readable.len();
        for pack in &packs {
            extend_readable(&mut readable, pack);
        }
        if readable.len() == before {
            return readable;
        }
    }
}

/// Adds what can be read of a pack when this is what can be read without it.
pub(crate) fn extend_readable(readable: &mut BTreeSet<ObjectId>, pack: &Objects) {
    loop {
        let before = readable.len();
        for (id, base) in pack {
            if base.is_none_or(|base| readable.contains(&base)) {
                readable.insert(*id);
            }
        }
        if readable.len() == before {
            return;
        }
    }
}

fn number(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes()
}

fn decode(bytes: &[u8], truth: &BTreeMap<ObjectId, Vec<ObjectId>>) -> Option<Objects> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let mut objects = Objects::new();
    for _ in 0..take_number(&mut rest)? {
        let id = take_id(&mut rest)?;
        let (has_base, after) = rest.split_first()?;
        rest = after;
        let base = if *has_base == 1 { Some(take_id(&mut rest)?) } else { None };
        let count = take_number(&mut rest)?;
        let links = (0..count).map(|_| take_id(&mut rest)).collect::<Option<Vec<_>>>()?;
        if truth.get(&id) != Some(&links) {
            return None;
        }
        objects.insert(id, base);
    }
    Some(objects)
}

fn take_number(rest: &mut &[u8]) -> Option<u32> {
    let (number, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_be_bytes(*number))
}

fn take_id(rest: &mut &[u8]) -> Option<ObjectId> {
    let (id, after) = rest.split_first_chunk::<20>()?;
    *rest = after;
    Some(ObjectId::Sha1(*id))
}

/// The bytes of a pack's index.
pub(crate) fn index_of(pack: &[u8]) -> Bytes {
    let (head, tail) = (pack.get(..pack.len().min(600)), pack.last_chunk::<8>());
    let mut index = b"FAKEINDEX".to_vec();
    index.extend_from_slice(&pack.len().to_be_bytes());
    index.extend_from_slice(head.unwrap_or_default());
    index.extend_from_slice(tail.map(<[u8; 8]>::as_slice).unwrap_or_default());
    index.into()
}

/// Writes a pack and its index into `folder`.
pub(crate) fn write(folder: &Path, pack: &[u8], objects: usize, exact: bool) -> std::io::Result<ReceivedPack> {
    let (pack_file, index_file) = (folder.join("made.pack"), folder.join("made.idx"));
    std::fs::write(&pack_file, pack)?;
    std::fs::write(&index_file, index_of(pack))?;
    let (pack, index) = (Content::File(pack_file), Content::File(index_file));
    Ok(ReceivedPack { pack, index, objects: objects as u64, exact })
}
