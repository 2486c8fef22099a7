//! Bytes of a table: the header, where its parts are, and lists of codes. The parent module describes the format.

use gix::ObjectId;
use model::ObjectFormat;

/// What a table begins with; a version follows.
const MAGIC: &[u8; 7] = b"CKREACH";

/// The versions: which ids they have.
const VERSIONS: [(u8, ObjectFormat); 2] = [(1, ObjectFormat::Sha1), (2, ObjectFormat::Sha256)];

/// Bytes of the header beside the trailer of the pack.
const FIELDS: usize = 32;

/// Bytes of the longest header.
pub(super) const MAX_HEADER: usize = FIELDS + ObjectFormat::longest().len_in_bytes();

/// Bytes of a commit.
pub(super) const RECORD: usize = 28;

/// Bytes of a parent.
pub(super) const PARENT: usize = 4;

/// Bytes of a position with its commit.
pub(super) const PAIR: usize = 8;

/// The header of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Trailer of the pack.
    pub(super) pack: ObjectId,
    /// Objects of the pack.
    pub(super) objects: u32,
    /// Commits in the table.
    pub(super) commits: u32,
    /// Parents of all of them.
    pub(super) parents: u32,
    /// Ids of objects that are not in the pack.
    pub(super) foreign: u32,
    /// Bytes of the lists.
    pub(super) lists: u64,
}

impl Header {
    /// Reads a header from what a table begins with; `None` when it is none, or of another version.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.strip_prefix(MAGIC)?.split_first()?;
        let (_, format) = VERSIONS.iter().find(|(known, _)| known == version)?;
        let (pack, rest) = rest.split_at_checked(format.len_in_bytes())?;
        let field = |at: usize| u32_at(rest, at * 4);
        let header = Self {
            pack: ObjectId::try_from(pack).ok()?,
            objects: field(0)?,
            commits: field(1)?,
            parents: field(2)?,
            foreign: field(3)?,
            lists: u64_at(rest, 16)?,
        };
        header.objects.checked_add(header.foreign)?;
        Some(header)
    }

    /// The bytes of the header.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAX_HEADER);
        out.extend_from_slice(MAGIC);
        out.extend(VERSIONS.iter().filter(|(_, format)| *format == self.pack.kind()).map(|(version, _)| version));
        out.extend_from_slice(self.pack.as_slice());
        for field in [self.objects, self.commits, self.parents, self.foreign] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        out.extend_from_slice(&self.lists.to_be_bytes());
        out
    }

    /// Bytes of a foreign id.
    pub(super) fn id_bytes(&self) -> usize {
        self.pack.as_slice().len()
    }

    /// Where the foreign ids begin.
    pub(super) fn foreign_at(&self) -> usize {
        FIELDS + self.id_bytes()
    }

    /// Where the commits begin.
    pub(super) fn records_at(&self) -> usize {
        self.foreign_at() + self.foreign as usize * self.id_bytes()
    }

    /// Where the parents begin.
    pub(super) fn parents_at(&self) -> usize {
        self.records_at() + self.commits as usize * RECORD
    }

    /// Where the positions begin.
    pub(super) fn pairs_at(&self) -> usize {
        self.parents_at() + self.parents as usize * PARENT
    }

    /// Where the lists begin.
    pub(super) fn lists_at(&self) -> usize {
        self.pairs_at() + self.commits as usize * PAIR
    }

    /// The first code that does not exist.
    pub(super) fn codes(&self) -> u32 {
        self.objects.saturating_add(self.foreign)
    }
}

/// The number at an offset.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

/// The number at an offset.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

/// Appends how many codes there are and the codes, which are sorted and different.
pub(super) fn push_codes(codes: &[u32], out: &mut Vec<u8>) {
    // A list of more than 2³² codes cannot be of different ones.
    push_varint(u32::try_from(codes.len()).unwrap_or(u32::MAX), out);
    let mut before = 0;
    for code in codes {
        push_varint(code - before, out);
        before = *code;
    }
}

/// Takes what [`push_codes`] wrote off the front of `bytes`; `None` when it is something else, or a code is not below `codes`.
pub(super) fn take_codes(bytes: &mut &[u8], codes: u32, out: &mut Vec<u32>) -> Option<()> {
    out.clear();
    let count = take_varint(bytes)? as usize;
    // Each code has a byte at least: a count beyond that is a lie that must not cost memory.
    if count > bytes.len() {
        return None;
    }
    out.reserve(count);
    let mut code = 0_u32;
    for at in 0..count {
        let step = take_varint(bytes)?;
        code = code.checked_add(step).filter(|code| *code < codes && (at == 0 || step > 0))?;
        out.push(code);
    }
    Some(())
}

/// Appends a number, seven bits in a byte, least significant first.
fn push_varint(mut value: u32, out: &mut Vec<u8>) {
    while let (low, true) = (value.to_le_bytes()[0], value > 0x7f) {
        out.push(low | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Takes a number off the front.
fn take_varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0_u32;
    for shift in [0, 7, 14, 21, 28] {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u32::from(byte & 0x7f);
        if shift == 28 && bits > 0xf {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
