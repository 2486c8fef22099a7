//! The command `object-info` of protocol version 2: sizes of objects, without the objects.

use std::io::Write;

use gix::{ObjectId, hashtable::HashSet};

use super::{Error, visible};
use crate::{odb::ReadCache, pktline, view::RepositoryView};

/// What a client asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Sizes are asked for: nothing else can be.
    pub size: bool,
    /// Of these objects.
    pub ids: Vec<ObjectId>,
}

/// Answers: a line that says what is told, and one for each object; what is not visible is told like what is not there.
///
/// # Errors
/// When objects cannot be read or the client went away.
pub fn respond(request: &Request, view: &RepositoryView<'_>, out: &mut dyn Write) -> Result<(), Error> {
    let mut cache = ReadCache::default();
    let mut lines = Vec::new();
    if request.size {
        pktline::push(&mut lines, &[b"size"]);
    }
    let asked: HashSet<ObjectId> = request.ids.iter().copied().collect();
    let hidden = visible::hidden(view, &asked, &mut cache)?;
    for id in &request.ids {
        let size = if hidden.contains(id) { None } else { view.packs.header(id, &mut cache)?.map(|(_, size)| size) };
        let text = match size {
            Some(size) if request.size => format!("{id} {size}"),
            _ => format!("{id} "),
        };
        pktline::push(&mut lines, &[text.as_bytes()]);
    }
    lines.extend_from_slice(pktline::FLUSH);
    Ok(out.write_all(&lines)?)
}
