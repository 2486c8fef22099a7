//! How an object is encrypted (ADR 0016): pure.
//!
//! ```text
//! "CKENV\0\0\1"  number of the data key (u32, big endian)  zeros (4)  salt (32)     the header
//! then for each chunk of 64 KiB of the plain object, of which there is at least one: its bytes encrypted, tag (16)
//! ```
//!
//! A chunk is AES-256-GCM under a key of this object alone, HKDF-SHA256 of data key, salt and the object's key in the bucket. Its nonce is its
//! number and whether it is the last, its associated data the header. So a nonce is used once for each salt, of which each writing
//! draws its own, and bytes that are moved, cut off or put under another name do not decrypt.

use std::io::{self, Read, Write};
use std::ops::Range;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

/// Bytes of the header.
pub(crate) const HEADER: u64 = 48;
pub(crate) const HEADER_BYTES: usize = 48;
/// Plain bytes of each chunk but the last.
pub(crate) const CHUNK: u64 = 64 << 10;
const CHUNK_BYTES: usize = 64 << 10;
const TAG: u64 = 16;
const TAG_BYTES: usize = 16;
const SEALED_CHUNK: u64 = CHUNK + TAG;
const MAGIC: [u8; 8] = *b"CKENV\0\0\x01";
const CONTEXT: &[u8] = b"codekeep object 1";

/// A data key: 32 random bytes.
pub(crate) type DataKey = Zeroizing<[u8; 32]>;

/// Why bytes cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormatError {
    /// They do not begin as an encrypted object does.
    #[error("it is not encrypted as this repository's objects are")]
    Foreign,
    /// They were not written by who has the key, or not under this name, or not all of them are there.
    #[error("it does not decrypt: its bytes have changed, or it lies under another name")]
    Forged,
}

/// What stands before the chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Number of the data key.
    pub(crate) key: u32,
    /// Random, for each writing.
    pub(crate) salt: [u8; 32],
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.key.to_be_bytes());
        bytes[16..].copy_from_slice(&self.salt);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(FormatError::Foreign)?;
        let (key, rest) = rest.split_first_chunk::<4>().ok_or(FormatError::Foreign)?;
        let (zeros, rest) = rest.split_first_chunk::<4>().ok_or(FormatError::Foreign)?;
        let salt = rest.first_chunk::<32>().ok_or(FormatError::Foreign)?;
        if (magic, zeros) != (&MAGIC, &[0; 4]) {
            return Err(FormatError::Foreign);
        }
        Ok(Self { key: u32::from_be_bytes(*key), salt: *salt })
    }
}

/// Size of an object of `plain` bytes when it is encrypted.
pub(crate) fn sealed_size(plain: u64) -> u64 {
    HEADER + plain + TAG * chunks(plain)
}

/// Size of an object that has `sealed` bytes when encrypted; `None` when no object has.
pub(crate) fn plain_size(sealed: u64) -> Option<u64> {
    let body = sealed.checked_sub(HEADER)?;
    let plain = body.checked_sub(TAG * body.div_ceil(SEALED_CHUNK))?;
    (sealed_size(plain) == sealed).then_some(plain)
}

/// Where the chunks lie that have these bytes of an object of `size` plain bytes, and the number of the first of them.
pub(crate) fn sealed_range(range: &Range<u64>, size: u64) -> (Range<u64>, u64) {
    let first = (range.start / CHUNK).min(chunks(size) - 1);
    let end = range.end.div_ceil(CHUNK).clamp(first + 1, chunks(size));
    let start = HEADER + first * SEALED_CHUNK;
    (start..(HEADER + end * SEALED_CHUNK).min(sealed_size(size)), first)
}

fn chunks(plain: u64) -> u64 {
    plain.div_ceil(CHUNK).max(1)
}

/// Encrypts or decrypts one object.
pub(crate) struct Cipher {
    header: [u8; HEADER_BYTES],
    key: LessSafeKey,
}

struct KeyBytes;

impl KeyType for KeyBytes {
    fn len(&self) -> usize {
        32
    }
}

impl Cipher {
    /// The cipher of the object that lies at `name` of the bucket, below the store's prefix.
    pub(crate) fn new(data_key: &DataKey, header: Header, name: &str) -> Self {
        let derived = Salt::new(HKDF_SHA256, &header.salt).extract(&**data_key);
        let mut bytes = Zeroizing::new([0; 32]);
        let info = [CONTEXT, name.as_bytes()];
        let filled = derived.expand(&info, KeyBytes).and_then(|key| key.fill(&mut *bytes));
        filled.expect("because 32 bytes are not too many for HKDF");
        let key = UnboundKey::new(&AES_256_GCM, &*bytes).expect("because the key has 32 bytes");
        Self { header: header.encode(), key: LessSafeKey::new(key) }
    }

    /// Encrypts all that `from` has.
    pub(crate) fn seal(&self, from: &mut dyn Read, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(&self.header)?;
        let (mut chunk, mut next) = (Vec::new(), Vec::new());
        fill(from, &mut chunk)?;
        for number in 0.. {
            fill(from, &mut next)?;
            let sealed = self.key.seal_in_place_append_tag(nonce(number, next.is_empty()), self.aad(), &mut chunk);
            sealed.map_err(io::Error::other)?;
            to.write_all(&chunk)?;
            if next.is_empty() {
                break;
            }
            std::mem::swap(&mut chunk, &mut next);
        }
        Ok(())
    }

    /// Decrypts a chunk of an object of `size` plain bytes in place.
    pub(crate) fn open_chunk<'a>(&self, number: u64, size: u64, chunk: &'a mut [u8]) -> Result<&'a [u8], FormatError> {
        let is_last = number + 1 == chunks(size);
        let opened = self.key.open_in_place(nonce(number, is_last), self.aad(), chunk);
        opened.map(|plain| &*plain).map_err(|_| FormatError::Forged)
    }

    fn aad(&self) -> Aad<&[u8]> {
        Aad::from(&self.header[..])
    }
}

/// Plain bytes out of encrypted chunks that come in pieces of any size.
pub(crate) struct Opener {
    cipher: Cipher,
    size: u64,
    number: u64,
    /// Of the plain object, still to come.
    wanted: Range<u64>,
    buffer: Vec<u8>,
}

impl Opener {
    /// For the bytes `wanted` of an object of `size` plain bytes; what comes begins with the chunk that [`sealed_range`] names.
    pub(crate) fn new(cipher: Cipher, wanted: Range<u64>, size: u64) -> Self {
        let (_, number) = sealed_range(&wanted, size);
        Self { cipher, size, number, wanted, buffer: Vec::new() }
    }

    /// Takes a piece, and appends what is wanted of the chunks that it completes.
    pub(crate) fn push(&mut self, mut piece: &[u8], plain: &mut Vec<u8>) -> Result<(), FormatError> {
        while self.number < chunks(self.size) {
            let whole = self.chunk_bytes() + TAG_BYTES;
            let take = piece.len().min(whole - self.buffer.len());
            self.buffer.extend_from_slice(&piece[..take]);
            piece = &piece[take..];
            if self.buffer.len() < whole {
                return Ok(());
            }
            let opened = self.cipher.open_chunk(self.number, self.size, &mut self.buffer)?;
            let start = self.number * CHUNK;
            let within = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX).min(opened.len());
            plain.extend_from_slice(&opened[within(self.wanted.start)..within(self.wanted.end)]);
            self.buffer.clear();
            self.number += 1;
        }
        if piece.is_empty() { Ok(()) } else { Err(FormatError::Forged) }
    }

    /// Whether all that is wanted has come.
    pub(crate) fn is_done(&self) -> bool {
        self.number * CHUNK >= self.wanted.end && self.number > 0 && self.buffer.is_empty()
    }

    /// Plain bytes of the chunk that comes next.
    fn chunk_bytes(&self) -> usize {
        usize::try_from((self.size - self.number * CHUNK).min(CHUNK)).unwrap_or(CHUNK_BYTES)
    }
}

/// A number is used once for each key, since that is of one writing of one object.
fn nonce(number: u64, is_last: bool) -> Nonce {
    let mut bytes = [0; 12];
    bytes[3..11].copy_from_slice(&number.to_be_bytes());
    bytes[11] = u8::from(is_last);
    Nonce::assume_unique_for_key(bytes)
}

/// Fills a chunk as far as there is something to fill it with.
fn fill(from: &mut dyn Read, chunk: &mut Vec<u8>) -> io::Result<()> {
    chunk.clear();
    from.take(CHUNK).read_to_end(chunk).map(drop)
}

#[cfg(test)]
mod tests;
