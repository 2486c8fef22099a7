//! One pack: its index mapped and its data read by `pread`, or both in memory when it is small.

use std::{
    fs::File,
    io,
    ops::ControlFlow,
    os::unix::fs::FileExt as _,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use gix::{ObjectId, objs::Kind};
use gix_pack::data;
use model::{Content, ObjectFormat};

use super::{Error, PackParts, index::Index};
use crate::{ingest::copy_at, reach::Table};

/// Bytes of the header of a pack.
pub(crate) const HEADER: u64 = 12;

/// Longest head of an entry: size (10), base by id (up to 32) or by distance (10).
pub(crate) const MAX_ENTRY_HEAD: usize = 48;

/// How much is read at once for the heads of entries, and how far apart two may be for that.
const HEADS_WINDOW: usize = 1 << 16;
const HEADS_GAP: u64 = 4 << 10;

/// Numbers packs within the process, for caches that outlive one set of packs.
static NEXT_ID: AtomicU32 = AtomicU32::new(0);

/// Takes the head of an entry and its rank in the order of offsets.
type EachHead<'a, E> = dyn FnMut(usize, &Entry) -> Result<ControlFlow<()>, E> + 'a;

/// What an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A whole object.
    Whole(Kind),
    /// A delta on the entry at this offset of the same pack.
    OffsetDelta(u64),
    /// A delta on this object.
    RefDelta(ObjectId),
}

/// The head of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Where the entry begins.
    pub offset: u64,
    /// What it holds.
    pub kind: EntryKind,
    /// Inflated size of what is stored: of the object or of the delta.
    pub size: u64,
    /// Bytes of the head; the deflated bytes follow.
    pub head: u64,
}

/// What an index knows of an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) id: ObjectId,
    /// Length of the entry, head included.
    pub(crate) length: u64,
    pub(crate) crc32: u32,
}

/// The way back from offsets to the index.
struct Order {
    /// Sorted, and the end of the last entry.
    offsets: Vec<u64>,
    /// For each offset its position in the index.
    positions: Vec<u32>,
}

/// The bytes of a pack.
enum Data {
    File(File),
    Memory(Bytes),
}

impl Data {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(buffer, offset),
            Self::Memory(bytes) => copy_at(bytes, buffer, offset),
        }
    }
}

/// An open pack.
pub struct Pack {
    id: u32,
    parts: PackParts,
    data: Data,
    bytes: u64,
    index: Index,
    order: OnceLock<Order>,
    self_contained: OnceLock<bool>,
    table: OnceLock<Table>,
}

impl Pack {
    /// Opens a pack and its index.
    ///
    /// # Errors
    /// When a file is missing or obviously damaged: sizes, counts and the trailer must agree, unless it is still arriving.
    pub fn open(parts: &PackParts) -> Result<Self, Error> {
        let name = parts.pack.name();
        let failed = |source| Error::Read { path: name.to_owned(), source };
        let (content, bytes) = match &parts.pack {
            Content::File(path) => {
                let file = File::open(path).map_err(failed)?;
                let bytes = file.metadata().map_err(failed)?.len();
                (Data::File(file), bytes)
            }
            Content::Memory(bytes) => (Data::Memory(bytes.clone()), bytes.len() as u64),
        };
        let index = Index::open(&parts.index)?;
        if parts.arriving.is_some() {
            // Its bytes are compared with checksums as they come; waiting for the last ones would be waiting for all.
            return Ok(Self::of(parts, content, bytes, index));
        }
        let trailer_bytes = index.format().len_in_bytes();
        if bytes < HEADER + trailer_bytes as u64 {
            return Err(Error::damaged(name, "it is too short for a pack"));
        }
        let mut head = [0; 12];
        content.read_exact_at(&mut head, 0).map_err(failed)?;
        let (_, objects) = data::header::decode(&head).map_err(|error| Error::damaged(name, error.to_string()))?;
        if objects != index.len() {
            return Err(Error::damaged(name, "its index has another number of objects"));
        }
        let mut trailer = ObjectFormat::buf();
        let trailer = &mut trailer[..trailer_bytes];
        content.read_exact_at(trailer, bytes - trailer_bytes as u64).map_err(failed)?;
        if index.pack_checksum().as_slice() != trailer {
            return Err(Error::damaged(name, "its index belongs to another pack"));
        }
        Ok(Self::of(parts, content, bytes, index))
    }

    fn of(parts: &PackParts, data: Data, bytes: u64, index: Index) -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            parts: parts.clone(),
            data,
            bytes,
            index,
            order: OnceLock::new(),
            self_contained: OnceLock::new(),
            table: OnceLock::new(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn parts(&self) -> &PackParts {
        &self.parts
    }

    /// Its number within the process.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// How many objects it has.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.index.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its length.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whose ids it has.
    #[must_use]
    pub fn format(&self) -> ObjectFormat {
        self.index.format()
    }

    /// Its trailer: the hash of all bytes before it.
    #[must_use]
    pub fn trailer(&self) -> ObjectId {
        self.index.pack_checksum()
    }

    /// Gives the pack its reachability table, which every holder of the pack has from now on. It keeps the first one.
    pub fn attach(&self, table: Table) {
        drop(self.table.set(table));
    }

    /// Its reachability table, if it was given one.
    #[must_use]
    pub fn table(&self) -> Option<&Table> {
        self.table.get()
    }

    /// Position of the object in the index.
    #[must_use]
    pub fn position(&self, id: &gix::oid) -> Option<u32> {
        self.index.lookup(id)
    }

    /// Offset of the entry of the object at a position of the index, which must be below [`Self::len`].
    pub(crate) fn offset_at(&self, position: u32) -> u64 {
        self.index.offset_at(position)
    }

    /// Whether the object is in this pack.
    #[must_use]
    pub fn contains(&self, id: &gix::oid) -> bool {
        self.index.lookup(id).is_some()
    }

    /// Offset of the object's entry.
    #[must_use]
    pub fn offset(&self, id: &gix::oid) -> Option<u64> {
        self.index.lookup(id).map(|at| self.index.offset_at(at))
    }

    /// The object at a position of the index, which is sorted by id.
    ///
    /// # Panics
    /// When `position` is not below [`Self::len`].
    #[must_use]
    pub fn id_at(&self, position: u32) -> &gix::oid {
        self.index.id_at(position)
    }

    /// All objects in the order of their ids: id, offset, CRC-32 of the entry.
    pub fn iter(&self) -> impl Iterator<Item = (ObjectId, u64, u32)> + '_ {
        let index = &self.index;
        (0..self.len()).map(|at| (index.id_at(at).to_owned(), index.offset_at(at), index.crc32_at(at)))
    }

    /// The tables over offsets. Made once.
    fn order(&self) -> &Order {
        self.order.get_or_init(|| {
            let offset_of = |position| (self.index.offset_at(position), position);
            let mut pairs: Vec<(u64, u32)> = (0..self.len()).map(offset_of).collect();
            pairs.sort_unstable();
            let ends = std::iter::once(self.end());
            Order {
                offsets: pairs.iter().map(|(offset, _)| *offset).chain(ends).collect(),
                positions: pairs.into_iter().map(|(_, position)| position).collect(),
            }
        })
    }

    /// The offsets of all entries, sorted, and the end of the last one.
    pub(crate) fn offsets(&self) -> &[u64] {
        &self.order().offsets
    }

    /// How many entries begin before the one at `offset`; `None` when no entry begins there.
    pub(crate) fn rank(&self, offset: u64) -> Option<usize> {
        self.order().offsets.binary_search(&offset).ok().filter(|rank| *rank < self.len() as usize)
    }

    /// Offset of the entry of this rank, and position of its object in the index.
    pub(crate) fn at_rank(&self, rank: usize) -> Option<(u64, u32)> {
        let Order { offsets, positions } = self.order();
        Some((*offsets.get(rank)?, *positions.get(rank)?))
    }

    /// All that the index knows of the entry at `offset`; `None` when no entry begins there.
    pub(crate) fn facts(&self, offset: u64) -> Option<Facts> {
        let Order { offsets, positions } = self.order();
        let at = offsets.binary_search(&offset).ok()?;
        let position = *positions.get(at)?;
        let crc32 = self.index.crc32_at(position);
        Some(Facts { id: self.id_at(position).to_owned(), length: offsets.get(at + 1)?.checked_sub(offset)?, crc32 })
    }

    /// The object whose entry begins at `offset` and the CRC-32 of that entry; `None` when no entry begins there.
    #[must_use]
    pub fn object_at(&self, offset: u64) -> Option<(ObjectId, u32)> {
        self.facts(offset).map(|facts| (facts.id, facts.crc32))
    }

    /// Where the entries end and the trailer begins.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.bytes - self.format().len_in_bytes() as u64
    }

    /// Length of the entry at `offset`, head included; `None` when no entry begins there.
    #[must_use]
    pub fn entry_length(&self, offset: u64) -> Option<u64> {
        self.facts(offset).map(|facts| facts.length)
    }

    /// Reads exactly these bytes.
    ///
    /// # Errors
    /// When the pack ends before or cannot be read.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        self.read(buffer, offset).map_err(|source| self.failed(source))
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if let Some(arriving) = &self.parts.arriving {
            arriving.wait_for(offset..offset + buffer.len() as u64)?;
        }
        self.data.read_exact_at(buffer, offset)
    }

    /// A reader of the bytes from `offset` on, for copying them as they are.
    pub(crate) fn reader(&self, offset: u64) -> Span<'_> {
        Span { pack: self, offset }
    }

    /// Reads and parses the head of the entry at `offset`.
    ///
    /// # Errors
    /// When it cannot be read or is not an entry.
    pub fn entry(&self, offset: u64) -> Result<Entry, Error> {
        let mut head = [0; MAX_ENTRY_HEAD];
        let available = self.end().saturating_sub(offset).min(MAX_ENTRY_HEAD as u64);
        let head = &mut head[..usize::try_from(available).unwrap_or(MAX_ENTRY_HEAD)];
        self.read_exact_at(head, offset)?;
        self.parse(offset, head)
    }

    /// Parses the head of the entry at `offset` out of its first bytes.
    pub(crate) fn parse(&self, offset: u64, bytes: &[u8]) -> Result<Entry, Error> {
        let damaged = |what: &str| Error::damaged(self.parts.pack.name(), format!("{what} at offset {offset}"));
        let entry = data::Entry::from_bytes(bytes, offset, self.format()).map_err(|_| damaged("no entry"))?;
        let kind = match entry.header {
            data::entry::Header::Commit => EntryKind::Whole(Kind::Commit),
            data::entry::Header::Tree => EntryKind::Whole(Kind::Tree),
            data::entry::Header::Blob => EntryKind::Whole(Kind::Blob),
            data::entry::Header::Tag => EntryKind::Whole(Kind::Tag),
            data::entry::Header::RefDelta { base_id } => EntryKind::RefDelta(base_id),
            data::entry::Header::OfsDelta { base_distance } => {
                let base = data::entry::Header::verified_base_pack_offset(offset, base_distance);
                EntryKind::OffsetDelta(base.ok_or_else(|| damaged("a delta without base"))?)
            }
        };
        Ok(Entry { offset, kind, size: entry.decompressed_size, head: entry.data_offset - offset })
    }

    /// Shows the heads of all entries, in the order of their offsets, with their rank in it, until told to stop.
    pub(crate) fn heads<E: From<Error>>(&self, each: &mut EachHead<'_, E>) -> Result<(), E> {
        let offsets = &self.offsets()[..self.offsets().len() - 1];
        let mut buffer = Vec::with_capacity(HEADS_WINDOW);
        let (mut start, mut end) = (0, 0);
        for (rank, offset) in offsets.iter().enumerate() {
            let needed = (offset + MAX_ENTRY_HEAD as u64).min(self.end());
            if *offset < start || needed > end {
                start = *offset;
                end = self.heads_end(&offsets[rank..]);
                buffer.resize(usize::try_from(end.saturating_sub(start)).unwrap_or(0), 0);
                self.read_exact_at(&mut buffer, start)?;
            }
            let range = usize::try_from(offset - start).unwrap_or(0)..usize::try_from(needed - start).unwrap_or(0);
            if each(rank, &self.parse(*offset, &buffer[range])?)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Up to where to read for the heads of the first of these entries: as long as they lie close to each other.
    fn heads_end(&self, offsets: &[u64]) -> u64 {
        let start = offsets.first().copied().unwrap_or(0);
        let close = offsets.windows(2).take_while(|pair| {
            pair[1] - pair[0] < HEADS_GAP && pair[1] - start < (HEADS_WINDOW - MAX_ENTRY_HEAD) as u64
        });
        let last = close.last().map_or(start, |pair| pair[1]);
        (last + MAX_ENTRY_HEAD as u64).min(self.end())
    }

    /// Whether every delta builds on an object of this very pack. Found out once, by reading the heads of all entries.
    ///
    /// # Errors
    /// When an entry cannot be read.
    pub fn self_contained(&self) -> Result<bool, Error> {
        if let Some(known) = self.self_contained.get() {
            return Ok(*known);
        }
        let mut contained = true;
        self.heads(&mut |_, entry: &Entry| {
            contained = !matches!(entry.kind, EntryKind::RefDelta(base) if !self.contains(&base));
            Ok::<_, Error>(if contained { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(*self.self_contained.get_or_init(|| contained))
    }

    /// A failed read of the pack.
    pub(crate) fn failed(&self, source: io::Error) -> Error {
        Error::Read { path: self.parts.pack.name().to_owned(), source }
    }
}

/// Reads a pack from an offset on, independent of all other readers.
pub(crate) struct Span<'a> {
    pack: &'a Pack,
    offset: u64,
}

impl io::Read for Span<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.pack.bytes.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let read = buffer.len().min(left);
        self.pack.read(&mut buffer[..read], self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
