//! What a checkpoint says about maintenance.

use jiff::Timestamp;

use crate::entry::bundle::WireBundle;
use crate::entry::{EntryError, wire};
use crate::state::upkeep::{DroppedTips, RetiredUpload, Scrub, Upkeep};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct State {
    #[prost(message, optional, tag = "1")]
    lease: Option<wire::Lease>,
    #[prost(uint64, tag = "2")]
    lease_generation: u64,
    #[prost(uint64, tag = "3")]
    uploads_before: u64,
    #[prost(uint64, tag = "4")]
    pruned_at: u64,
    #[prost(message, repeated, tag = "5")]
    retired: Vec<Retired>,
    #[prost(uint64, tag = "6")]
    truncated: u64,
    #[prost(sint64, optional, tag = "7")]
    junk_since_us: Option<i64>,
    #[prost(message, repeated, tag = "8")]
    dropped: Vec<Dropped>,
    #[prost(uint64, tag = "9")]
    forgotten: u64,
    #[prost(message, optional, tag = "10")]
    scrub: Option<Scrubbed>,
    #[prost(sint64, optional, tag = "11")]
    begun_us: Option<i64>,
    #[prost(message, optional, tag = "12")]
    bundle: Option<WireBundle>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Scrubbed {
    #[prost(sint64, tag = "1")]
    at_us: i64,
    #[prost(string, repeated, tag = "2")]
    problems: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    mended: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Retired {
    #[prost(message, optional, tag = "1")]
    upload: Option<wire::Upload>,
    #[prost(uint64, tag = "2")]
    bytes: u64,
    #[prost(sint64, tag = "3")]
    at_us: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Dropped {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    generation: u64,
    #[prost(sint64, tag = "3")]
    at_us: i64,
}

impl From<&Upkeep> for State {
    fn from(upkeep: &Upkeep) -> Self {
        let Upkeep { lease, uploads_before, pruned_at, retired, truncated, junk_since, begun, scrub, dropped, bundle } =
            upkeep;
        let retired = retired.iter().map(|RetiredUpload { upload, bytes, at }| Retired {
            upload: Some(upload.into()),
            bytes: *bytes,
            at_us: at.as_microsecond(),
        });
        let tips = dropped.iter().map(|(id, generation, at)| Dropped {
            id: id.as_slice().to_vec(),
            generation,
            at_us: at.as_microsecond(),
        });
        Self {
            lease: lease.as_ref().map(|(_, lease)| lease.into()),
            lease_generation: lease.map_or(0, |(generation, _)| generation),
            uploads_before: *uploads_before,
            pruned_at: *pruned_at,
            retired: retired.collect(),
            truncated: *truncated,
            junk_since_us: junk_since.map(Timestamp::as_microsecond),
            dropped: tips.collect(),
            forgotten: dropped.forgotten,
            begun_us: begun.map(Timestamp::as_microsecond),
            bundle: bundle.as_ref().map(WireBundle::from),
            scrub: scrub.clone().map(|Scrub { at, problems, mended }| Scrubbed {
                at_us: at.as_microsecond(),
                problems,
                mended,
            }),
        }
    }
}

impl TryFrom<State> for Upkeep {
    type Error = EntryError;

    fn try_from(state: State) -> Result<Self, EntryError> {
        let retired = |retired: Retired| {
            let upload = retired.upload.ok_or_else(|| EntryError::Header("an upload without a name".to_owned()))?;
            Ok(RetiredUpload { upload: upload.try_into()?, bytes: retired.bytes, at: time(retired.at_us)? })
        };
        let dropped = |dropped: Dropped| Ok((wire::object_id(&dropped.id)?, dropped.generation, time(dropped.at_us)?));
        let tips = state.dropped.into_iter().map(dropped).collect::<Result<Vec<_>, EntryError>>()?;
        let lease = state.lease.map(|lease| Ok::<_, EntryError>((state.lease_generation, lease.try_into()?)));
        let scrub =
            state.scrub.map(|Scrubbed { at_us, problems, mended }| Ok(Scrub { at: time(at_us)?, problems, mended }));
        Ok(Self {
            lease: lease.transpose()?,
            uploads_before: state.uploads_before,
            pruned_at: state.pruned_at,
            retired: state.retired.into_iter().map(retired).collect::<Result<_, EntryError>>()?,
            truncated: state.truncated,
            junk_since: state.junk_since_us.map(time).transpose()?,
            begun: state.begun_us.map(time).transpose()?,
            scrub: scrub.transpose()?,
            dropped: DroppedTips::new(tips, state.forgotten),
            bundle: state.bundle.map(TryInto::try_into).transpose()?,
        })
    }
}

fn time(us: i64) -> Result<Timestamp, EntryError> {
    Timestamp::from_microsecond(us).map_err(|error| EntryError::Header(error.to_string()))
}
