//! The header of one entry of a pack, as `gitformat-pack` describes it.

use gix::{ObjectId, objs::Kind};
use model::ObjectFormat;

/// What an entry says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A whole object.
    Whole(Kind),
    /// A delta against the entry this many bytes earlier.
    OfsDelta { distance: u64 },
    /// A delta against an object by name.
    RefDelta { base: ObjectId },
}

/// A parsed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) form: Form,
    /// Claimed size of the inflated data: of the delta itself if it is one.
    pub(super) size: u64,
    /// Bytes of the header.
    pub(super) len: usize,
}

/// Parses the header at the start of `bytes`; `None` when there are too few of them.
pub(super) fn parse(bytes: &[u8], format: ObjectFormat) -> Result<Option<Header>, &'static str> {
    let Some((size, type_id, mut len)) = parse_size(bytes)? else { return Ok(None) };
    let form = match type_id {
        1 => Form::Whole(Kind::Commit),
        2 => Form::Whole(Kind::Tree),
        3 => Form::Whole(Kind::Blob),
        4 => Form::Whole(Kind::Tag),
        6 => {
            let Some((distance, taken)) = parse_distance(&bytes[len..])? else { return Ok(None) };
            len += taken;
            Form::OfsDelta { distance }
        }
        7 => {
            let Some(name) = bytes.get(len..len + format.len_in_bytes()) else { return Ok(None) };
            len += format.len_in_bytes();
            let base = ObjectId::try_from(name).map_err(|_| "bad name of a delta base")?;
            Form::RefDelta { base }
        }
        _ => return Err("unknown type of an entry"),
    };
    Ok(Some(Header { form, size, len }))
}

fn parse_size(bytes: &[u8]) -> Result<Option<(u64, u8, usize)>, &'static str> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let mut size = u64::from(first & 15);
    let mut more = first & 128 != 0;
    let (mut shift, mut len) = (4_u32, 1);
    while more {
        let Some(&byte) = bytes.get(len) else { return Ok(None) };
        if shift > 57 {
            return Err("absurd size of an object");
        }
        size |= u64::from(byte & 127) << shift;
        more = byte & 128 != 0;
        shift += 7;
        len += 1;
    }
    Ok(Some((size, (first >> 4) & 7, len)))
}

fn parse_distance(bytes: &[u8]) -> Result<Option<(u64, usize)>, &'static str> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let mut distance = u64::from(first & 127);
    let mut more = first & 128 != 0;
    let mut len = 1;
    while more {
        let Some(&byte) = bytes.get(len) else { return Ok(None) };
        if distance >= 1 << 56 {
            return Err("absurd distance to a delta base");
        }
        distance = ((distance + 1) << 7) | u64::from(byte & 127);
        more = byte & 128 != 0;
        len += 1;
    }
    Ok(Some((distance, len)))
}
