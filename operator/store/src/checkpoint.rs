//! A checkpoint: the folded state after one entry, so that a cold server need not read the log from its start.
//!
//! It is derived data: a damaged or missing one costs time, never truth.

mod upkeep;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message as _;

use crate::digest::sha256;
use crate::entry::{EntryError, wire};
use crate::state::{Refs, Snapshot, StoredPack};

const MAGIC: [u8; 8] = *b"CKSTATE\x01";
const DIGEST: usize = 32;

#[derive(Clone, PartialEq, prost::Message)]
struct State {
    #[prost(string, repeated, tag = "1")]
    required_features: Vec<String>,
    #[prost(uint64, tag = "2")]
    generation: u64,
    #[prost(bytes = "vec", tag = "3")]
    digest: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    refs: Vec<Reference>,
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
}

#[derive(Clone, PartialEq, prost::Message)]
struct Reference {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Placed {
    #[prost(uint64, tag = "1")]
    generation: u64,
    #[prost(message, optional, tag = "2")]
    pack: Option<wire::Pack>,
}

/// The bytes of a checkpoint.
pub(crate) fn encode(snapshot: &Snapshot) -> Bytes {
    let Snapshot { generation, digest, refs, head, packs, upkeep, pushes, last_push } = snapshot;
    let reference = |(name, value): (&model::RefName, &model::ObjectId)| Reference {
        name: name.as_bstr().to_vec(),
        value: value.as_slice().to_vec(),
    };
    let placed = |pack: &StoredPack| Placed { generation: pack.generation, pack: Some(wire::Pack::from(&pack.record)) };
    let state = State {
        required_features: vec![],
        generation: *generation,
        digest: digest.to_vec(),
        refs: refs.iter().map(reference).collect(),
        head: head.as_ref().map(|name| name.as_bstr().to_vec()).unwrap_or_default(),
        packs: packs.iter().map(placed).collect(),
        pushes: *pushes,
        last_push_us: last_push.map(Timestamp::as_microsecond),
        upkeep: Some((&**upkeep).into()),
    };
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&state.encode_to_vec());
    let digest = sha256(&bytes);
    bytes.extend_from_slice(&digest);
    bytes.into()
}

/// Reads a checkpoint.
///
/// # Errors
/// When the bytes are damaged or written by a newer version.
pub(crate) fn decode(bytes: &[u8]) -> Result<Snapshot, EntryError> {
    let end =
        bytes.len().checked_sub(DIGEST).filter(|end| *end >= MAGIC.len()).ok_or(EntryError::Frame("too short"))?;
    if bytes[..MAGIC.len()] != MAGIC {
        return Err(EntryError::Frame("wrong magic"));
    }
    if bytes[end..] != sha256(&bytes[..end]) {
        return Err(EntryError::Checksum);
    }
    let state = State::decode(&bytes[MAGIC.len()..end]).map_err(|error| EntryError::Header(error.to_string()))?;
    if let Some(feature) = state.required_features.first() {
        return Err(EntryError::Feature(feature.clone()));
    }
    to_snapshot(state)
}

fn to_snapshot(state: State) -> Result<Snapshot, EntryError> {
    let mut refs = Refs::default();
    for Reference { name, value } in &state.refs {
        refs.set(&wire::ref_name(name)?, Some(wire::object_id(value)?));
    }
    let placed = |placed: Placed| {
        let pack = placed.pack.ok_or_else(|| EntryError::Header("a pack without a record".to_owned()))?;
        Ok(StoredPack { generation: placed.generation, record: pack.try_into()? })
    };
    let packs = state.packs.into_iter().map(placed).collect::<Result<Vec<_>, EntryError>>()?;
    let last_push = state.last_push_us.map(Timestamp::from_microsecond).transpose();
    Ok(Snapshot {
        generation: state.generation,
        digest: state.digest.try_into().map_err(|_| EntryError::Header("the digest has a wrong length".to_owned()))?,
        refs,
        head: if state.head.is_empty() { None } else { Some(wire::ref_name(&state.head)?) },
        packs: Arc::new(packs),
        upkeep: Arc::new(state.upkeep.unwrap_or_default().try_into()?),
        pushes: state.pushes,
        last_push: last_push.map_err(|error| EntryError::Header(error.to_string()))?,
    })
}
