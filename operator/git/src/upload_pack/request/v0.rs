//! Requests of versions 0 and 1.

use std::io::BufRead;

use gix::ObjectId;
use model::ObjectFormat;

use super::{
    Acknowledge, Form, LIMITS, MAX_HAVES, MAX_WANTS, Request, RequestError, add, excerpt, limits, object_id, split,
    unsupported,
};
use crate::{
    client::Client,
    pktline::{self, Packet, Reader},
    sideband::Band,
};

/// Parses a request of version 0 or 1 over HTTP to a repository of this format: all `want` lines, then the `have` lines of this round. `None`: the client wants nothing.
///
/// # Errors
/// When it is not one, or asks for what was not offered.
pub fn parse_v0(
    input: &mut dyn BufRead,
    format: ObjectFormat,
    client: &mut Client,
) -> Result<Option<Request>, RequestError> {
    let mut reader = Reader::new(input, LIMITS);
    let Some(mut request) = needs_v0(&mut reader, format, client)? else { return Ok(None) };
    while !request.done {
        match Line::read(&mut reader)? {
            Line::End => break,
            Line::Flush => {}
            Line::Done => request.done = true,
            Line::Have(id) => add(&mut request.haves, id, MAX_HAVES, "have")?,
        }
    }
    Ok(Some(request))
}

/// Parses what a client of version 0 or 1 wants on a stream from a repository of this format: all `want` lines and what is left out of it; what the client has comes
/// behind them, in rounds ([`crate::upload_pack::converse`]). `None`: the client wants nothing.
///
/// # Errors
/// When it is not one, or asks for what was not offered.
pub fn parse_wants_v0(
    input: &mut dyn BufRead,
    format: ObjectFormat,
    client: &mut Client,
) -> Result<Option<Request>, RequestError> {
    needs_v0(&mut Reader::new(input, LIMITS), format, client)
}

fn needs_v0(
    reader: &mut Reader<'_>,
    format: ObjectFormat,
    client: &mut Client,
) -> Result<Option<Request>, RequestError> {
    let mut request = Request::new(Form::V0 { acknowledge: Acknowledge::First, no_done: false }, Band::None);
    loop {
        match reader.read()? {
            None | Some(Packet::Flush) => break,
            Some(Packet::Data(line)) => need_v0(&mut request, pktline::text(line), client)?,
            Some(Packet::Delimiter | Packet::ResponseEnd) => return Err(RequestError::unexpected(b"0001")),
        }
    }
    if request.wants.is_empty() {
        return Ok(None);
    }
    // Git itself says it in version 2 only.
    if client.object_format.is_some() {
        client.check_format(format)?;
    }
    Ok(Some(request))
}

/// A line behind the wants in versions 0 and 1.
pub(in crate::upload_pack) enum Line {
    /// The input ends.
    End,
    /// A round ends.
    Flush,
    /// The client has nothing more to say.
    Done,
    /// The client has this.
    Have(ObjectId),
}

impl Line {
    pub(in crate::upload_pack) fn read(reader: &mut Reader<'_>) -> Result<Self, RequestError> {
        match reader.read()? {
            None => Ok(Self::End),
            Some(Packet::Flush) => Ok(Self::Flush),
            Some(Packet::Data(line)) => {
                let line = pktline::text(line);
                if line == b"done" {
                    Ok(Self::Done)
                } else if let Some(id) = line.strip_prefix(b"have ") {
                    object_id(id, line).map(Self::Have)
                } else {
                    Err(unsupported(line))
                }
            }
            Some(Packet::Delimiter | Packet::ResponseEnd) => Err(RequestError::unexpected(b"0001")),
        }
    }
}

/// `want <id>[ <capabilities>]`, or what is left out of it.
fn need_v0(request: &mut Request, line: &[u8], client: &mut Client) -> Result<(), RequestError> {
    let Some(rest) = line.strip_prefix(b"want ") else {
        return if limits(request, line)? { Ok(()) } else { Err(unsupported(line)) };
    };
    let mut words = rest.split(|byte| *byte == b' ');
    let id = object_id(words.next().unwrap_or(b""), line)?;
    let first = request.wants.is_empty();
    add(&mut request.wants, id, MAX_WANTS, "want")?;
    for word in words.filter(|word| !word.is_empty()) {
        if !first {
            return Err(RequestError::unexpected(line));
        }
        capability_v0(request, word, client)?;
    }
    Ok(())
}

/// Words that need no answer.
const HARMLESS: &[&[u8]] = &[
    b"agent",
    b"session-id",
    b"side-band",
    b"multi_ack",
    b"shallow",
    b"deepen-since",
    b"deepen-not",
    b"filter",
    b"allow-tip-sha1-in-want",
    b"allow-reachable-sha1-in-want",
];

fn capability_v0(request: &mut Request, word: &[u8], client: &mut Client) -> Result<(), RequestError> {
    let Form::V0 { acknowledge, no_done } = &mut request.form else { return Ok(()) };
    match split(word) {
        (b"multi_ack_detailed", None) => *acknowledge = Acknowledge::Detailed,
        (b"no-done", None) => *no_done = true,
        (b"thin-pack", None) => request.thin_pack = true,
        (b"ofs-delta", None) => request.ofs_delta = true,
        (b"include-tag", None) => request.include_tag = true,
        (b"no-progress", None) => request.no_progress = true,
        (b"side-band-64k", None) => request.band = Band::Large,
        (b"side-band", None) if request.band == Band::None => request.band = Band::Small,
        (b"object-format", format) => client.hear_format(format.unwrap_or_default()),
        (b"deepen-relative", None) => request.deepen.relative = true,
        (b"session-id", Some(id)) => client.hear_session(id),
        // What a client would understand, or says of itself; lines that use the former are refused.
        (word, _) if HARMLESS.contains(&word) => {}
        _ => return Err(RequestError::UnknownCapability(excerpt(word))),
    }
    Ok(())
}
