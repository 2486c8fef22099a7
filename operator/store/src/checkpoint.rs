//! A checkpoint: the folded state after one entry, so that a cold server need not read the log from its start.
//!
//! It comes in two layers. The references of a large repository are mostly those of its *base*, a table of its own in the bucket,
//! written seldom; the checkpoint itself names the base and holds what is different, with everything else that the state has. It
//! stays small, so it can be written often.
//!
//! It is derived data: a damaged or missing one costs time, never truth.

mod locks;
mod upkeep;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use model::{ObjectFormat, RefName, RefValue, RepositoryId};

use crate::digest::sha256;
use crate::entry::{EntryError, ReachRecord, wire};
use crate::refs::{Base, BaseName, Refs};
use crate::state::{Snapshot, StoredPack};

const MAGIC: [u8; 8] = *b"CKSTATE\x02";
const DIGEST: usize = 32;

#[derive(Clone, PartialEq, prost::Message)]
struct State {
    #[prost(string, repeated, tag = "1")]
    required_features: Vec<String>,
    #[prost(uint64, tag = "2")]
    generation: u64,
    #[prost(bytes = "vec", tag = "3")]
    digest: Vec<u8>,
    /// What is different from the base; without one, all references.
    #[prost(message, repeated, tag = "4")]
    changes: Vec<Change>,
    #[prost(bytes = "vec", tag = "5")]
    head: Vec<u8>,
    #[prost(message, repeated, tag = "6")]
    packs: Vec<Placed>,
    #[prost(uint64, tag = "9")]
    pushes: u64,
    #[prost(sint64, optional, tag = "10")]
    last_push_us: Option<i64>,
    #[prost(message, optional, tag = "11")]
    upkeep: Option<upkeep::State>,
    /// Whose it is: one that was copied to another repository is not believed.
    #[prost(string, tag = "12")]
    repository: String,
    #[prost(message, optional, tag = "13")]
    base: Option<WireBase>,
    #[prost(message, repeated, tag = "14")]
    locks: Vec<locks::Held>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Change {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    /// Empty: the reference of the base is gone.
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    peeled: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WireBase {
    #[prost(uint64, tag = "1")]
    generation: u64,
    #[prost(bytes = "vec", tag = "2")]
    digest: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Placed {
    #[prost(uint64, tag = "1")]
    generation: u64,
    #[prost(message, optional, tag = "2")]
    pack: Option<wire::Pack>,
    #[prost(message, optional, tag = "3")]
    reach: Option<wire::Reach>,
}

/// A checkpoint that was read: the state but for the references of its base.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// The base that it needs.
    pub(crate) base: Option<BaseName>,
    changes: Vec<(RefName, Option<RefValue>)>,
    /// The state without references.
    rest: Snapshot,
}

impl Layer {
    /// The number of the entry after which it is the state.
    pub(crate) fn generation(&self) -> u64 {
        self.rest.generation
    }

    /// The state; `None` when this is not the base that it needs.
    pub(crate) fn on(self, base: Option<Base>) -> Option<Snapshot> {
        if self.base != base.as_ref().map(Base::name) {
            return None;
        }
        Some(Snapshot { refs: Refs::layered(base, self.changes), ..self.rest })
    }
}

/// The bytes of a checkpoint.
pub(crate) fn encode(id: &RepositoryId, snapshot: &Snapshot) -> Bytes {
    let Snapshot { generation, digest, object_format, refs, head, packs, upkeep, pushes, last_push, locks } = snapshot;
    let change = |(name, value): (&RefName, Option<RefValue>)| Change {
        name: name.as_bstr().to_vec(),
        value: wire::optional(value.map(|value| value.id)),
        peeled: wire::optional(value.and_then(|value| value.peeled)),
    };
    let placed = |StoredPack { generation, record, reach }: &StoredPack| Placed {
        generation: *generation,
        pack: Some(record.into()),
        reach: reach.as_ref().map(wire::Reach::from),
    };
    let has_tables = packs.iter().any(|pack| pack.reach.is_some());
    let (long, has_bundle) = (*object_format == Some(ObjectFormat::Sha256), upkeep.bundle.is_some());
    let features =
        [(wire::REACH, has_tables), (wire::LOCKS, !locks.is_empty()), (wire::SHA256, long), (wire::BUNDLE, has_bundle)];
    let state = State {
        required_features: features.iter().filter(|(_, used)| *used).map(|(name, _)| (*name).to_owned()).collect(),
        generation: *generation,
        digest: digest.to_vec(),
        changes: refs.changes().map(change).collect(),
        head: head.as_ref().map(|name| name.as_bstr().to_vec()).unwrap_or_default(),
        packs: packs.iter().map(placed).collect(),
        pushes: *pushes,
        last_push_us: last_push.map(Timestamp::as_microsecond),
        upkeep: Some((&**upkeep).into()),
        repository: id.to_string(),
        base: refs.base().map(|base| WireBase::from(&base.name())),
        locks: locks.iter().map(locks::Held::from).collect(),
    };
    seal(MAGIC, &state)
}

/// Reads a checkpoint.
///
/// # Errors
/// When the bytes are damaged, written by a newer version, or another repository's.
pub(crate) fn decode(bytes: &[u8], id: &RepositoryId) -> Result<Layer, EntryError> {
    let state: State = unseal(MAGIC, bytes)?;
    let known = [wire::REACH, wire::LOCKS, wire::SHA256, wire::BUNDLE];
    let is_unknown = |feature: &&String| !known.contains(&feature.as_str());
    if let Some(feature) = state.required_features.iter().find(is_unknown) {
        return Err(EntryError::Feature(feature.clone()));
    }
    if state.repository != id.as_str() {
        return Err(EntryError::Header("it is another repository's".to_owned()));
    }
    to_layer(state)
}

fn to_layer(state: State) -> Result<Layer, EntryError> {
    let change = |Change { name, value, peeled }: Change| {
        let (id, peeled) = (wire::optional_id(&value)?, wire::optional_id(&peeled)?);
        Ok((wire::ref_name(&name)?, id.map(|id| RefValue { id, peeled })))
    };
    let placed = |placed: Placed| {
        let pack = placed.pack.ok_or_else(|| EntryError::Header("a pack without a record".to_owned()))?;
        let reach = placed.reach.map(ReachRecord::try_from).transpose()?;
        Ok(StoredPack { generation: placed.generation, record: pack.try_into()?, reach })
    };
    let packs = state.packs.into_iter().map(placed).collect::<Result<Vec<_>, EntryError>>()?;
    let object_format = object_format(&state.required_features, state.pushes);
    let last_push = state.last_push_us.map(Timestamp::from_microsecond).transpose();
    let rest = Snapshot {
        generation: state.generation,
        digest: state.digest.try_into().map_err(|_| EntryError::Header("the digest has a wrong length".to_owned()))?,
        object_format,
        refs: Refs::default(),
        head: if state.head.is_empty() { None } else { Some(wire::ref_name(&state.head)?) },
        packs: Arc::new(packs),
        upkeep: Arc::new(state.upkeep.unwrap_or_default().try_into()?),
        pushes: state.pushes,
        last_push: last_push.map_err(|error| EntryError::Header(error.to_string()))?,
        locks: Arc::new(locks::collect(state.locks)?),
    };
    Ok(Layer {
        base: state.base.map(BaseName::try_from).transpose()?,
        changes: state.changes.into_iter().map(change).collect::<Result<_, EntryError>>()?,
        rest,
    })
}

/// What names objects: a feature where that is SHA-256, nothing where it is SHA-1, or where there is none yet.
fn object_format(features: &[String], pushes: u64) -> Option<ObjectFormat> {
    let long = features.iter().any(|feature| feature == wire::SHA256);
    let short = (pushes > 0).then_some(ObjectFormat::Sha1);
    if long { Some(ObjectFormat::Sha256) } else { short }
}

impl From<&BaseName> for WireBase {
    fn from(base: &BaseName) -> Self {
        Self { generation: base.generation, digest: base.digest.to_vec() }
    }
}

impl TryFrom<WireBase> for BaseName {
    type Error = EntryError;

    fn try_from(wire: WireBase) -> Result<Self, EntryError> {
        let digest = wire.digest.try_into();
        let digest = digest.map_err(|_| EntryError::Header("the base's digest has a wrong length".to_owned()))?;
        Ok(Self { generation: wire.generation, digest })
    }
}

/// A message between its magic and a checksum.
pub(crate) fn seal(magic: [u8; 8], message: &impl prost::Message) -> Bytes {
    let mut bytes = Vec::with_capacity(magic.len() + message.encoded_len() + DIGEST);
    bytes.extend_from_slice(&magic);
    bytes.extend_from_slice(&message.encode_to_vec());
    let digest = sha256(&bytes);
    bytes.extend_from_slice(&digest);
    bytes.into()
}

/// Reads what [`seal`] made; any byte that changed is noticed.
pub(crate) fn unseal<M: prost::Message + Default>(magic: [u8; 8], bytes: &[u8]) -> Result<M, EntryError> {
    let end =
        bytes.len().checked_sub(DIGEST).filter(|end| *end >= magic.len()).ok_or(EntryError::Frame("too short"))?;
    if bytes[..magic.len()] != magic {
        return Err(EntryError::Frame("wrong magic"));
    }
    if bytes[end..] != sha256(&bytes[..end]) {
        return Err(EntryError::Checksum);
    }
    M::decode(&bytes[magic.len()..end]).map_err(|error| EntryError::Header(error.to_string()))
}

#[cfg(test)]
mod tests;
