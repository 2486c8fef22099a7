//! The index of a pack, mapped from its file or held in memory.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use gix::ObjectId;
use gix_pack::index::File;
use model::{Content, ObjectFormat};

use super::Error;
use crate::ingest::copy_at;

/// An index, version 2.
pub(super) enum Index {
    Mapped(File),
    Held(File<Bytes>),
}

/// The same of either.
macro_rules! of {
    ($index:expr, $file:ident => $what:expr) => {
        match $index {
            Index::Mapped($file) => $what,
            Index::Held($file) => $what,
        }
    };
}

impl Index {
    /// Opens an index; its size and tables must fit each other.
    pub(super) fn open(content: &Content) -> Result<Self, Error> {
        let hash = format(content).map_err(|source| Error::Read { path: content.name().to_owned(), source })?;
        let opened = match content {
            Content::File(path) => File::at(path, hash).map(Self::Mapped),
            Content::Memory(bytes) => File::from_data(bytes.clone(), content.name().to_owned(), hash).map(Self::Held),
        };
        opened.map_err(|error| Error::damaged(content.name(), error.to_string()))
    }

    pub(super) fn format(&self) -> ObjectFormat {
        of!(self, file => file.object_hash())
    }

    pub(super) fn len(&self) -> u32 {
        of!(self, file => file.num_objects())
    }

    pub(super) fn pack_checksum(&self) -> ObjectId {
        of!(self, file => file.pack_checksum())
    }

    pub(super) fn lookup(&self, id: &gix::oid) -> Option<u32> {
        of!(self, file => file.lookup(id))
    }

    pub(super) fn offset_at(&self, position: u32) -> u64 {
        of!(self, file => file.pack_offset_at_index(position))
    }

    pub(super) fn id_at(&self, position: u32) -> &gix::oid {
        of!(self, file => file.oid_at_index(position))
    }

    pub(super) fn crc32_at(&self, position: u32) -> u32 {
        of!(self, file => file.crc32_at_index(position)).unwrap_or(0)
    }
}

/// Bytes before the ids: the head, and how many objects begin with each byte or a lower one.
const FAN_END: u64 = 8 + 256 * 4;

/// Whose ids an index has. It does not say so, but its length does: an entry with a SHA-1 id takes 36 bytes at most (id, CRC-32, offset,
/// large offset), one with a SHA-256 id takes 40 at least.
fn format(index: &Content) -> io::Result<ObjectFormat> {
    let mut count = [0; 4];
    let length = match index {
        Content::File(path) => {
            let file = fs::File::open(path)?;
            file.read_exact_at(&mut count, FAN_END - 4)?;
            file.metadata()?.len()
        }
        Content::Memory(bytes) => {
            copy_at(bytes, &mut count, FAN_END - 4)?;
            bytes.len() as u64
        }
    };
    let least = |format: ObjectFormat| {
        let id = format.len_in_bytes() as u64;
        FAN_END + u64::from(u32::from_be_bytes(count)) * (id + 8) + 2 * id
    };
    let is_long = length >= least(ObjectFormat::Sha256);
    Ok(if is_long { ObjectFormat::Sha256 } else { ObjectFormat::Sha1 })
}
