//! Brings packs into the local cache, verified on the way in.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use model::{Arriving, Content};
use tempfile::TempDir;

use super::{Arrival, Repository};
use crate::blocking::blocking;
use crate::cache::{CachedPack, verify};
use crate::entry::{Numbered, PackRecord, Place};
use crate::error::Error;
use crate::keys;
use crate::state::{PackId, Snapshot, StoredPack, Upload};

/// Entries whose packs are brought in at once.
const CONCURRENCY: usize = 8;
/// The same, when all that is missing is no more than this: then the way to the bucket is what takes time.
const SMALL_CONCURRENCY: usize = 64;
const SMALL_BYTES: u64 = 16 << 20;

/// A pack on local disk, or in memory.
#[derive(Debug, Clone)]
pub struct LocalPack {
    /// Its id.
    pub id: PackId,
    /// The pack.
    pub pack: Content,
    /// Its index.
    pub index: Content,
    /// Size of the pack in bytes.
    pub bytes: u64,
    /// Objects in it.
    pub objects: u64,
    /// Whether every object was reachable from what was pushed with it.
    pub exact: bool,
    held: Held,
}

/// Keeps a pack where it is.
#[derive(Debug, Clone)]
enum Held {
    Cached { _pack: Arc<CachedPack> },
    Arriving(Arc<Arrival>),
}

/// All packs of a snapshot, oldest first; held ones are not evicted.
#[derive(Debug, Clone, Default)]
pub struct LocalPacks {
    /// The packs.
    pub packs: Vec<LocalPack>,
}

impl LocalPack {
    pub(super) fn new(record: &PackRecord, cached: Arc<CachedPack>) -> Self {
        let (pack, index) = (cached.pack.clone(), cached.index.clone());
        Self::of(record, pack, index, Held::Cached { _pack: cached })
    }

    fn arriving_as(record: &PackRecord, arrival: Arc<Arrival>) -> Self {
        let (pack, index) = (Content::File(arrival.pack()), Content::File(arrival.index()));
        Self::of(record, pack, index, Held::Arriving(arrival))
    }

    fn of(record: &PackRecord, pack: Content, index: Content, held: Held) -> Self {
        let PackRecord { id, bytes, objects, exact, .. } = *record;
        Self { id, pack, index, bytes, objects, exact, held }
    }

    /// For readers, when the file of the pack is still being filled.
    #[must_use]
    pub fn arriving(&self) -> Option<Arc<dyn Arriving>> {
        match &self.held {
            Held::Cached { .. } => None,
            Held::Arriving(arrival) => Some(Arc::clone(arrival) as Arc<dyn Arriving>),
        }
    }
}

impl LocalPacks {
    /// Whether one of them was arriving, and will never be whole.
    #[must_use]
    pub fn are_broken(&self) -> bool {
        self.packs.iter().any(|pack| matches!(&pack.held, Held::Arriving(arrival) if arrival.has_failed()))
    }
}

impl Repository {
    /// The folder for packs in the making, on the cache's file system.
    #[must_use]
    pub fn incoming(&self) -> PathBuf {
        self.shared.cache.incoming()
    }

    /// A folder in there that goes when dropped.
    pub(super) fn temporary(&self) -> Result<TempDir, Error> {
        Ok(self.shared.cache.temporary()?)
    }

    /// All packs of a snapshot at hand; what is missing is fetched and verified.
    ///
    /// # Errors
    /// When a pack cannot be fetched, or is damaged.
    pub async fn local_packs(&self, snapshot: &Snapshot) -> Result<LocalPacks, Error> {
        let arriving: Vec<Arc<Arrival>> =
            snapshot.packs.iter().filter_map(|pack| self.arrival(&pack.record.id)).collect();
        for arrival in arriving {
            arrival.ended().await;
        }
        self.packs(snapshot, false).await
    }

    /// As [`Self::local_packs`], but large packs may still be on their way: see [`LocalPack::arriving`].
    ///
    /// # Errors
    /// When a pack cannot be fetched, or is damaged.
    pub async fn arriving_packs(&self, snapshot: &Snapshot) -> Result<LocalPacks, Error> {
        self.packs(snapshot, true).await
    }

    async fn packs(&self, snapshot: &Snapshot, may_arrive: bool) -> Result<LocalPacks, Error> {
        if let Some(packs) = snapshot.packs.iter().map(|pack| self.at_hand(pack, may_arrive)).collect() {
            return Ok(LocalPacks { packs });
        }
        // Requests that come meanwhile would fetch the same ones again.
        let _turn = self.bringing.lock().await;
        let packs = self.bring_in_all(snapshot, may_arrive).await;
        if matches!(packs, Err(Error::Missing { .. })) {
            // A state that nothing vouches for may name what is lost: the next request has a better one.
            self.prove().await?;
        }
        Ok(LocalPacks { packs: packs? })
    }

    /// The pack, if it can be used right now.
    fn at_hand(&self, pack: &StoredPack, may_arrive: bool) -> Option<LocalPack> {
        let id = &pack.record.id;
        let arriving = if may_arrive { self.arrival(id) } else { None };
        match self.shared.cache.peek(&self.id, id) {
            Some(cached) => Some(LocalPack::new(&pack.record, cached)),
            None => arriving.map(|arrival| LocalPack::arriving_as(&pack.record, arrival)),
        }
    }

    pub(super) fn arrival(&self, id: &PackId) -> Option<Arc<Arrival>> {
        self.on_their_way.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Brings in what is missing, an entry's packs together so that the entry is read once, and gives all packs.
    async fn bring_in_all(&self, snapshot: &Snapshot, may_arrive: bool) -> Result<Vec<LocalPack>, Error> {
        let missing = |pack: &&StoredPack| self.at_hand(pack, may_arrive).is_none();
        let missing: Vec<StoredPack> = snapshot.packs.iter().filter(missing).cloned().collect();
        let bytes: u64 = missing.iter().map(|pack| pack.record.bytes + pack.record.index_bytes).sum();
        let at_once = if bytes <= SMALL_BYTES { SMALL_CONCURRENCY } else { CONCURRENCY };
        let entries = missing.chunk_by(|left, right| left.generation == right.generation).map(<[StoredPack]>::to_vec);
        stream::iter(entries.collect::<Vec<_>>())
            .map(|packs| self.bring_in_of_entry(packs, may_arrive))
            .buffered(at_once)
            .try_collect::<()>()
            .await?;
        let mut packs = Vec::with_capacity(snapshot.packs.len());
        for pack in snapshot.packs.iter() {
            packs.push(match self.at_hand(pack, may_arrive) {
                Some(pack) => pack,
                // Evicted already: the cache is smaller than the repository.
                None => self.local_pack(pack.clone()).await?,
            });
        }
        // They are at hand now.
        self.payloads.lock().unwrap_or_else(PoisonError::into_inner).forget_until(snapshot.generation);
        Ok(packs)
    }

    async fn bring_in_of_entry(&self, packs: Vec<StoredPack>, may_arrive: bool) -> Result<(), Error> {
        let mut payload = None;
        for pack in &packs {
            // An earlier process may have left it.
            if self.cached(&pack.record).await?.is_some() {
                continue;
            }
            if let Place::Uploaded(upload) = pack.record.place
                && may_arrive
                && Arrival::is_worth_while(&pack.record)
                && self.expect(&pack.record, upload).await
            {
                continue;
            }
            if payload.is_none() && matches!(pack.record.place, Place::Inlined { .. }) {
                payload = Some(self.payload(pack.generation).await?);
            }
            self.bring_in(pack, payload.as_ref()).await?;
        }
        Ok(())
    }

    /// Lets a large pack arrive; false when that failed.
    async fn expect(&self, record: &PackRecord, upload: Upload) -> bool {
        let Some(arrival) = Arrival::begin(self, record, upload).await else { return false };
        let (arrivals, id) = (Arc::clone(&self.on_their_way), record.id);
        arrivals.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&arrival));
        tokio::spawn(async move {
            arrival.ended().await;
            arrivals.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        });
        true
    }

    pub(super) async fn local_pack(&self, pack: StoredPack) -> Result<LocalPack, Error> {
        let cached = match self.cached(&pack.record).await? {
            Some(cached) => cached,
            None => self.bring_in(&pack, None).await?,
        };
        Ok(LocalPack::new(&pack.record, cached))
    }

    async fn cached(&self, record: &PackRecord) -> Result<Option<Arc<CachedPack>>, Error> {
        if let Some(cached) = self.shared.cache.peek(&self.id, &record.id) {
            return Ok(Some(cached));
        }
        let (cache, id, record) = (Arc::clone(&self.shared.cache), self.id.clone(), record.clone());
        blocking(move || cache.get(&id, &record)).await
    }

    /// `payload` is that of the pack's entry, if somebody has it.
    async fn bring_in(&self, pack: &StoredPack, payload: Option<&Bytes>) -> Result<Arc<CachedPack>, Error> {
        match (&pack.record.place, payload) {
            (Place::Uploaded(upload), _) => self.download(&pack.record, upload).await,
            (Place::Inlined { offset }, Some(payload)) => self.unpack(pack, *offset, payload).await,
            (Place::Inlined { offset }, None) => {
                self.unpack(pack, *offset, &self.payload(pack.generation).await?).await
            }
        }
    }

    async fn download(&self, record: &PackRecord, upload: &Upload) -> Result<Arc<CachedPack>, Error> {
        let folder = self.temporary()?;
        let (pack, index) = (folder.path().join("pack"), folder.path().join("idx"));
        let (pack_key, index_key) = (keys::pack(&self.id, upload), keys::pack_index(&self.id, upload));
        let store = &self.shared.store;
        let (pack_found, index_found) = tokio::try_join!(
            store.download(&pack_key, &pack, record.bytes),
            store.download(&index_key, &index, record.index_bytes)
        )?;
        match (pack_found, index_found) {
            (true, true) => {}
            (false, _) => return Err(Error::Missing { key: pack_key }),
            (_, false) => return Err(Error::Missing { key: index_key }),
        }
        let (cache, id, record) = (Arc::clone(&self.shared.cache), self.id.clone(), record.clone());
        let admit = blocking(move || {
            // Keeps the folder until the files have moved.
            let _folder = folder;
            if !sabotaged!(SkipVerification) {
                verify(&Content::File(pack.clone()), &Content::File(index.clone()), &record)?;
            }
            cache.insert(&id, &record, &pack, &index)
        });
        admit.await?.map_err(|error| damaged_or_cache(error, pack_key))
    }

    /// Takes a pack out of the payload of its entry.
    async fn unpack(&self, pack: &StoredPack, offset: u64, payload: &Bytes) -> Result<Arc<CachedPack>, Error> {
        let key = keys::log_entry(&self.id, pack.generation);
        let Some((bytes, index)) = slices(payload, offset, &pack.record) else {
            return Err(Error::Damaged { key, reason: "a pack lies outside the payload".to_owned() });
        };
        if !sabotaged!(SkipVerification) {
            let verified = verify(&Content::Memory(bytes.clone()), &Content::Memory(index.clone()), &pack.record);
            verified.map_err(|error| damaged_or_cache(error, key))?;
        }
        // Copies, or a small one would keep the whole payload.
        let (bytes, index) = (Bytes::copy_from_slice(&bytes), Bytes::copy_from_slice(&index));
        self.hold(&pack.record, bytes, index).await
    }

    /// Takes a small pack into the cache.
    pub(super) async fn hold(&self, record: &PackRecord, pack: Bytes, index: Bytes) -> Result<Arc<CachedPack>, Error> {
        let cache = Arc::clone(&self.shared.cache);
        let held = cache.hold(&self.id, record, pack, index);
        if cache.is_pressed() {
            let must_wait = cache.is_overfull();
            let relief = tokio::spawn(blocking(move || cache.relieve()));
            if must_wait {
                // Fails only when the process stops.
                let _ = relief.await;
            }
        }
        Ok(held)
    }

    /// The inlined packs of an entry, from memory or from the bucket.
    async fn payload(&self, generation: u64) -> Result<Bytes, Error> {
        let remembered = self.payloads.lock().unwrap_or_else(PoisonError::into_inner).get(generation);
        if let Some(payload) = remembered {
            return Ok(payload);
        }
        match super::read::read_number(&*self.shared.store, &self.id, generation).await? {
            Some(Numbered::Entry(read)) => Ok(read.payload),
            _ => Err(Error::Missing { key: keys::log_entry(&self.id, generation) }),
        }
    }
}

pub(super) fn damaged_or_cache(error: io::Error, key: String) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData => Error::Damaged { key, reason: error.to_string() },
        _ => Error::Cache(error),
    }
}

fn slices(payload: &Bytes, offset: u64, record: &PackRecord) -> Option<(Bytes, Bytes)> {
    let start = usize::try_from(offset).ok()?;
    let middle = start.checked_add(usize::try_from(record.bytes).ok()?)?;
    let end = middle.checked_add(usize::try_from(record.index_bytes).ok()?)?;
    (end <= payload.len()).then(|| (payload.slice(start..middle), payload.slice(middle..end)))
}
