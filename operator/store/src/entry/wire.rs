//! The protobuf form of an entry's header. Field numbers are for ever; new fields that a reader must not skip come with a name
//! in `required_features`.

use jiff::Timestamp;
use model::{ObjectFormat, ObjectId, RefName};

use super::bundle::WireChange;
use super::lock::WireLock;
use super::{
    Compaction as CompactionRecord, EntryError, LockRecord, PackRecord, Place, PushRecord, ReachRecord, UpkeepRecord,
    chunk_bytes,
};
use crate::state::upkeep::{Lease as LeaseRecord, Upload as UploadName};
use crate::state::{PackId, RefEdit};

/// The feature of entries that say something about maintenance: who skips it could name what is deleted.
const UPKEEP: &str = "upkeep";
/// The feature of what names reachability tables: who skips it would delete them as orphans.
pub(crate) const REACH: &str = "reach";
/// The feature of what says which Git LFS locks there are: who skips it would take a locked path for free.
pub(crate) const LOCKS: &str = "lfs-locks";
/// The feature of what names objects by SHA-256: earlier versions take such an id for a damaged one.
pub(crate) const SHA256: &str = "sha256";
/// The feature of what names a bundle: who skips it would not end it when its branch is rewound.
pub(crate) const BUNDLE: &str = "bundle";
/// What this version knows.
pub(super) const FEATURES: [&str; 5] = [UPKEEP, REACH, LOCKS, SHA256, BUNDLE];

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Entry {
    #[prost(string, repeated, tag = "1")]
    pub(super) required_features: Vec<String>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) previous: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) writer: Vec<u8>,
    #[prost(sint64, tag = "4")]
    pub(super) time_us: i64,
    #[prost(message, repeated, tag = "5")]
    pub(super) pushes: Vec<Push>,
    #[prost(message, optional, tag = "6")]
    pub(super) compaction: Option<Compaction>,
    #[prost(message, optional, tag = "7")]
    pub(super) upkeep: Option<Upkeep>,
    #[prost(message, repeated, tag = "8")]
    pub(super) locks: Vec<WireLock>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Push {
    #[prost(string, tag = "1")]
    actor: String,
    #[prost(string, tag = "2")]
    request_id: String,
    #[prost(bytes = "vec", repeated, tag = "3")]
    options: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "4")]
    edits: Vec<Edit>,
    #[prost(message, repeated, tag = "5")]
    packs: Vec<Pack>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    dropped: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "7")]
    default_branch: Vec<u8>,
    /// An annotation, which a reader may skip: no feature names it.
    #[prost(bytes = "vec", optional, tag = "8")]
    certificate: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Edit {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    old: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    new: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    peeled: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Pack {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    index_id: Vec<u8>,
    #[prost(uint64, tag = "3")]
    bytes: u64,
    #[prost(uint64, tag = "4")]
    index_bytes: u64,
    #[prost(uint64, tag = "5")]
    objects: u64,
    #[prost(bool, tag = "6")]
    exact: bool,
    #[prost(uint64, optional, tag = "7")]
    inlined_at: Option<u64>,
    #[prost(message, optional, tag = "8")]
    upload: Option<Upload>,
    #[prost(bytes = "vec", tag = "9")]
    chunks: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Upload {
    #[prost(uint64, tag = "1")]
    generation: u64,
    #[prost(bytes = "vec", tag = "2")]
    nonce: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Compaction {
    #[prost(message, repeated, tag = "1")]
    added: Vec<Pack>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    retired: Vec<Vec<u8>>,
    #[prost(uint64, optional, tag = "3")]
    pruned_through: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Upkeep {
    #[prost(message, optional, tag = "1")]
    lease: Option<Lease>,
    #[prost(uint64, tag = "2")]
    uploads_before: u64,
    #[prost(uint64, tag = "3")]
    truncated: u64,
    #[prost(message, repeated, tag = "4")]
    deleted: Vec<Upload>,
    #[prost(message, optional, tag = "5")]
    scrubbed: Option<Scrubbed>,
    #[prost(message, repeated, tag = "6")]
    reach: Vec<PackReach>,
    #[prost(message, optional, tag = "7")]
    bundle: Option<WireChange>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PackReach {
    #[prost(bytes = "vec", tag = "1")]
    pack: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    table: Option<Reach>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Reach {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    bytes: u64,
    #[prost(message, optional, tag = "3")]
    upload: Option<Upload>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Scrubbed {
    #[prost(string, repeated, tag = "1")]
    problems: Vec<String>,
    /// News that a reader may skip: no feature names it.
    #[prost(string, repeated, tag = "2")]
    mended: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Lease {
    #[prost(bytes = "vec", tag = "1")]
    holder: Vec<u8>,
    #[prost(uint64, tag = "2")]
    seconds: u64,
}

impl From<&super::Entry> for Entry {
    fn from(entry: &super::Entry) -> Self {
        let super::Entry { previous, writer, time, pushes, compaction, upkeep, locks } = entry;
        let prunes = compaction.as_ref().is_some_and(|compaction| compaction.pruned_through.is_some());
        let tables = upkeep.as_ref().is_some_and(|upkeep| !upkeep.reach.is_empty());
        let bundles = upkeep.as_ref().is_some_and(|upkeep| upkeep.bundle.is_some());
        let is_long = |id: ObjectId| id.kind() == ObjectFormat::Sha256;
        let mut edits = pushes.iter().flat_map(|push| &push.edits);
        let long = edits.any(|edit| edit.new.or(edit.old).is_some_and(is_long));
        let features = [
            (UPKEEP, prunes || upkeep.is_some()),
            (REACH, tables),
            (LOCKS, !locks.is_empty()),
            (SHA256, long),
            (BUNDLE, bundles),
        ];
        Self {
            required_features: features.iter().filter(|(_, used)| *used).map(|(name, _)| (*name).to_owned()).collect(),
            previous: previous.to_vec(),
            writer: writer.to_vec(),
            time_us: time.as_microsecond(),
            pushes: pushes.iter().map(Push::from).collect(),
            compaction: compaction.as_ref().map(Compaction::from),
            upkeep: upkeep.as_ref().map(Upkeep::from),
            locks: locks.iter().map(WireLock::from).collect(),
        }
    }
}

impl TryFrom<Entry> for super::Entry {
    type Error = EntryError;

    fn try_from(wire: Entry) -> Result<Self, EntryError> {
        Ok(Self {
            previous: array(wire.previous, "previous")?,
            writer: array(wire.writer, "writer")?,
            time: Timestamp::from_microsecond(wire.time_us).map_err(|error| EntryError::Header(error.to_string()))?,
            pushes: all(wire.pushes)?,
            compaction: wire.compaction.map(CompactionRecord::try_from).transpose()?,
            upkeep: wire.upkeep.map(UpkeepRecord::try_from).transpose()?,
            locks: all::<_, LockRecord>(wire.locks)?,
        })
    }
}

impl From<&PushRecord> for Push {
    fn from(push: &PushRecord) -> Self {
        let PushRecord { actor, request_id, options, certificate, edits, packs, dropped, default_branch } = push;
        Self {
            actor: actor.clone(),
            request_id: request_id.clone(),
            options: options.iter().map(|option| option.to_vec()).collect(),
            edits: edits.iter().map(Edit::from).collect(),
            packs: packs.iter().map(Pack::from).collect(),
            dropped: dropped.iter().map(|id| id.as_slice().to_vec()).collect(),
            default_branch: default_branch.as_ref().map(|name| name.as_bstr().to_vec()).unwrap_or_default(),
            certificate: certificate.as_ref().map(|certificate| certificate.to_vec()),
        }
    }
}

impl TryFrom<Push> for PushRecord {
    type Error = EntryError;

    fn try_from(wire: Push) -> Result<Self, EntryError> {
        let default_branch = if wire.default_branch.is_empty() { None } else { Some(ref_name(&wire.default_branch)?) };
        Ok(Self {
            actor: wire.actor,
            request_id: wire.request_id,
            options: wire.options.into_iter().map(Into::into).collect(),
            certificate: wire.certificate.map(Into::into),
            edits: all(wire.edits)?,
            packs: all(wire.packs)?,
            dropped: wire.dropped.iter().map(|id| object_id(id)).collect::<Result<_, _>>()?,
            default_branch,
        })
    }
}

impl From<&RefEdit> for Edit {
    fn from(edit: &RefEdit) -> Self {
        let RefEdit { name, old, new, peeled } = edit;
        Self { name: name.as_bstr().to_vec(), old: optional(*old), new: optional(*new), peeled: optional(*peeled) }
    }
}

impl TryFrom<Edit> for RefEdit {
    type Error = EntryError;

    fn try_from(wire: Edit) -> Result<Self, EntryError> {
        let Edit { name, old, new, peeled } = wire;
        Ok(Self {
            name: ref_name(&name)?,
            old: optional_id(&old)?,
            new: optional_id(&new)?,
            peeled: optional_id(&peeled)?,
        })
    }
}

impl From<&PackRecord> for Pack {
    fn from(pack: &PackRecord) -> Self {
        let PackRecord { id, index_id, bytes, index_bytes, objects, exact, place, chunks } = pack;
        let (upload, inlined_at) = match place {
            Place::Uploaded(upload) => (Some(Upload::from(upload)), None),
            Place::Inlined { offset } => (None, Some(*offset)),
        };
        Self {
            id: id.0.to_vec(),
            index_id: index_id.to_vec(),
            bytes: *bytes,
            index_bytes: *index_bytes,
            objects: *objects,
            exact: *exact,
            inlined_at,
            upload,
            chunks: chunks.concat(),
        }
    }
}

impl TryFrom<Pack> for PackRecord {
    type Error = EntryError;

    fn try_from(wire: Pack) -> Result<Self, EntryError> {
        let place = match (wire.inlined_at, wire.upload) {
            (Some(offset), None) => Place::Inlined { offset },
            (None, Some(upload)) => Place::Uploaded(upload.try_into()?),
            _ => return Err(EntryError::Header("a pack must be inlined or uploaded".to_owned())),
        };
        let (chunks, rest) = wire.chunks.as_chunks::<32>();
        if !rest.is_empty()
            || !(chunks.is_empty() || chunks.len() as u64 == wire.bytes.div_ceil(chunk_bytes(wire.bytes)))
        {
            return Err(EntryError::Header("the chunks of a pack are not as many as its size says".to_owned()));
        }
        Ok(Self {
            chunks: chunks.to_vec(),
            id: PackId(array(wire.id, "pack id")?),
            index_id: array(wire.index_id, "index id")?,
            bytes: wire.bytes,
            index_bytes: wire.index_bytes,
            objects: wire.objects,
            exact: wire.exact,
            place,
        })
    }
}

impl From<&CompactionRecord> for Compaction {
    fn from(compaction: &CompactionRecord) -> Self {
        let CompactionRecord { added, retired, pruned_through } = compaction;
        Self {
            added: added.iter().map(Pack::from).collect(),
            retired: retired.iter().map(|id| id.0.to_vec()).collect(),
            pruned_through: *pruned_through,
        }
    }
}

impl TryFrom<Compaction> for CompactionRecord {
    type Error = EntryError;

    fn try_from(wire: Compaction) -> Result<Self, EntryError> {
        let retired = wire.retired.into_iter().map(|id| array(id, "pack id").map(PackId)).collect::<Result<_, _>>()?;
        Ok(Self { added: all(wire.added)?, retired, pruned_through: wire.pruned_through })
    }
}

impl From<&UploadName> for Upload {
    fn from(upload: &UploadName) -> Self {
        let UploadName { generation, nonce } = upload;
        Self { generation: *generation, nonce: nonce.to_vec() }
    }
}

impl TryFrom<Upload> for UploadName {
    type Error = EntryError;

    fn try_from(wire: Upload) -> Result<Self, EntryError> {
        Ok(Self { generation: wire.generation, nonce: array(wire.nonce, "nonce of an upload")? })
    }
}

impl From<&LeaseRecord> for Lease {
    fn from(lease: &LeaseRecord) -> Self {
        let LeaseRecord { holder, seconds } = lease;
        Self { holder: holder.to_vec(), seconds: *seconds }
    }
}

impl TryFrom<Lease> for LeaseRecord {
    type Error = EntryError;

    fn try_from(wire: Lease) -> Result<Self, EntryError> {
        Ok(Self { holder: array(wire.holder, "holder of a lease")?, seconds: wire.seconds })
    }
}

impl From<&UpkeepRecord> for Upkeep {
    fn from(upkeep: &UpkeepRecord) -> Self {
        let UpkeepRecord { lease, uploads_before, truncated, deleted, scrubbed, mended, reach, bundle } = upkeep;
        let table =
            |(pack, table): &(PackId, ReachRecord)| PackReach { pack: pack.0.to_vec(), table: Some(table.into()) };
        Self {
            lease: lease.as_ref().map(Lease::from),
            uploads_before: *uploads_before,
            truncated: *truncated,
            deleted: deleted.iter().map(Upload::from).collect(),
            scrubbed: scrubbed.clone().map(|problems| Scrubbed { problems, mended: mended.clone() }),
            reach: reach.iter().map(table).collect(),
            bundle: bundle.as_ref().map(WireChange::from),
        }
    }
}

impl TryFrom<Upkeep> for UpkeepRecord {
    type Error = EntryError;

    fn try_from(wire: Upkeep) -> Result<Self, EntryError> {
        let (scrubbed, mended) = wire.scrubbed.map(|scrubbed| (scrubbed.problems, scrubbed.mended)).unzip();
        Ok(Self {
            lease: wire.lease.map(LeaseRecord::try_from).transpose()?,
            uploads_before: wire.uploads_before,
            truncated: wire.truncated,
            deleted: all(wire.deleted)?,
            scrubbed,
            mended: mended.unwrap_or_default(),
            reach: all(wire.reach)?,
            bundle: wire.bundle.map(TryInto::try_into).transpose()?,
        })
    }
}

impl TryFrom<PackReach> for (PackId, ReachRecord) {
    type Error = EntryError;

    fn try_from(wire: PackReach) -> Result<Self, EntryError> {
        let table = wire.table.ok_or_else(|| EntryError::Header("a reachability table without a record".to_owned()))?;
        Ok((PackId(array(wire.pack, "pack id")?), table.try_into()?))
    }
}

impl From<&ReachRecord> for Reach {
    fn from(record: &ReachRecord) -> Self {
        let ReachRecord { id, bytes, upload } = record;
        Self { id: id.to_vec(), bytes: *bytes, upload: Some(upload.into()) }
    }
}

impl TryFrom<Reach> for ReachRecord {
    type Error = EntryError;

    fn try_from(wire: Reach) -> Result<Self, EntryError> {
        let upload = wire.upload.ok_or_else(|| EntryError::Header("an upload without a name".to_owned()))?;
        Ok(Self { id: array(wire.id, "id of a reachability table")?, bytes: wire.bytes, upload: upload.try_into()? })
    }
}

fn all<W, T: TryFrom<W, Error = EntryError>>(wires: Vec<W>) -> Result<Vec<T>, EntryError> {
    wires.into_iter().map(T::try_from).collect()
}

pub(crate) fn array<const N: usize>(bytes: Vec<u8>, what: &str) -> Result<[u8; N], EntryError> {
    bytes.try_into().map_err(|_| EntryError::Header(format!("{what} has a wrong length")))
}

/// Empty for none.
pub(crate) fn optional(id: Option<ObjectId>) -> Vec<u8> {
    id.map(|id| id.as_slice().to_vec()).unwrap_or_default()
}

/// None when empty.
pub(crate) fn optional_id(bytes: &[u8]) -> Result<Option<ObjectId>, EntryError> {
    if bytes.is_empty() { Ok(None) } else { object_id(bytes).map(Some) }
}

pub(crate) fn object_id(bytes: &[u8]) -> Result<ObjectId, EntryError> {
    ObjectId::try_from(bytes).map_err(|_| EntryError::Header("an object id has a wrong length".to_owned()))
}

pub(crate) fn ref_name(bytes: &[u8]) -> Result<RefName, EntryError> {
    RefName::try_from(bytes).map_err(|error| EntryError::Header(error.to_string()))
}
