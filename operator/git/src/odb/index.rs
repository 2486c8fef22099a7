//! The index of a pack, mapped from its file or held in memory.

use bytes::Bytes;
use gix::ObjectId;
use gix_pack::index::File;
use model::Content;

use super::Error;

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
        let hash = gix::hash::Kind::Sha1;
        let opened = match content {
            Content::File(path) => File::at(path, hash).map(Self::Mapped),
            Content::Memory(bytes) => File::from_data(bytes.clone(), content.name().to_owned(), hash).map(Self::Held),
        };
        opened.map_err(|error| Error::damaged(content.name(), error.to_string()))
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
