//! What is in the cache, in the order of use.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::{Content, RepositoryId};
use tokio::time::Instant;

use super::CachedPack;
use crate::state::PackId;

pub(super) type Key = (RepositoryId, PackId);

#[derive(Debug)]
struct Slot {
    pack: Arc<CachedPack>,
    /// Number of its last use.
    used: u64,
    used_at: Instant,
    /// This process has seen that its bytes are right.
    verified: bool,
}

#[derive(Debug, Default)]
pub(super) struct Entries {
    packs: HashMap<Key, Slot>,
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    bytes: u64,
    /// Those of `bytes` that are in memory.
    memory: u64,
}

impl Entries {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn memory(&self) -> u64 {
        self.memory
    }

    fn count(&mut self, pack: &CachedPack) {
        self.bytes += pack.size();
        self.memory += if pack.is_in_memory() { pack.size() } else { 0 };
    }

    fn discount(&mut self, pack: &CachedPack) {
        self.bytes -= pack.size();
        self.memory -= if pack.is_in_memory() { pack.size() } else { 0 };
    }

    /// A verified pack, which is in use now.
    pub(super) fn touch(&mut self, key: &Key) -> Option<Arc<CachedPack>> {
        let slot = self.packs.get_mut(key).filter(|slot| slot.verified)?;
        self.uses += 1;
        self.by_use.remove(&slot.used);
        self.by_use.insert(self.uses, key.clone());
        (slot.used, slot.used_at) = (self.uses, Instant::now());
        Some(Arc::clone(&slot.pack))
    }

    /// Adds a verified pack; what an earlier process left under its name is replaced.
    pub(super) fn add(&mut self, key: Key, pack: Arc<CachedPack>) {
        if let Some(slot) = self.packs.remove(&key) {
            self.by_use.remove(&slot.used);
            self.discount(&slot.pack);
        }
        self.put(key, pack, true);
    }

    pub(super) fn add_unverified(&mut self, key: Key, pack: CachedPack) {
        self.put(key, Arc::new(pack), false);
    }

    fn put(&mut self, key: Key, pack: Arc<CachedPack>, verified: bool) {
        self.uses += 1;
        self.count(&pack);
        self.by_use.insert(self.uses, key.clone());
        self.packs.insert(key, Slot { pack, used: self.uses, used_at: Instant::now(), verified });
    }

    /// Gives a pack on disk its reachability table.
    pub(super) fn add_table(&mut self, pack: &CachedPack, path: PathBuf, bytes: u64) {
        if pack.table.set((path, bytes)).is_ok() {
            self.bytes += bytes;
        }
    }

    /// What an earlier process left under this name; while it is held, it stays.
    pub(super) fn unverified(&self, key: &Key) -> Option<Arc<CachedPack>> {
        self.packs.get(key).filter(|slot| !slot.verified).map(|slot| Arc::clone(&slot.pack))
    }

    pub(super) fn verified(&mut self, key: &Key) {
        if let Some(slot) = self.packs.get_mut(key) {
            slot.verified = true;
        }
    }

    pub(super) fn remove_unverified(&mut self, key: &Key) {
        if self.packs.get(key).is_some_and(|slot| !slot.verified) {
            self.remove(key);
        }
    }

    pub(super) fn forget(&mut self, repository: &RepositoryId) {
        let keys: Vec<Key> = self.packs.keys().filter(|(owner, _)| owner == repository).cloned().collect();
        for key in &keys {
            self.remove(key);
        }
    }

    pub(super) fn remove(&mut self, key: &Key) {
        let Some(slot) = self.packs.remove(key) else { return };
        self.by_use.remove(&slot.used);
        self.discount(&slot.pack);
        if let (Content::File(pack), Content::File(index)) = (&slot.pack.pack, &slot.pack.index) {
            // Best effort: a file that stays is taken over, or trimmed, by the next process.
            let _ = fs::remove_file(pack);
            let _ = fs::remove_file(index);
            let _ = slot.pack.table().map(fs::remove_file);
            // Fails while other packs of the repository are there.
            let _ = pack.parent().map(fs::remove_dir);
        }
    }

    /// What is in memory, least recently used first, up to the first pack that is to stay there; told how long it was not used.
    pub(super) fn in_memory_while(
        &self,
        mut goes: impl FnMut(&CachedPack, Duration) -> bool,
    ) -> Vec<(Key, Arc<CachedPack>)> {
        let slots = self.by_use.values().filter_map(|key| Some((key, self.packs.get(key)?)));
        let held = slots.filter(|(_, slot)| slot.pack.is_in_memory());
        let going = held.take_while(|(_, slot)| goes(&slot.pack, slot.used_at.elapsed()));
        going.map(|(key, slot)| (key.clone(), Arc::clone(&slot.pack))).collect()
    }

    /// Whether this is still what is held under the key.
    pub(super) fn is_held_as(&self, key: &Key, pack: &Arc<CachedPack>) -> bool {
        self.packs.get(key).is_some_and(|slot| Arc::ptr_eq(&slot.pack, pack))
    }

    /// Puts the same pack, which lies elsewhere now, in its place.
    pub(super) fn replace(&mut self, key: &Key, pack: CachedPack) {
        let Some(slot) = self.packs.get_mut(key) else { return };
        let before = std::mem::replace(&mut slot.pack, Arc::new(pack));
        let now = Arc::clone(&slot.pack);
        self.discount(&before);
        self.count(&now);
    }

    /// Evicts the least recently used packs that nobody holds; gives how many.
    pub(super) fn evict(&mut self, capacity: u64) -> usize {
        let mut excess = self.bytes.saturating_sub(capacity);
        self.evict_while(|slot| {
            let evicts = excess > 0;
            excess = excess.saturating_sub(slot.pack.size());
            evicts
        })
    }

    /// Evicts packs that nobody holds or has used for this long; gives how many.
    pub(super) fn evict_idle(&mut self, idle: Duration) -> usize {
        self.evict_while(|slot| slot.used_at.elapsed() >= idle)
    }

    /// Evicts, least recently used first, what nobody holds, up to the first pack that is to stay.
    fn evict_while(&mut self, mut evicts: impl FnMut(&Slot) -> bool) -> usize {
        let free = self
            .by_use
            .values()
            .filter(|key| self.packs.get(*key).is_some_and(|slot| Arc::strong_count(&slot.pack) == 1));
        let victims: Vec<Key> = free.take_while(|key| self.packs.get(*key).is_some_and(&mut evicts)).cloned().collect();
        for key in &victims {
            self.remove(key);
        }
        victims.len()
    }
}
