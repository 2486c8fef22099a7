//! Reading objects: inflating entries and following chains of deltas, across packs, without recursion.

use std::collections::HashMap;

use gix::objs::Kind;
use gix_pack::cache::{DecodeEntry, lru::MemoryCappedHashmap};

use super::{Entry, EntryKind, Error, Location, Packs, delta, pack::Pack};

/// Memory for objects that are likely bases of what is read next.
const DEFAULT_CACHE_BYTES: usize = 24 << 20;

/// Greatest object that is kept: one big blob must not drive everything else out.
const MAX_CACHED: usize = 1 << 20;

/// Longest chain of deltas. Git makes 50, ingest accepts 4,095 within one pack; more is a cycle.
const MAX_CHAIN: usize = 1 << 17;

/// How many kinds of entries are remembered.
const MAX_KNOWN_KINDS: usize = 1 << 16;

/// How much is read at once for an entry.
const WINDOW: usize = 8 << 10;

/// Memory of one reader: recently read objects and buffers. One per request or walk; not shared between threads.
pub struct ReadCache {
    objects: MemoryCappedHashmap,
    inflate: gix::zlib::Inflate,
    window: Vec<u8>,
    /// Pack and offset of the window.
    at: (u32, u64),
    chain: Vec<(usize, Entry)>,
    delta: Vec<u8>,
    base: Vec<u8>,
}

impl Default for ReadCache {
    fn default() -> Self {
        Self::new(DEFAULT_CACHE_BYTES)
    }
}

impl ReadCache {
    /// A cache of at most about `bytes`.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self {
            objects: MemoryCappedHashmap::new(bytes.max(1)),
            inflate: gix::zlib::Inflate::default(),
            window: Vec::new(),
            at: (u32::MAX, 0),
            chain: Vec::new(),
            delta: Vec::new(),
            base: Vec::new(),
        }
    }

    /// Bytes of `pack` from `offset` on: at least `wanted`, fewer only at its end.
    fn window(&mut self, pack: &Pack, offset: u64, wanted: usize) -> Result<&[u8], Error> {
        let available = usize::try_from(pack.end().saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = wanted.min(available);
        let within = (self.at.0 == pack.id()).then(|| offset.checked_sub(self.at.1)).flatten();
        let start = within.and_then(|start| usize::try_from(start).ok());
        let start = start.filter(|start| start.checked_add(wanted).is_some_and(|end| end <= self.window.len()));
        if let Some(start) = start {
            return Ok(&self.window[start..]);
        }
        self.at = (u32::MAX, 0);
        self.window.resize(wanted.max(WINDOW).min(available), 0);
        pack.read_exact_at(&mut self.window, offset)?;
        self.at = (pack.id(), offset);
        Ok(&self.window)
    }

    /// The head of the entry at `offset`.
    fn entry(&mut self, pack: &Pack, offset: u64) -> Result<Entry, Error> {
        if offset >= pack.end() {
            return Err(Error::damaged(pack.parts().pack.name(), format!("no entry at offset {offset}")));
        }
        let head = self.window(pack, offset, super::pack::MAX_ENTRY_HEAD)?;
        let head = &head[..head.len().min(super::pack::MAX_ENTRY_HEAD)];
        pack.parse(offset, head)
    }

    /// Inflates what the entry stores into `out`.
    fn inflate(&mut self, pack: &Pack, entry: &Entry, out: &mut Vec<u8>) -> Result<(), Error> {
        let damaged = || {
            Error::damaged(pack.parts().pack.name(), format!("the entry at offset {} cannot be inflated", entry.offset))
        };
        let start = entry.offset + entry.head;
        // Deflate makes at most 1032 bytes out of one: a size beyond that is a lie that must not cost memory.
        if entry.size > pack.end().saturating_sub(start).saturating_mul(1_032) {
            return Err(damaged());
        }
        let size = usize::try_from(entry.size).map_err(|_| damaged())?;
        out.clear();
        out.try_reserve_exact(size).map_err(|_| damaged())?;
        out.resize(size, 0);
        // Stored blocks cost five bytes for each 16 KiB or more; zlib itself promises less than this.
        let bound = size + size / 64 + 128;
        let mut wanted = if size > WINDOW { bound / 2 } else { bound };
        loop {
            self.window(pack, start, wanted)?;
            self.inflate.reset();
            let skip = usize::try_from(start - self.at.1).map_err(|_| damaged())?;
            let input = &self.window[skip..];
            match self.inflate.once(input, out) {
                Ok((gix::zlib::Status::StreamEnd, _, written)) if written == size => return Ok(()),
                _ if wanted < bound => wanted = bound,
                _ => return Err(damaged()),
            }
        }
    }
}

impl Packs {
    /// The object whose entry is at `location`, into `out`.
    ///
    /// # Errors
    /// When it cannot be read: a damaged entry, or a base that is missing.
    pub fn read(&self, location: Location, out: &mut Vec<u8>, cache: &mut ReadCache) -> Result<Kind, Error> {
        let mut chain = std::mem::take(&mut cache.chain);
        let result = self.read_chain(location, out, cache, &mut chain);
        chain.clear();
        cache.chain = chain;
        result
    }

    /// Walks down to a whole object or a remembered one, then applies the deltas on the way back.
    fn read_chain(
        &self,
        location: Location,
        out: &mut Vec<u8>,
        cache: &mut ReadCache,
        chain: &mut Vec<(usize, Entry)>,
    ) -> Result<Kind, Error> {
        let mut at = location;
        let kind = loop {
            let pack = self.pack(at.pack)?;
            if let Some((kind, _)) = cache.objects.get(pack.id(), at.offset, out) {
                break kind;
            }
            let entry = cache.entry(pack, at.offset)?;
            if let EntryKind::Whole(kind) = entry.kind {
                cache.inflate(pack, &entry, out)?;
                // What nobody built on yet is remembered too when it is a tree or commit: walks come back to them.
                if out.len() <= MAX_CACHED && (!chain.is_empty() || kind != Kind::Blob) {
                    cache.objects.put(pack.id(), at.offset, out, kind, 0);
                }
                break kind;
            }
            chain.push((at.pack, entry));
            if chain.len() > MAX_CHAIN {
                return Err(Error::damaged(pack.parts().pack.name(), "a chain of deltas does not end"));
            }
            at = self.base_of(at.pack, &entry)?;
        };
        while let Some((at, entry)) = chain.pop() {
            let pack = self.pack(at)?;
            let mut instructions = std::mem::take(&mut cache.delta);
            let inflated = cache.inflate(pack, &entry, &mut instructions);
            let applied = inflated.map(|()| delta::apply(out, &instructions, &mut cache.base));
            cache.delta = instructions;
            applied?.ok_or_else(|| {
                Error::damaged(
                    pack.parts().pack.name(),
                    format!("the delta at offset {} does not fit its base", entry.offset),
                )
            })?;
            std::mem::swap(out, &mut cache.base);
            if out.len() <= MAX_CACHED && (kind != Kind::Blob || !chain.is_empty()) {
                cache.objects.put(pack.id(), entry.offset, out, kind, 0);
            }
        }
        Ok(kind)
    }

    /// Kind and size of the object at `location`, without making it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn header_at(&self, location: Location, cache: &mut ReadCache) -> Result<(Kind, u64), Error> {
        let mut at = location;
        let mut size = None;
        for _ in 0..MAX_CHAIN {
            let pack = self.pack(at.pack)?;
            let entry = cache.entry(pack, at.offset)?;
            if let EntryKind::Whole(kind) = entry.kind {
                return Ok((kind, size.unwrap_or(entry.size)));
            }
            if size.is_none() {
                let mut instructions = std::mem::take(&mut cache.delta);
                let inflated = cache.inflate(pack, &entry, &mut instructions);
                let sizes = delta::sizes(&instructions);
                cache.delta = instructions;
                inflated?;
                size = sizes.map(|(_, result, _)| result);
            }
            at = self.base_of(at.pack, &entry)?;
        }
        Err(Error::damaged(self.pack(at.pack)?.parts().pack.name(), "a chain of deltas does not end"))
    }

    /// Kind of the object at `location`, found out from heads of entries alone; `known` remembers what was met on the way.
    pub(crate) fn kind_at(
        &self,
        location: Location,
        known: &mut HashMap<Location, Kind>,
        cache: &mut ReadCache,
    ) -> Result<Kind, Error> {
        let mut at = location;
        let mut way = Vec::new();
        let kind = loop {
            if let Some(kind) = known.get(&at) {
                break *kind;
            }
            let pack = self.pack(at.pack)?;
            let entry = cache.entry(pack, at.offset)?;
            if let EntryKind::Whole(kind) = entry.kind {
                break kind;
            }
            way.push(at);
            if way.len() > MAX_CHAIN {
                return Err(Error::damaged(pack.parts().pack.name(), "a chain of deltas does not end"));
            }
            at = self.base_of(at.pack, &entry)?;
        };
        if known.len() > MAX_KNOWN_KINDS {
            known.clear();
        }
        known.extend(way.into_iter().map(|at| (at, kind)));
        Ok(kind)
    }

    /// Kind and size of an object; `None` when it is not there.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn header(&self, id: &gix::oid, cache: &mut ReadCache) -> Result<Option<(Kind, u64)>, Error> {
        self.locate(id).map(|location| self.header_at(location, cache)).transpose()
    }

    /// Where the base of the delta `entry` of the pack at `pack` is.
    pub(crate) fn base_of(&self, pack: usize, entry: &Entry) -> Result<Location, Error> {
        match entry.kind {
            EntryKind::OffsetDelta(offset) => Ok(Location { pack, offset }),
            EntryKind::RefDelta(base) => self.locate_base(pack, &base).ok_or_else(|| Error::MissingBase {
                path: self.pack(pack).map_or_else(|_| "?".into(), |pack| pack.parts().pack.name().to_owned()),
                base,
            }),
            EntryKind::Whole(_) => Ok(Location { pack, offset: entry.offset }),
        }
    }

    /// The pack at a position.
    pub(crate) fn pack(&self, at: usize) -> Result<&Pack, Error> {
        match self.packs().get(at) {
            Some(pack) => Ok(pack),
            None => Err(Error::damaged("packs".as_ref(), "a location outside the open packs")),
        }
    }
}
