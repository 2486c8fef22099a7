//! What the store needs done with packs, for these packs.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use model::ObjectId;
use model::lfs::Oid;
use store::{LocalPack, PackTools, ReceivedPack};

use super::{Objects, Universe, readable, write};
use crate::dice::Dice;

/// The tools.
pub(crate) struct Tools {
    universe: Arc<Universe>,
    /// Two who pack the same objects get other bytes, unless there are none of these.
    nonces: Option<Mutex<Dice>>,
}

impl Tools {
    pub(crate) fn new(universe: Arc<Universe>, nonces: Option<Dice>) -> Self {
        Self { universe, nonces: nonces.map(Mutex::new) }
    }

    fn write(&self, objects: &Objects, exact: bool, folder: &Path) -> Result<ReceivedPack, String> {
        let mut pack = self.universe.pack(objects, false).to_vec();
        if let Some(nonces) = &self.nonces {
            let mut nonce = [0; 8];
            nonces.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut nonce);
            pack.extend_from_slice(&nonce);
        }
        write(folder, &pack, objects.len(), exact).map_err(|error| error.to_string())
    }
}

impl PackTools for Tools {
    /// Deltas on objects of other packs stay deltas.
    fn fold(&self, packs: &[LocalPack], folder: &Path) -> Result<ReceivedPack, String> {
        let packs = self.universe.read(packs)?;
        let mut objects = Objects::new();
        for (id, base) in packs.iter().flat_map(|pack| pack.iter()) {
            objects.entry(*id).or_insert(*base);
        }
        let ids: BTreeSet<ObjectId> = objects.keys().copied().collect();
        for base in objects.values_mut() {
            *base = base.filter(|base| !ids.contains(base));
        }
        self.write(&objects, true, folder)
    }

    fn prune(&self, packs: &[LocalPack], tips: &[ObjectId], folder: &Path) -> Result<Option<ReceivedPack>, String> {
        let packs = self.universe.read(packs)?;
        let held = readable(packs.iter().map(|pack| &**pack));
        let wanted = self.universe.reachable(tips.iter().copied(), &BTreeSet::new());
        if let Some(missing) = wanted.difference(&held).next() {
            return Err(format!("object {missing} is missing"));
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        self.write(&wanted.into_iter().map(|id| (id, None)).collect(), true, folder).map(Some)
    }

    fn covers(&self, packs: &[LocalPack], complete: bool, tips: &[ObjectId]) -> Result<bool, String> {
        let packs = self.universe.read(packs)?;
        let held = readable(packs.iter().map(|pack| &**pack));
        let (first, others) = packs.split_at(usize::from(complete));
        let stands_alone = first.iter().flat_map(|pack| pack.keys()).copied().collect();
        let wanted = self.universe.reachable(tips.iter().copied(), &stands_alone);
        // Every copy stands on its own pack and older ones: a fold keeps the oldest, a reader takes the youngest.
        let mut before: BTreeSet<ObjectId> = first.iter().flat_map(|pack| pack.keys()).copied().collect();
        for pack in others {
            before.extend(pack.keys());
            if !pack.values().flatten().all(|base| before.contains(base)) {
                return Ok(false);
            }
        }
        Ok(wanted.is_subset(&held))
    }

    fn tabulate(&self, packs: &[LocalPack], at: usize, out: &Path) -> Result<bool, String> {
        let packs = self.universe.read(packs)?;
        let pack = packs.get(at).ok_or("there is no such pack")?;
        let Some(table) = self.universe.table(pack) else { return Ok(false) };
        std::fs::write(out, table).map(|()| true).map_err(|error| error.to_string())
    }

    fn bundle(
        &self,
        _: &[LocalPack],
        _: &[Option<std::path::PathBuf>],
        _: (&model::RefName, ObjectId),
        _: &Path,
    ) -> Result<u64, String> {
        Err("nobody wants a bundle here".to_owned())
    }

    fn is_behind(&self, _: &[LocalPack], _: ObjectId, _: ObjectId) -> Result<bool, String> {
        Err("nobody wants a bundle here".to_owned())
    }

    fn verify(&self, packs: &[LocalPack], tips: &[ObjectId], limit: usize) -> Result<Vec<String>, String> {
        let packs = self.universe.read(packs)?;
        let held = readable(packs.iter().map(|pack| &**pack));
        let unread = packs.iter().flat_map(|pack| pack.keys()).filter(|id| !held.contains(*id));
        let wanted = self.universe.reachable(tips.iter().copied(), &BTreeSet::new());
        let missing = wanted.iter().filter(|id| !held.contains(*id)).chain(unread).take(limit);
        Ok(missing.map(|id| format!("object {id} cannot be read")).collect())
    }

    /// No blob here is one of those files.
    fn lfs_unnamed(&self, packs: &[LocalPack], oids: HashSet<Oid>) -> Result<HashSet<Oid>, String> {
        self.universe.read(packs).map(|_| oids)
    }
}
