//! Writes packs that no honest client writes.

use std::io::Write as _;

use super::*;

/// Entries one after the other.
pub(super) struct Pack {
    pub(super) bytes: Vec<u8>,
    count: u32,
}

impl Pack {
    pub(super) fn new() -> Self {
        Self { bytes: b"PACK\0\0\0\x02\0\0\0\0".to_vec(), count: 0 }
    }

    pub(super) fn next_offset(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// An entry with a header that claims `size`.
    pub(super) fn entry(&mut self, type_id: u8, size: u64, base: &[u8], data: &[u8]) -> u64 {
        let at = self.next_offset();
        let mut rest = size >> 4;
        let mut byte = type_id << 4 | u8::try_from(size & 15).unwrap();
        while rest > 0 {
            self.bytes.push(byte | 128);
            byte = u8::try_from(rest & 127).unwrap();
            rest >>= 7;
        }
        self.bytes.push(byte);
        self.bytes.extend_from_slice(base);
        self.bytes.extend(stored(data));
        self.count += 1;
        at
    }

    pub(super) fn whole(&mut self, kind: Kind, data: &[u8]) -> ObjectId {
        let type_id = match kind {
            Kind::Commit => 1,
            Kind::Tree => 2,
            Kind::Blob => 3,
            Kind::Tag => 4,
        };
        self.entry(type_id, data.len() as u64, b"", data);
        name_of(kind, data)
    }

    pub(super) fn by_name(&mut self, base: &ObjectId, delta: &[u8]) {
        self.entry(7, delta.len() as u64, base.as_slice(), delta);
    }

    pub(super) fn by_offset(&mut self, base: u64, delta: &[u8]) -> u64 {
        let mut distance = self.next_offset() - base;
        let mut bytes = vec![u8::try_from(distance & 127).unwrap()];
        distance >>= 7;
        while distance > 0 {
            distance -= 1;
            bytes.insert(0, 128 | u8::try_from(distance & 127).unwrap());
            distance >>= 7;
        }
        self.entry(6, delta.len() as u64, &bytes, delta)
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let count = self.count;
        self.bytes[8..12].copy_from_slice(&count.to_be_bytes());
        sealed(self.bytes)
    }
}

/// Adds the checksum.
pub(super) fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut hasher = gix::hash::hasher(format());
    hasher.update(&bytes);
    bytes.extend_from_slice(hasher.try_finalize().unwrap().as_slice());
    bytes
}

pub(super) fn name_of(kind: Kind, data: &[u8]) -> ObjectId {
    gix::objs::compute_hash(format(), kind, data).unwrap()
}

/// A delta that copies nothing and inserts `text`.
pub(super) fn inserting(base_len: usize, text: &[u8]) -> Vec<u8> {
    let mut delta = varint(base_len as u64);
    delta.extend(varint(text.len() as u64));
    for part in text.chunks(127) {
        delta.push(u8::try_from(part.len()).unwrap());
        delta.extend_from_slice(part);
    }
    delta
}

pub(super) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 127 {
        bytes.push(128 | u8::try_from(value & 127).unwrap());
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

/// A zlib stream without compression.
pub(super) fn stored(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}
