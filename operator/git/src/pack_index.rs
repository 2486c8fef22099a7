//! Writing pack indexes, version 2 ([gitformat-pack]).
//!
//! [gitformat-pack]: https://git-scm.com/docs/gitformat-pack#_version_2_pack_idx_files_support_packs_larger_than_4_gib_and

use std::io::{self, Write};

use gix::{ObjectId, hash::Hasher};

/// What an index says of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexEntry {
    /// The object.
    pub id: ObjectId,
    /// Where its entry begins in the pack.
    pub offset: u64,
    /// CRC-32 of the whole entry.
    pub crc32: u32,
}

/// Offsets from here on are kept in a table of their own.
const LARGE: u64 = 1 << 31;

/// Writes the index of the pack that ends with `trailer`. Sorts `entries`; returns the index's own trailer.
///
/// # Errors
/// When `out` fails, or an object is there twice.
pub fn write(entries: &mut [IndexEntry], trailer: &ObjectId, out: &mut dyn Write) -> io::Result<ObjectId> {
    entries.sort_unstable_by_key(|entry| entry.id);
    if entries.windows(2).any(|pair| pair[0].id == pair[1].id) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the pack has the same object twice"));
    }
    let mut out =
        Hashing { out: io::BufWriter::with_capacity(1 << 16, out), hasher: gix::hash::hasher(trailer.kind()) };
    out.write_all(b"\xfftOc\0\0\0\x02")?;
    let mut fan = [0_u32; 256];
    for entry in entries.iter() {
        fan[usize::from(entry.id.as_slice()[0])] += 1;
    }
    let mut sum = 0;
    for count in fan {
        sum += count;
        out.write_all(&sum.to_be_bytes())?;
    }
    for entry in entries.iter() {
        out.write_all(entry.id.as_slice())?;
    }
    for entry in entries.iter() {
        out.write_all(&entry.crc32.to_be_bytes())?;
    }
    let mut large = Vec::new();
    for entry in entries.iter() {
        let short = u32::try_from(entry.offset).ok().filter(|offset| u64::from(*offset) < LARGE);
        let field = short.unwrap_or_else(|| {
            large.push(entry.offset);
            u32::try_from(large.len() - 1).unwrap_or(u32::MAX) | 0x8000_0000
        });
        out.write_all(&field.to_be_bytes())?;
    }
    for offset in large {
        out.write_all(&offset.to_be_bytes())?;
    }
    out.write_all(trailer.as_slice())?;
    let own = out.hasher.try_finalize().map_err(io::Error::other)?;
    out.out.write_all(own.as_slice())?;
    out.out.flush()?;
    Ok(own)
}

/// Hashes what passes.
struct Hashing<W> {
    out: W,
    hasher: Hasher,
}

impl<W: Write> Hashing<W> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }
}
