//! Size and checksums of an LFS object: what makes it visible, and what every byte of it is compared with.

use std::ops::Range;

use bytes::Bytes;
use model::lfs::Oid;

use crate::checkpoint::{seal, unseal};
use crate::entry::{EntryError, wire};

const MAGIC: [u8; 8] = *b"CKLFS\0\0\x01";
/// Chunks of most objects.
const MIN_CHUNK: u64 = 1 << 20;
/// A chunk is held in memory while it is verified.
const MAX_CHUNK: u64 = 8 << 20;
/// Above this number of chunks they become larger.
const MANY_CHUNKS: u64 = 1_024;

/// An LFS object that the repository has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LfsObject {
    oid: Oid,
    size: u64,
    /// Bytes of each chunk but the last.
    chunk_bytes: u64,
    /// SHA-256 of each chunk; none of an empty object.
    chunks: Vec<[u8; 32]>,
    /// Which copy of the object this is: see `lives.rs`.
    life: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Sums {
    /// None so far: whoever finds one that it does not know must not go on.
    #[prost(string, repeated, tag = "1")]
    required_features: Vec<String>,
    #[prost(bytes = "vec", tag = "2")]
    oid: Vec<u8>,
    #[prost(uint64, tag = "3")]
    size: u64,
    #[prost(uint64, tag = "4")]
    chunk_bytes: u64,
    #[prost(bytes = "vec", tag = "5")]
    chunks: Vec<u8>,
}

/// Bytes of the chunks of an object of this size.
pub(super) fn chunk_bytes(size: u64) -> u64 {
    size.div_ceil(MANY_CHUNKS).next_multiple_of(1 << 20).clamp(MIN_CHUNK, MAX_CHUNK)
}

impl LfsObject {
    pub(super) fn new(oid: Oid, size: u64, chunk_bytes: u64, chunks: Vec<[u8; 32]>) -> Self {
        Self { oid, size, chunk_bytes, chunks, life: 0 }
    }

    /// The same object in this life.
    pub(super) fn in_life(self, life: u32) -> Self {
        Self { life, ..self }
    }

    pub(crate) fn life(&self) -> u32 {
        self.life
    }

    /// Its name.
    #[must_use]
    pub fn oid(&self) -> &Oid {
        &self.oid
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The number of the chunk that has this byte.
    pub(super) fn chunk_of(&self, offset: u64) -> u64 {
        offset / self.chunk_bytes
    }

    /// The bytes of a chunk, and their SHA-256.
    pub(super) fn chunk(&self, number: u64) -> Option<(Range<u64>, &[u8; 32])> {
        let sum = self.chunks.get(usize::try_from(number).ok()?)?;
        let start = number * self.chunk_bytes;
        Some((start..(start + self.chunk_bytes).min(self.size), sum))
    }

    pub(super) fn encode(&self) -> Bytes {
        let Self { oid, size, chunk_bytes, chunks, life: _ } = self;
        let sums = Sums {
            required_features: vec![],
            oid: oid.as_bytes().to_vec(),
            size: *size,
            chunk_bytes: *chunk_bytes,
            chunks: chunks.concat(),
        };
        seal(MAGIC, &sums)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let sums: Sums = unseal(MAGIC, bytes)?;
        if let Some(feature) = sums.required_features.first() {
            return Err(EntryError::Feature(feature.clone()));
        }
        let (chunks, rest) = sums.chunks.as_chunks::<32>();
        let is_sound = (MIN_CHUNK..=MAX_CHUNK).contains(&sums.chunk_bytes)
            && rest.is_empty()
            && chunks.len() as u64 == sums.size.div_ceil(sums.chunk_bytes);
        if !is_sound {
            return Err(EntryError::Header("the chunks are not as many as the size says".to_owned()));
        }
        let oid = Oid::of(wire::array(sums.oid, "oid")?);
        Ok(Self::new(oid, sums.size, sums.chunk_bytes, chunks.to_vec()))
    }
}
