//! Writes the index of a pack, version 2 (`gitformat-pack`).

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use gix::{ObjectId, hash::Hasher};

use super::{IngestError, table::Table};

/// Offsets from here on are kept in the table of 64-bit offsets.
const LARGE: u64 = 1 << 31;

/// Writes the index of `table`, whose entries sorted by name are `order`.
pub(super) fn write(path: &Path, table: &Table, order: &[u32], pack: &ObjectId) -> Result<(), IngestError> {
    let file = File::create_new(path).map_err(IngestError::Write)?;
    let mut out = Hashed { inner: BufWriter::new(file), hash: gix::hash::hasher(gix::hash::Kind::Sha1) };
    body(&mut out, table, order, pack).map_err(IngestError::Write)?;
    let Hashed { mut inner, hash } = out;
    let checksum = hash.try_finalize().map_err(|_| IngestError::Collision)?;
    inner.write_all(checksum.as_slice()).and_then(|()| inner.flush()).map_err(IngestError::Write)
}

fn body(out: &mut Hashed, table: &Table, order: &[u32], pack: &ObjectId) -> io::Result<()> {
    out.write_all(b"\xfftOc\x00\x00\x00\x02")?;
    let mut until = 0_u32;
    for first in 0..=u8::MAX {
        let group =
            order[until as usize..].iter().take_while(|entry| table.ids[**entry as usize].first_byte() == first);
        until += u32::try_from(group.count()).map_err(io::Error::other)?;
        out.write_all(&until.to_be_bytes())?;
    }
    for entry in order {
        out.write_all(table.ids[*entry as usize].as_slice())?;
    }
    for entry in order {
        out.write_all(&table.crc32s[*entry as usize].to_be_bytes())?;
    }
    let mut large = Vec::new();
    for entry in order {
        let offset = table.offsets[*entry as usize];
        let small = if offset < LARGE {
            u32::try_from(offset).map_err(io::Error::other)?
        } else {
            large.push(offset);
            1 << 31 | u32::try_from(large.len() - 1).map_err(io::Error::other)?
        };
        out.write_all(&small.to_be_bytes())?;
    }
    for offset in large {
        out.write_all(&offset.to_be_bytes())?;
    }
    out.write_all(pack.as_slice())
}

struct Hashed {
    inner: BufWriter<File>,
    hash: Hasher,
}

impl Hashed {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.inner.write_all(bytes)
    }
}
