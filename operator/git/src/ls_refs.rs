//! The command `ls-refs` of protocol version 2.

use std::io::{self, Write};

use gix::bstr::BString;
use model::{ObjectFormat, ObjectId, Reference};

use crate::{pktline, view::ReferencesView};

/// Prefixes that are looked at one by one; git itself gives up filtering beyond 65,536.
pub(crate) const MAX_PREFIXES: usize = 65_536;

/// Lines are written when there are this many bytes of them.
const CHUNK: usize = 16 << 10;

/// What a client asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Only names that start with one of these; none: all names.
    pub prefixes: Vec<BString>,
    /// Tell where symbolic references point.
    pub symrefs: bool,
    /// Tell what tags peel to.
    pub peel: bool,
    /// Tell where `HEAD` points even if that branch does not exist.
    pub unborn: bool,
}

/// Answers: one line for each reference, then a flush.
///
/// # Errors
/// When the client went away.
pub fn respond(request: &Request, refs: &ReferencesView<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut lines = Vec::with_capacity(2 * CHUNK);
    let prefixes = minimal(&request.prefixes);
    if prefixes.iter().any(|prefix| b"HEAD".starts_with(prefix)) {
        head(request, refs, &mut lines);
    }
    for prefix in &prefixes {
        for Reference { name, id, peeled } in refs.visible(prefix) {
            match peeled.filter(|_| request.peel) {
                Some(target) => tag_line(&mut lines, &id, name, &target),
                None => line(&mut lines, &id, name, None),
            }
            if lines.len() > CHUNK {
                out.write_all(&lines)?;
                lines.clear();
            }
        }
    }
    lines.extend_from_slice(pktline::FLUSH);
    out.write_all(&lines)
}

/// Sorted prefixes none of which starts with another, so that no reference is listed twice.
fn minimal(prefixes: &[BString]) -> Vec<&[u8]> {
    if prefixes.is_empty() || prefixes.len() > MAX_PREFIXES {
        return vec![b""];
    }
    let mut sorted: Vec<&[u8]> = prefixes.iter().map(|prefix| prefix.as_slice()).collect();
    sorted.sort_unstable();
    sorted.dedup_by(|next, kept| next.starts_with(kept));
    sorted
}

/// The line of `HEAD`.
fn head(request: &Request, refs: &ReferencesView<'_>, out: &mut Vec<u8>) {
    let Some(name) = refs.head else { return };
    match refs.head_id() {
        Some(id) => {
            let target = if request.symrefs { Some(name.as_bstr().as_ref()) } else { None };
            line(out, &id, b"HEAD", target);
        }
        None if request.unborn && request.symrefs => {
            pktline::push(out, &[b"unborn HEAD symref-target:", name.as_bstr(), b"\n"]);
        }
        None if request.unborn => pktline::push(out, &[b"unborn HEAD\n"]),
        None => {}
    }
}

/// One line.
fn line(out: &mut Vec<u8>, id: &ObjectId, name: &[u8], target: Option<&[u8]>) {
    let mut hex = ObjectFormat::hex_buf();
    let hex = id.hex_to_buf(&mut hex).as_bytes();
    match target {
        Some(target) => pktline::push(out, &[hex, b" ", name, b" symref-target:", target, b"\n"]),
        None => pktline::push(out, &[hex, b" ", name, b"\n"]),
    }
}

/// The line of an annotated tag with what it peels to.
fn tag_line(out: &mut Vec<u8>, id: &ObjectId, name: &[u8], target: &ObjectId) {
    let (mut hex, mut target_hex) = (ObjectFormat::hex_buf(), ObjectFormat::hex_buf());
    let hex = id.hex_to_buf(&mut hex).as_bytes();
    let target_hex = target.hex_to_buf(&mut target_hex).as_bytes();
    pktline::push(out, &[hex, b" ", name, b" peeled:", target_hex, b"\n"]);
}

#[cfg(test)]
mod tests;
