//! The command `ls-refs` of protocol version 2.

use gix::bstr::BString;
use model::ObjectId;

use crate::{odb, pktline, view::RepositoryView};

/// Prefixes that are looked at one by one; git itself gives up filtering beyond 65,536.
pub(crate) const MAX_PREFIXES: usize = 65_536;

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
/// When a tag cannot be read.
pub fn respond(request: &Request, view: &RepositoryView<'_>, out: &mut Vec<u8>) -> Result<(), odb::Error> {
    let prefixes = minimal(&request.prefixes);
    if prefixes.iter().any(|prefix| b"HEAD".starts_with(prefix)) {
        head(request, view, out);
    }
    if request.peel {
        peeled(&prefixes, view, out)?;
    } else {
        for prefix in &prefixes {
            view.visit(prefix, &mut |name, id| line(out, id, name.as_bstr(), None));
        }
    }
    out.extend_from_slice(pktline::FLUSH);
    Ok(())
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
fn head(request: &Request, view: &RepositoryView<'_>, out: &mut Vec<u8>) {
    let Some(name) = view.head else { return };
    match view.head_id() {
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

/// The lines of references with what they peel to.
fn peeled(prefixes: &[&[u8]], view: &RepositoryView<'_>, out: &mut Vec<u8>) -> Result<(), odb::Error> {
    let mut maybe_tags = Vec::new();
    for prefix in prefixes {
        view.visit(prefix, &mut |name, id| {
            if !name.is_branch() {
                maybe_tags.push(*id);
            }
        });
    }
    let mut peeled = view.peeled.peel_all(view.packs, &maybe_tags)?.into_iter();
    for prefix in prefixes {
        view.visit(prefix, &mut |name, id| {
            let target = if name.is_branch() { None } else { peeled.next().flatten() };
            let Some(target) = target else { return line(out, id, name.as_bstr(), None) };
            let (mut hex, mut target_hex) = ([0; 40], [0; 40]);
            let hex = id.hex_to_buf(&mut hex).as_bytes();
            let target_hex = target.hex_to_buf(&mut target_hex).as_bytes();
            pktline::push(out, &[hex, b" ", name.as_bstr(), b" peeled:", target_hex, b"\n"]);
        });
    }
    Ok(())
}

/// One line.
fn line(out: &mut Vec<u8>, id: &ObjectId, name: &[u8], target: Option<&[u8]>) {
    let mut hex = [0; 40];
    let hex = id.hex_to_buf(&mut hex).as_bytes();
    match target {
        Some(target) => pktline::push(out, &[hex, b" ", name, b" symref-target:", target, b"\n"]),
        None => pktline::push(out, &[hex, b" ", name, b"\n"]),
    }
}

#[cfg(test)]
mod tests;
