//! Just enough of git: objects with links to others, packs that are lists of objects, and the tools that work on them.
//!
//! An object's id fixes its links, as a hash would. A pack is thin when its objects link to some that it does not hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use model::ObjectId;
use store::{LocalPack, PackTools, ReceivedPack};

use crate::dice::Dice;

const MAGIC: &[u8] = b"FAKEPACK";
/// What makes a pack too large to travel inside an entry.
const BULK: usize = 257 << 10;

/// Objects with their links, in the order of a pack.
pub(crate) type Objects = BTreeMap<ObjectId, Vec<ObjectId>>;

/// All objects that were ever made: what an id says.
#[derive(Default)]
pub(crate) struct Universe {
    objects: Mutex<Objects>,
    /// Packs that were read before, by their bytes.
    parsed: Mutex<BTreeMap<Bytes, Arc<Objects>>>,
    /// The same, by their files: no incarnation of a server writes another pack under a name.
    files: Mutex<BTreeMap<PathBuf, Arc<Objects>>>,
}

impl Universe {
    /// A new object.
    pub(crate) fn make(&self, dice: &mut Dice, links: Vec<ObjectId>) -> ObjectId {
        let mut bytes = [0; 20];
        dice.fill(&mut bytes);
        let id = ObjectId::Sha1(bytes);
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).insert(id, links);
        id
    }

    /// Two objects of a run that are the same for all.
    pub(crate) fn flips(&self, seed: u64) -> [ObjectId; 2] {
        let mut dice = Dice::new(seed, "flips");
        [self.make(&mut dice, vec![]), self.make(&mut dice, vec![])]
    }

    /// What an object links to.
    pub(crate) fn links(&self, id: &ObjectId) -> Vec<ObjectId> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned().unwrap_or_default()
    }

    /// The objects that `tips` lead to, without those that `without` holds and what only they lead to.
    pub(crate) fn reachable(
        &self,
        tips: impl IntoIterator<Item = ObjectId>,
        without: &BTreeSet<ObjectId>,
    ) -> BTreeSet<ObjectId> {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = BTreeSet::new();
        let mut open: Vec<ObjectId> = tips.into_iter().collect();
        while let Some(id) = open.pop() {
            if without.contains(&id) || !found.insert(id) {
                continue;
            }
            open.extend(objects.get(&id).into_iter().flatten());
        }
        found
    }

    /// The bytes of a pack.
    pub(crate) fn pack(&self, ids: &BTreeSet<ObjectId>, bulky: bool) -> Bytes {
        let objects = ids.iter().map(|id| (*id, self.links(id))).collect();
        encode(&objects, if bulky { BULK } else { 0 })
    }

    /// The objects of a pack; `None` when it is not one, or says something else of an object than its id does.
    pub(crate) fn parse(&self, bytes: &Bytes) -> Option<Arc<Objects>> {
        let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = parsed.get(bytes) {
            return Some(Arc::clone(known));
        }
        let objects = decode(bytes)?;
        if objects.iter().any(|(id, links)| self.links(id) != *links) {
            return None;
        }
        let objects = Arc::new(objects);
        parsed.insert(bytes.clone(), Arc::clone(&objects));
        Some(objects)
    }

    /// The objects of packs on disk.
    pub(crate) fn read(&self, packs: &[LocalPack]) -> Result<BTreeSet<ObjectId>, String> {
        let mut ids = BTreeSet::new();
        for pack in packs {
            ids.extend(self.read_again(&pack.pack, &pack.index)?.keys());
        }
        Ok(ids)
    }

    fn read_again(&self, pack: &Path, index: &Path) -> Result<Arc<Objects>, String> {
        let known = self.files.lock().unwrap_or_else(PoisonError::into_inner).get(pack).cloned();
        match known {
            Some(known) if pack.exists() && index.exists() => Ok(known),
            Some(_) => Err("a pack went while it was held".to_owned()),
            None => {
                let read = self.read_one(pack, index)?;
                self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(pack.to_owned(), Arc::clone(&read));
                Ok(read)
            }
        }
    }

    fn read_one(&self, pack: &Path, index: &Path) -> Result<Arc<Objects>, String> {
        let read = |path: &Path| std::fs::read(path).map(Bytes::from).map_err(|error| error.to_string());
        let (bytes, index) = (read(pack)?, read(index)?);
        if index != index_of(&bytes) {
            return Err("an index is not that of its pack".to_owned());
        }
        self.parse(&bytes).ok_or_else(|| "a pack is not one".to_owned())
    }
}

fn encode(objects: &Objects, bulk: usize) -> Bytes {
    let mut bytes = MAGIC.to_vec();
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
    bytes.extend_from_slice(&number(objects.len()));
    for (id, links) in objects {
        bytes.extend_from_slice(id.as_slice());
        bytes.extend_from_slice(&number(links.len()));
        links.iter().for_each(|link| bytes.extend_from_slice(link.as_slice()));
    }
    bytes.resize(bytes.len() + bulk, 0);
    bytes.into()
}

fn decode(bytes: &[u8]) -> Option<Objects> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let mut objects = Objects::new();
    for _ in 0..take_number(&mut rest)? {
        let id = take_id(&mut rest)?;
        let count = take_number(&mut rest)?;
        let links = (0..count).map(|_| take_id(&mut rest)).collect::<Option<Vec<_>>>()?;
        objects.insert(id, links);
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
pub(crate) fn write(folder: &Path, pack: &[u8], objects: usize, exact: bool) -> Result<ReceivedPack, std::io::Error> {
    let (pack_file, index_file) = (folder.join("made.pack"), folder.join("made.idx"));
    std::fs::write(&pack_file, pack)?;
    std::fs::write(&index_file, index_of(pack))?;
    Ok(ReceivedPack { pack: pack_file, index: index_file, objects: objects as u64, exact })
}

/// The tools of the store, for these packs.
pub(crate) struct Tools {
    universe: Arc<Universe>,
    /// Two who pack the same objects get other bytes, unless there are none of these.
    nonces: Option<Mutex<Dice>>,
}

impl Tools {
    pub(crate) fn new(universe: Arc<Universe>, nonces: Option<Dice>) -> Self {
        Self { universe, nonces: nonces.map(Mutex::new) }
    }
}

impl PackTools for Tools {
    fn fold(&self, packs: &[LocalPack], folder: &Path) -> Result<ReceivedPack, String> {
        let ids = self.universe.read(packs)?;
        let mut pack = self.universe.pack(&ids, false).to_vec();
        if let Some(nonces) = &self.nonces {
            let mut nonce = [0; 8];
            nonces.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut nonce);
            pack.extend_from_slice(&nonce);
        }
        write(folder, &pack, ids.len(), true).map_err(|error| error.to_string())
    }

    fn verify(&self, packs: &[LocalPack], tips: &[ObjectId], limit: usize) -> Result<Vec<String>, String> {
        let held = self.universe.read(packs)?;
        let wanted = self.universe.reachable(tips.iter().copied(), &BTreeSet::new());
        Ok(wanted.difference(&held).take(limit).map(|id| format!("object {id} is missing")).collect())
    }
}
