//! The bytes of a log entry (ADR 0001), and of the stub that takes its place in the end (ADR 0008).
//!
//! ```text
//! "CKLOG\0\0\1"  u32 length  header (protobuf)  payload: inlined packs and their indices  SHA-256 of all before
//! "CKSTUB\0\1"  writer token (16)  digest of the entry (32)  SHA-256 of all before
//! ```
//!
//! A reader refuses a header that names a feature it does not know: skipping what it does not understand could lose data.

pub(crate) mod bundle;
mod lock;
pub(crate) mod wire;

use bytes::Bytes;
use gix::bstr::BString;
use jiff::Timestamp;
use model::{ObjectId, RefName};
use prost::Message as _;

use crate::digest::sha256;
use crate::state::upkeep::{Lease, Upload};
use crate::state::{PackId, RefEdit};
pub use bundle::{BundleChange, BundleRecord};
pub(crate) use lock::lock_path;
pub use lock::{LockChange, LockRecord};

const MAGIC: [u8; 8] = *b"CKLOG\0\0\x01";
const STUB_MAGIC: [u8; 8] = *b"CKSTUB\0\x01";
const FRAME: usize = MAGIC.len() + 4;
const DIGEST: usize = 32;

/// What one number of the log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// SHA-256 of the entry before; zeros for the first.
    pub previous: [u8; 32],
    /// Random token of the writer: tells one's own entry from another's.
    pub writer: [u8; 16],
    /// When it was written.
    pub time: Timestamp,
    /// The pushes that it commits, in order.
    pub pushes: Vec<PushRecord>,
    /// A replacement of packs by an equivalent one.
    pub compaction: Option<Compaction>,
    /// What maintenance has to say.
    pub upkeep: Option<UpkeepRecord>,
    /// Changes of Git LFS locks, in order.
    pub locks: Vec<LockRecord>,
}

/// A push, as the log remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushRecord {
    /// Who pushed.
    pub actor: String,
    /// The request that did.
    pub request_id: String,
    /// Push options.
    pub options: Vec<BString>,
    /// What the client has signed, as it was sent (ADR 0014).
    pub certificate: Option<BString>,
    /// Changes of references.
    pub edits: Vec<RefEdit>,
    /// Packs that came with it.
    pub packs: Vec<PackRecord>,
    /// Old values that the new ones do not descend from.
    pub dropped: Vec<ObjectId>,
    /// The branch that this push made the default.
    pub default_branch: Option<RefName>,
}

/// A replacement of packs by one that holds the same objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compaction {
    /// The new packs.
    pub added: Vec<PackRecord>,
    /// The packs that they replace.
    pub retired: Vec<PackId>,
    /// The new packs do not hold what was unreachable: tips that were dropped up to this generation, and what only they led to.
    pub pruned_through: Option<u64>,
}

/// What maintenance tells everybody; see [`crate::Upkeep`] for what comes of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpkeepRecord {
    /// Who does maintenance from now on.
    pub lease: Option<Lease>,
    /// From now on no entry names an upload that began before this generation; 0: as before.
    pub uploads_before: u64,
    /// Entries up to this one are stubs now; 0: as before.
    pub truncated: u64,
    /// Retired uploads whose objects are deleted.
    pub deleted: Vec<Upload>,
    /// Everything that the bucket holds of the repository was read and verified: one line for each problem.
    pub scrubbed: Option<Vec<String>>,
    /// What that found in one store and wrote anew from another one (ADR 0021): one line for each object.
    pub mended: Vec<String>,
    /// Packs that have a reachability table from now on.
    pub reach: Vec<(PackId, ReachRecord)>,
    /// What became of the bundle; none: as before.
    pub bundle: Option<BundleChange>,
}

/// The reachability table of a pack (ADR 0011). It follows from the pack, so one that is damaged or lost costs time and no truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReachRecord {
    /// SHA-256 of the table.
    pub id: [u8; 32],
    /// Size of the table.
    pub bytes: u64,
    /// Where it is.
    pub upload: Upload,
}

/// A pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackRecord {
    /// SHA-256 of the pack.
    pub id: PackId,
    /// SHA-256 of its index.
    pub index_id: [u8; 32],
    /// Size of the pack.
    pub bytes: u64,
    /// Size of the index.
    pub index_bytes: u64,
    /// Objects in it.
    pub objects: u64,
    /// Whether every object was reachable from what was pushed with it.
    pub exact: bool,
    /// Where its bytes are.
    pub place: Place,
    /// SHA-256 of each chunk of the pack, so that it can be used while it is being downloaded; none when it is a single chunk.
    pub chunks: Vec<[u8; 32]>,
}

impl PackRecord {
    /// Bytes of each chunk but the last, which is shorter.
    pub(crate) fn chunk_bytes(&self) -> u64 {
        chunk_bytes(self.bytes)
    }
}

/// Bytes of a chunk of a pack of this size: part of the format. There are at most 128, so that a record stays small.
pub(crate) fn chunk_bytes(pack: u64) -> u64 {
    pack.div_ceil(MAX_CHUNKS).next_multiple_of(1 << 20).max(MIN_CHUNK_BYTES)
}

const MAX_CHUNKS: u64 = 128;
const MIN_CHUNK_BYTES: u64 = 8 << 20;

/// Where the bytes of a pack are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Objects of their own.
    Uploaded(Upload),
    /// In the payload of the entry, the index right after the pack.
    Inlined {
        /// Offset of the pack in the payload.
        offset: u64,
    },
}

/// Why bytes are not an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Too short, wrong magic or wrong lengths.
    #[error("not a log entry: {0}")]
    Frame(&'static str),
    /// The checksum does not match.
    #[error("the checksum of the entry does not match: its bytes have changed")]
    Checksum,
    /// A field holds what it must not.
    #[error("the header of the entry is malformed: {0}")]
    Header(String),
    /// Written by a newer version.
    #[error("the entry needs '{0}', which this version does not know: upgrade codekeep")]
    Feature(String),
}

/// An entry that was read, with its payload and digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The entry.
    pub entry: Entry,
    /// Its inlined packs.
    pub payload: Bytes,
    /// Its SHA-256.
    pub digest: [u8; 32],
}

/// What is left of an entry that nobody needs to read any more: enough to tell whose it was, and what it hashed to.
///
/// The number stays taken for ever, so that a writer who slept for a year cannot create it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stub {
    /// The writer token of the entry.
    pub writer: [u8; 16],
    /// The entry's digest, which the next one names.
    pub digest: [u8; 32],
}

/// What stands at a number of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Numbered {
    /// An entry.
    Entry(Box<Decoded>),
    /// What is left of one: a checkpoint tells the state.
    Stub(Stub),
}

impl Numbered {
    /// Reads whatever stands at a number; any byte that changed is noticed.
    ///
    /// # Errors
    /// When the bytes are neither an entry that this version understands nor a stub.
    pub fn decode(bytes: &Bytes) -> Result<Self, EntryError> {
        if bytes.starts_with(&STUB_MAGIC) {
            Stub::decode(bytes).map(Self::Stub)
        } else {
            Entry::decode(bytes).map(|decoded| Self::Entry(Box::new(decoded)))
        }
    }
}

impl Stub {
    /// Size of every stub.
    pub(crate) const BYTES: usize = STUB_MAGIC.len() + 16 + 2 * DIGEST;

    /// What is to be left of an entry.
    #[must_use]
    pub fn of(decoded: &Decoded) -> Self {
        Self { writer: decoded.entry.writer, digest: decoded.digest }
    }

    /// The bytes of the stub.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = STUB_MAGIC.to_vec();
        bytes.extend_from_slice(&self.writer);
        bytes.extend_from_slice(&self.digest);
        let checksum = sha256(&bytes);
        bytes.extend_from_slice(&checksum);
        bytes.into()
    }

    fn decode(bytes: &Bytes) -> Result<Self, EntryError> {
        let (body, checksum) =
            bytes.split_at_checked(MAGIC.len() + 16 + DIGEST).ok_or(EntryError::Frame("too short"))?;
        if checksum != sha256(body) {
            return Err(EntryError::Checksum);
        }
        let (writer, digest) = body[MAGIC.len()..].split_at(16);
        match (writer.try_into(), digest.try_into()) {
            (Ok(writer), Ok(digest)) => Ok(Self { writer, digest }),
            _ => Err(EntryError::Frame("wrong length")),
        }
    }
}

impl Entry {
    /// The bytes of the entry with its payload, and their digest.
    ///
    /// # Panics
    /// When the edits alone take 4 GiB; groups are bounded far below.
    #[must_use]
    pub fn encode(&self, payload: &[u8]) -> (Bytes, [u8; 32]) {
        let header = wire::Entry::from(self).encode_to_vec();
        let mut bytes = Vec::with_capacity(FRAME + header.len() + payload.len() + DIGEST);
        bytes.extend_from_slice(&MAGIC);
        let length = u32::try_from(header.len()).expect("because the number of edits in an entry is limited");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(payload);
        let digest = sha256(&bytes);
        bytes.extend_from_slice(&digest);
        (bytes.into(), digest)
    }

    /// Reads an entry; any byte that changed is noticed.
    ///
    /// # Errors
    /// When the bytes are not those of an entry that this version understands.
    pub fn decode(bytes: &Bytes) -> Result<Decoded, EntryError> {
        let end = bytes.len().checked_sub(DIGEST).filter(|end| *end >= FRAME).ok_or(EntryError::Frame("too short"))?;
        if bytes[..MAGIC.len()] != MAGIC {
            return Err(EntryError::Frame("wrong magic"));
        }
        let digest = sha256(&bytes[..end]);
        if bytes[end..] != digest {
            return Err(EntryError::Checksum);
        }
        let length = bytes[MAGIC.len()..FRAME].iter().fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
        let header_end = FRAME.checked_add(length).filter(|at| *at <= end).ok_or(EntryError::Frame("wrong length"))?;
        let header =
            wire::Entry::decode(&bytes[FRAME..header_end]).map_err(|error| EntryError::Header(error.to_string()))?;
        if let Some(feature) =
            header.required_features.iter().find(|feature| !wire::FEATURES.contains(&feature.as_str()))
        {
            return Err(EntryError::Feature(feature.clone()));
        }
        let payload = bytes.slice(header_end..end);
        let entry = Self::try_from(header)?;
        entry.check_inlined(payload.len() as u64)?;
        Ok(Decoded { entry, payload, digest })
    }

    /// Invariant: every inlined pack lies inside the payload.
    fn check_inlined(&self, payload: u64) -> Result<(), EntryError> {
        let records =
            self.pushes.iter().flat_map(|push| &push.packs).chain(self.compaction.iter().flat_map(|c| &c.added));
        for record in records {
            if let Place::Inlined { offset } = record.place {
                let end = offset.checked_add(record.bytes).and_then(|end| end.checked_add(record.index_bytes));
                if end.is_none_or(|end| end > payload) {
                    return Err(EntryError::Header("a pack lies outside the payload".to_owned()));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
