//! Writing packs out of entries that lie in other packs: copied as they are, deltas included, wherever that is possible.
//!
//! A delta is kept when its base is in the new pack too (before it: by distance, else by id) or, in a thin pack, at the
//! receiver. Otherwise the object is deflated anew. Every entry that is copied is checked against the CRC-32 of its index.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use gix::{ObjectId, hash::Hasher, objs::Kind};
use gix_pack::data::entry::Header;
use model::ObjectFormat;

use crate::{
    odb::{self, Entry, EntryKind, Facts, Location, Pack, Packs, ReadCache},
    pack_index::IndexEntry,
};

mod selection;
mod window;

pub use selection::Selection;
use window::Window;

/// How much is read from a pack at once when entries lie next to each other.
const WINDOW: u64 = 256 << 10;

/// Entries this far apart are still read together.
const GAP: u64 = 4 << 10;

/// Objects shorter than this are not worth a delta.
const MIN_DELTA: usize = 64;

/// Objects longer than this are deflated whole: making a delta needs both in memory.
const MAX_DELTA: usize = 16 << 20;

/// How many versions are gone back to find one that the receiver has.
const MAX_VERSIONS: usize = 200;

/// Why a pack could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The objects cannot be read.
    #[error(transparent)]
    Odb(#[from] odb::Error),
    /// The output failed: the client went away, or the disk is full.
    #[error("failed to write the pack")]
    Write(#[source] io::Error),
    /// The server stops or the request was given up.
    #[error("interrupted")]
    Interrupted,
}

/// Where the bytes of a pack go.
pub trait Sink {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they cannot be taken.
    fn data(&mut self, bytes: &[u8]) -> io::Result<()>;
}

impl Sink for crate::sideband::Writer<'_> {
    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        Self::data(self, bytes)
    }
}

/// Tells what an object replaces.
pub type Replaces<'a> = dyn Fn(&gix::oid) -> Option<ObjectId> + 'a;

/// What the receiver of a pack understands and has.
pub struct Receiver<'a> {
    /// Deltas may name their base by distance.
    pub ofs_delta: bool,
    /// Objects that it has and on which deltas may build; `None`: the pack must stand alone.
    pub has: Option<&'a dyn Fn(&gix::oid) -> bool>,
    /// What an object replaces: if the receiver has that, a delta is made instead of deflating the object whole.
    pub replaces: Option<&'a Replaces<'a>>,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Hash of the pack, its last bytes.
    pub trailer: ObjectId,
    /// Length of the pack.
    pub bytes: u64,
    /// Entries that were made anew instead of copied.
    pub recompressed: u64,
}

/// Writes a pack of `selection`. `index`, when given, receives an entry for every object.
///
/// # Errors
/// When an object cannot be read, the output fails, or `interrupt` was set.
pub fn write(
    packs: &Packs,
    selection: &Selection,
    receiver: &Receiver<'_>,
    sink: &mut dyn Sink,
    index: Option<&mut Vec<IndexEntry>>,
    interrupt: &AtomicBool,
) -> Result<Written, Error> {
    let mut writer = PackWriter {
        packs,
        selection: &selection.entries,
        everything: selection.everything,
        receiver,
        out: HashingSink::new(sink, packs.format()),
        new_offsets: Vec::with_capacity(selection.len()),
        window: Window::default(),
        cache: ReadCache::default(),
        object: Vec::new(),
        base: Vec::new(),
        deflated: Vec::new(),
        recompressed: 0,
        index,
    };
    let count = u32::try_from(selection.len())
        .map_err(|_| odb::Error::damaged("packs".as_ref(), "too many objects for a pack"))?;
    writer.out.put(&header(count))?;
    let mut at = 0;
    while at < selection.len() {
        if at.is_multiple_of(256) && interrupt.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        match writer.whole_pack(at, interrupt)? {
            0 => {
                writer.entry(at)?;
                at += 1;
            }
            copied => at += copied,
        }
    }
    let recompressed = writer.recompressed;
    let (trailer, bytes) = writer.out.finish()?;
    Ok(Written { trailer, bytes, recompressed })
}

/// The header of a pack of `objects`.
#[must_use]
pub fn header(objects: u32) -> [u8; 12] {
    gix_pack::data::header::encode(gix_pack::data::Version::V2, objects)
}

/// Hashes and counts what goes into a sink.
struct HashingSink<'a> {
    sink: &'a mut dyn Sink,
    hasher: Hasher,
    offset: u64,
}

impl<'a> HashingSink<'a> {
    fn new(sink: &'a mut dyn Sink, format: ObjectFormat) -> Self {
        Self { sink, hasher: gix::hash::hasher(format), offset: 0 }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
        self.sink.data(bytes).map_err(Error::Write)
    }

    /// Writes the trailer; returns it with the length of the whole.
    fn finish(self) -> Result<(ObjectId, u64), Error> {
        let trailer = self.hasher.try_finalize().map_err(|error| Error::Write(io::Error::other(error)))?;
        self.sink.data(trailer.as_slice()).map_err(Error::Write)?;
        Ok((trailer, self.offset + trailer.as_slice().len() as u64))
    }
}

/// A pack being written.
struct PackWriter<'a, 'b> {
    packs: &'a Packs,
    selection: &'a [Location],
    everything: bool,
    receiver: &'a Receiver<'a>,
    out: HashingSink<'b>,
    /// Where the selected entries so far begin in the new pack.
    new_offsets: Vec<u64>,
    window: Window,
    cache: ReadCache,
    object: Vec<u8>,
    base: Vec<u8>,
    deflated: Vec<u8>,
    recompressed: u64,
    index: Option<&'a mut Vec<IndexEntry>>,
}

/// What becomes of an entry.
enum Fate {
    /// Copied with this head.
    Copy(Header),
    /// Deflated anew.
    Anew,
}

impl PackWriter<'_, '_> {
    /// Writes the selected entry at `at`.
    fn entry(&mut self, at: usize) -> Result<(), Error> {
        let location = self.selection[at];
        let pack = self.packs.pack(location.pack)?;
        let facts = pack.facts(location.offset).ok_or_else(|| damaged(pack, location, "no entry begins"))?;
        let big = facts.length > WINDOW;
        let entry = if big {
            pack.entry(location.offset)?
        } else {
            let until = self.run_end(at, facts.length)?;
            let bytes = self.window.take(self.packs, location, facts.length, until)?;
            if crc32fast::hash(bytes) != facts.crc32 {
                return Err(damaged(pack, location, "the CRC is wrong"));
            }
            pack.parse(location.offset, bytes)?
        };
        let start = self.out.offset;
        let new_crc = match self.fate(location, &entry, start)? {
            Fate::Copy(header) => {
                let mut head = Vec::with_capacity(odb::MAX_ENTRY_HEAD);
                header.write_to(entry.size, &mut head).map_err(Error::Write)?;
                let mut crc = crc32fast::Hasher::new();
                crc.update(&head);
                self.out.put(&head)?;
                if big {
                    self.stream(location, &entry, &facts, &mut crc)?;
                } else {
                    let body = usize::try_from(entry.head).unwrap_or(usize::MAX);
                    let body = self.window.current(location, facts.length).get(body..);
                    let body = body.ok_or_else(|| damaged(pack, location, "the entry is cut short"))?;
                    self.out.put(body)?;
                    if self.index.is_some() {
                        crc.update(body);
                    }
                }
                crc.finalize()
            }
            Fate::Anew => self.anew(location, &facts.id)?,
        };
        self.new_offsets.push(start);
        if let Some(index) = &mut self.index {
            index.push(IndexEntry { id: facts.id, offset: start, crc32: new_crc });
        }
        Ok(())
    }

    /// Copies what follows the head of a big entry piece by piece. Damage shows at the end only, but before the trailer, so
    /// the receiver never takes the pack for whole.
    fn stream(
        &mut self,
        location: Location,
        entry: &Entry,
        facts: &Facts,
        crc: &mut crc32fast::Hasher,
    ) -> Result<(), Error> {
        let pack = self.packs.pack(location.pack)?;
        let mut old_crc = crc32fast::Hasher::new();
        let mut head = [0; odb::MAX_ENTRY_HEAD];
        let head = &mut head[..usize::try_from(entry.head).unwrap_or(0).min(odb::MAX_ENTRY_HEAD)];
        pack.read_exact_at(head, location.offset)?;
        old_crc.update(head);
        let (mut at, end) = (location.offset + entry.head, location.offset + facts.length);
        let mut buffer = std::mem::take(&mut self.deflated);
        while at < end {
            buffer.resize(usize::try_from((end - at).min(WINDOW)).unwrap_or(0), 0);
            pack.read_exact_at(&mut buffer, at)?;
            old_crc.update(&buffer);
            crc.update(&buffer);
            self.out.put(&buffer)?;
            at += buffer.len() as u64;
        }
        self.deflated = buffer;
        if old_crc.finalize() == facts.crc32 { Ok(()) } else { Err(damaged(pack, location, "the CRC is wrong")) }
    }

    /// Copies a pack of which all entries are selected as it lies, if the entry at `at` is its first; returns how many
    /// entries that were. Distances stay right, and a base that is named by its id is selected, because everything is
    /// or the pack is self-contained. Not when an index is made: that wants every entry checked.
    fn whole_pack(&mut self, at: usize, interrupt: &AtomicBool) -> Result<usize, Error> {
        let first = self.selection[at];
        let pack = self.packs.pack(first.pack)?;
        let count = usize::try_from(pack.len()).unwrap_or(usize::MAX);
        let starts = at == 0 || self.selection[at - 1].pack != first.pack;
        let all = at
            .checked_add(count)
            .and_then(|end| self.selection.get(end - 1))
            .is_some_and(|last| last.pack == first.pack);
        let copies = starts && all && self.index.is_none() && self.receiver.ofs_delta;
        if !copies || !(self.everything || pack.self_contained()?) {
            return Ok(0);
        }
        let shift = self.out.offset;
        self.new_offsets.extend(self.selection[at..at + count].iter().map(|entry| entry.offset - odb::HEADER + shift));
        let mut offset = odb::HEADER;
        let mut buffer = std::mem::take(&mut self.object);
        buffer.resize(1 << 18, 0);
        while offset < pack.end() {
            if interrupt.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let take = usize::try_from(pack.end() - offset).unwrap_or(usize::MAX).min(buffer.len());
            pack.read_exact_at(&mut buffer[..take], offset)?;
            self.out.put(&buffer[..take])?;
            offset += take as u64;
        }
        self.object = buffer;
        Ok(count)
    }

    /// Up to where the pack should be read, given the entry at `at` and those after it.
    fn run_end(&self, at: usize, length: u64) -> Result<u64, Error> {
        let first = self.selection[at];
        if self.window.holds(first, length) {
            return Ok(first.offset + length);
        }
        let pack = self.packs.pack(first.pack)?;
        let mut end = first.offset + length;
        for next in &self.selection[at + 1..] {
            if next.pack != first.pack || next.offset > end + GAP || next.offset - first.offset > WINDOW {
                break;
            }
            end = next.offset + pack.entry_length(next.offset).unwrap_or(0);
            if end - first.offset > WINDOW {
                break;
            }
        }
        Ok(end.min(first.offset + WINDOW.max(length)))
    }

    /// Decides what becomes of an entry that will begin at `start` of the new pack.
    fn fate(&self, location: Location, entry: &Entry, start: u64) -> Result<Fate, Error> {
        if let EntryKind::Whole(kind) = entry.kind {
            return Ok(Fate::Copy(match kind {
                Kind::Commit => Header::Commit,
                Kind::Tree => Header::Tree,
                Kind::Blob => Header::Blob,
                Kind::Tag => Header::Tag,
            }));
        }
        let (base_id, base) = match entry.kind {
            EntryKind::OffsetDelta(offset) => {
                let pack = self.packs.pack(location.pack)?;
                // Most bases are selected themselves: the id is looked up only when it is needed.
                if let Some(found) =
                    self.written(Location { pack: location.pack, offset }).filter(|_| self.receiver.ofs_delta)
                {
                    return Ok(Fate::Copy(Header::OfsDelta { base_distance: start - found }));
                }
                let id = pack.object_at(offset).map(|(id, _)| id);
                let id = id.ok_or_else(|| {
                    odb::Error::damaged(pack.parts().pack.name(), "a delta builds on what is no entry")
                })?;
                (id, self.selected(&id))
            }
            EntryKind::RefDelta(id) => (id, self.selected(&id)),
            EntryKind::Whole(_) => return Ok(Fate::Anew),
        };
        Ok(match base {
            // Only towards older packs, or within one: then no chain of deltas can come back to where it began.
            Some(base) if base.pack <= location.pack => match self.written(base).filter(|_| self.receiver.ofs_delta) {
                Some(found) => Fate::Copy(Header::OfsDelta { base_distance: start - found }),
                None => Fate::Copy(Header::RefDelta { base_id }),
            },
            None if self.receiver.has.is_some_and(|has| has(&base_id)) => Fate::Copy(Header::RefDelta { base_id }),
            _ => Fate::Anew,
        })
    }

    /// Where the entry of `location` begins in the new pack, if it is selected and was written.
    fn written(&self, location: Location) -> Option<u64> {
        let at = self.selection.binary_search(&location).ok()?;
        self.new_offsets.get(at).copied()
    }

    /// The selected copy of an object.
    fn selected(&self, id: &gix::oid) -> Option<Location> {
        let copies = self.packs.packs().iter().enumerate();
        let mut copies = copies.filter_map(|(at, pack)| Some(Location { pack: at, offset: pack.offset(id)? }));
        copies.find(|copy| self.selection.binary_search(copy).is_ok())
    }

    /// Reads the whole object and deflates it, or a new delta; returns the CRC-32 of the entry.
    fn anew(&mut self, location: Location, id: &gix::oid) -> Result<u32, Error> {
        self.recompressed += 1;
        let kind = self.packs.read(location, &mut self.object, &mut self.cache)?;
        if let Some(base_id) = self.held_base(id) {
            let most = self.object.len() / 2;
            let mut base = std::mem::take(&mut self.base);
            let found = self.packs.get(&base_id, &mut base, &mut self.cache)?;
            let delta = if found.kind == kind { odb::encode_delta(found.data, &self.object, most) } else { None };
            self.base = base;
            if let Some(delta) = delta {
                return self.deflated(Header::RefDelta { base_id }, &delta);
            }
        }
        let header = match kind {
            Kind::Commit => Header::Commit,
            Kind::Tree => Header::Tree,
            Kind::Blob => Header::Blob,
            Kind::Tag => Header::Tag,
        };
        let object = std::mem::take(&mut self.object);
        let crc = self.deflated(header, &object);
        self.object = object;
        crc
    }

    /// Writes an entry of `content`.
    fn deflated(&mut self, header: Header, content: &[u8]) -> Result<u32, Error> {
        self.deflated.clear();
        header.write_to(content.len() as u64, &mut self.deflated).map_err(Error::Write)?;
        deflate(content, &mut self.deflated).map_err(Error::Write)?;
        self.out.put(&self.deflated)?;
        Ok(crc32fast::hash(&self.deflated))
    }

    /// What an object replaces, or what that replaces, and so on, until it is something that the receiver has already. Such a
    /// base never closes a circle, because nothing of the new pack is below it.
    fn held_base(&self, id: &gix::oid) -> Option<ObjectId> {
        let (replaces, has) = (self.receiver.replaces?, self.receiver.has?);
        if !(MIN_DELTA..=MAX_DELTA).contains(&self.object.len()) {
            return None;
        }
        let mut base = replaces(id)?;
        for _ in 0..MAX_VERSIONS {
            if self.selected(&base).is_none() {
                return Some(base).filter(|base| has(base));
            }
            base = replaces(&base)?;
        }
        None
    }
}

/// Appends `bytes`, deflated quickly, to `out`.
fn deflate(bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let level = gix::zlib::Compression::new(1).unwrap_or_default();
    let mut writer = gix::zlib::stream::deflate::Write::new(out, level);
    io::Write::write_all(&mut writer, bytes)?;
    io::Write::flush(&mut writer)
}

/// The entry at `location` is not what the index says.
fn damaged(pack: &Pack, location: Location, what: &str) -> Error {
    odb::Error::damaged(pack.parts().pack.name(), format!("{what} at offset {}", location.offset)).into()
}
