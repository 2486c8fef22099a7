//! What an entry, or a checkpoint, says of the bundle of a repository (ADR 0020).

use model::{ObjectId, RefName};

use super::EntryError;
use super::wire::{Upload as WireUpload, object_id, ref_name};
use crate::state::upkeep::Upload;

/// A bundle: what a branch led to, in one object that clients read from the bucket themselves. It follows from the packs, so one that is
/// damaged or lost costs time and no truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleRecord {
    /// Where it is. Younger bundles have higher generations.
    pub upload: Upload,
    /// Its size.
    pub bytes: u64,
    /// The branch.
    pub branch: RefName,
    /// What the branch pointed to.
    pub tip: ObjectId,
    /// Bytes of all packs when it was made, to tell how much has come since.
    pub stored: u64,
}

/// What became of the bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleChange {
    /// This one takes the place of the one before, if there was one.
    Made(BundleRecord),
    /// There is none any more.
    Withdrawn,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireChange {
    /// Absent: it was withdrawn.
    #[prost(message, optional, tag = "1")]
    made: Option<WireBundle>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WireBundle {
    #[prost(message, optional, tag = "1")]
    upload: Option<WireUpload>,
    #[prost(uint64, tag = "2")]
    bytes: u64,
    #[prost(bytes = "vec", tag = "3")]
    branch: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    tip: Vec<u8>,
    #[prost(uint64, tag = "5")]
    stored: u64,
}

impl From<&BundleChange> for WireChange {
    fn from(change: &BundleChange) -> Self {
        match change {
            BundleChange::Made(record) => Self { made: Some(record.into()) },
            BundleChange::Withdrawn => Self { made: None },
        }
    }
}

impl TryFrom<WireChange> for BundleChange {
    type Error = EntryError;

    fn try_from(wire: WireChange) -> Result<Self, EntryError> {
        wire.made.map_or(Ok(Self::Withdrawn), |made| made.try_into().map(Self::Made))
    }
}

impl From<&BundleRecord> for WireBundle {
    fn from(record: &BundleRecord) -> Self {
        let BundleRecord { upload, bytes, branch, tip, stored } = record;
        Self {
            upload: Some(upload.into()),
            bytes: *bytes,
            branch: branch.as_bstr().to_vec(),
            tip: tip.as_slice().to_vec(),
            stored: *stored,
        }
    }
}

impl TryFrom<WireBundle> for BundleRecord {
    type Error = EntryError;

    fn try_from(wire: WireBundle) -> Result<Self, EntryError> {
        let upload = wire.upload.ok_or_else(|| EntryError::Header("an upload without a name".to_owned()))?;
        Ok(Self {
            upload: upload.try_into()?,
            bytes: wire.bytes,
            branch: ref_name(&wire.branch)?,
            tip: object_id(&wire.tip)?,
            stored: wire.stored,
        })
    }
}
