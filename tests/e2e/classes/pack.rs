//! Packs that no honest client makes: entries as they are said, compressed not at all.

use std::io::Write as _;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

pub(super) const COMMIT: u8 = 1;
pub(super) const TREE: u8 = 2;
pub(super) const BLOB: u8 = 3;

/// Entries one after the other.
pub(super) struct Pack {
    bytes: Vec<u8>,
    count: u32,
}

impl Pack {
    pub(super) fn new() -> Self {
        Self { bytes: b"PACK\0\0\0\x02\0\0\0\0".to_vec(), count: 0 }
    }

    /// A whole object; gives its name.
    pub(super) fn object(&mut self, kind: u8, data: &[u8]) -> [u8; 20] {
        self.entry(kind, data.len(), b"", &stored(data));
        let word = [b"commit".as_slice(), b"tree", b"blob"][usize::from(kind) - 1];
        sha1(&[word, b" ", data.len().to_string().as_bytes(), b"\0", data].concat())
    }

    /// A commit of a tree, which needs nothing but that; gives its name in hexadecimal.
    pub(super) fn commit(&mut self, tree: &[u8; 20]) -> String {
        let who = "A <a@example.com> 1700000000 +0000";
        let tree = hex(tree);
        let text = format!("tree {tree}\nauthor {who}\ncommitter {who}\n\nx\n");
        hex(&self.object(COMMIT, text.as_bytes()))
    }

    /// A delta on the entry that begins there; gives where it begins itself.
    pub(super) fn delta(&mut self, base: usize, delta: &[u8]) -> usize {
        let mut distance = self.bytes.len() - base;
        let mut place = vec![low(distance)];
        distance >>= 7;
        while distance > 0 {
            distance -= 1;
            place.insert(0, 128 | low(distance));
            distance >>= 7;
        }
        self.entry(6, delta.len(), &place, &stored(delta))
    }

    /// An entry with a compressed stream as it is.
    pub(super) fn entry(&mut self, kind: u8, size: usize, base: &[u8], stream: &[u8]) -> usize {
        let at = self.bytes.len();
        let (mut byte, mut rest) = (kind << 4 | (low(size) & 15), size >> 4);
        while rest > 0 {
            self.bytes.push(byte | 128);
            byte = low(rest);
            rest >>= 7;
        }
        self.bytes.push(byte);
        self.bytes.extend_from_slice(base);
        self.bytes.extend_from_slice(stream);
        self.count += 1;
        at
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let count = self.count;
        self.claiming(count)
    }

    /// Says that it holds this many objects.
    pub(super) fn claiming(mut self, count: u32) -> Vec<u8> {
        self.bytes[8..12].copy_from_slice(&count.to_be_bytes());
        let sum = sha1(&self.bytes);
        self.bytes.extend_from_slice(&sum);
        self.bytes
    }
}

/// An entry of a tree.
pub(super) fn tree_entry(mode: &str, name: &str, id: &[u8; 20]) -> Vec<u8> {
    [mode.as_bytes(), b" ", name.as_bytes(), b"\0", id].concat()
}

/// A number as deltas have it.
pub(super) fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 127 {
        bytes.push(128 | low(value));
        value >>= 7;
    }
    bytes.push(low(value));
    bytes
}

pub(super) fn hex(id: &[u8]) -> String {
    use std::fmt::Write as _;
    id.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn low(value: usize) -> u8 {
    u8::try_from(value & 127).expect("because seven bits fit")
}

fn sha1(bytes: &[u8]) -> [u8; 20] {
    let sum = digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes);
    sum.as_ref().try_into().expect("because SHA-1 has 20 bytes")
}

/// A zlib stream without compression.
fn stored(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(data).expect("because memory takes everything");
    encoder.finish().expect("because memory takes everything")
}
