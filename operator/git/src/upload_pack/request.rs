//! Parsing what a client wants.

use std::io::BufRead;

use gix::{ObjectId, bstr::BString};
use model::ObjectFormat;

use super::{
    filter::{Filter, FilterError},
    object_info,
    shallow::Deepen,
};
use crate::{
    client::{Client, ObjectFormatError},
    ls_refs,
    pktline::{self, Packet, PacketError, ReadLimits, Reader},
    sideband::Band,
};

mod v0;

pub(super) use v0::Line;
pub use v0::{parse_v0, parse_wants_v0};

/// Most `want` lines of one request: more references than a repository should have.
const MAX_WANTS: usize = 500_000;

/// Most `have` lines of one request; a stateless client repeats what was common and adds up to 16,384 in a round.
pub(super) const MAX_HAVES: usize = 300_000;

/// Most `shallow` lines of one request: a history has so many ends.
const MAX_SHALLOW: usize = 100_000;

/// Most `deepen-not` lines of one request.
const MAX_NOT: usize = 1_000;

/// Most `oid` lines of an `object-info`.
const MAX_INFO: usize = 100_000;

/// How much a request may be long.
const LIMITS: ReadLimits = ReadLimits { packets: 1_000_000, bytes: 64 << 20 };

/// How a client of version 0 wants its `have` lines acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    /// The first common one only.
    First,
    /// `multi_ack_detailed`
    Detailed,
}

/// Form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Versions 0 and 1.
    V0 {
        /// Which acknowledgements are wanted.
        acknowledge: Acknowledge,
        /// `no-done`: the pack may follow without another round.
        no_done: bool,
    },
    /// Version 2.
    V2 {
        /// `wait-for-done`: no pack before `done`.
        wait_for_done: bool,
    },
}

/// A request for a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the protocol that a client may say or not")]
pub struct Request {
    /// What is wanted.
    pub wants: Vec<ObjectId>,
    /// What the client has.
    pub haves: Vec<ObjectId>,
    /// The client has nothing more to say: the pack, now.
    pub done: bool,
    /// Deltas may build on what the client has.
    pub thin_pack: bool,
    /// Deltas may name their base by distance.
    pub ofs_delta: bool,
    /// Tags of what is sent come along.
    pub include_tag: bool,
    /// No progress messages.
    pub no_progress: bool,
    /// Commits whose parents the client does not have.
    pub shallow: Vec<ObjectId>,
    /// Where its history is to end.
    pub deepen: Deepen,
    /// What it leaves out.
    pub filter: Option<Filter>,
    /// References that are wanted by name.
    pub want_refs: Vec<BString>,
    /// `sideband-all`: everything comes in channels.
    pub sideband_all: bool,
    /// Channels.
    pub band: Band,
    /// Form of the answer.
    pub form: Form,
}

impl Request {
    /// One that wants nothing yet.
    #[must_use]
    pub fn new(form: Form, band: Band) -> Self {
        Self {
            wants: Vec::new(),
            haves: Vec::new(),
            done: false,
            thin_pack: false,
            ofs_delta: false,
            include_tag: false,
            no_progress: false,
            shallow: Vec::new(),
            deepen: Deepen::default(),
            filter: None,
            want_refs: Vec::new(),
            sideband_all: false,
            band,
            form,
        }
    }

    /// Whether all that wants lead to is wanted, as far as the client does not have it.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.shallow.is_empty() && !self.deepen.is_asked() && self.filter.is_none()
    }
}

/// A command of version 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// An empty request.
    Nothing,
    /// List references.
    LsRefs(ls_refs::Request),
    /// Send objects.
    Fetch(Request),
    /// Tell sizes of objects.
    ObjectInfo(object_info::Request),
    /// Tell where a bundle is.
    BundleUri,
}

/// Why a request is refused. The text is for the client.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Not made of pkt-lines.
    #[error("upload-pack: {0}")]
    Packet(#[from] PacketError),
    /// A line that has no place here.
    #[error("upload-pack: unexpected line {0:?}")]
    Unexpected(String),
    /// Something that this server did not offer.
    #[error("upload-pack: {0} is not supported by this server")]
    Unsupported(&'static str),
    /// A capability or argument that nobody offered.
    #[error("upload-pack: unknown capability {0:?}")]
    UnknownCapability(String),
    /// Another hash function than the repository's.
    #[error("upload-pack: {0}")]
    ObjectFormat(#[from] ObjectFormatError),
    /// A filter that is not one, or not offered.
    #[error("upload-pack: {0}")]
    Filter(#[from] FilterError),
    /// Too many lines of a kind.
    #[error("upload-pack: too many {0} lines in one request")]
    TooMany(&'static str),
}

impl RequestError {
    fn unexpected(line: &[u8]) -> Self {
        Self::Unexpected(excerpt(line))
    }
}

/// A readable piece of what a client sent.
fn excerpt(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(100)]).into_owned()
}

/// Parses a request of version 2 to a repository of this format. What the client says of itself goes to `client`.
///
/// # Errors
/// When it is not one, or asks for what was not offered.
pub fn parse_v2(input: &mut dyn BufRead, format: ObjectFormat, client: &mut Client) -> Result<Command, RequestError> {
    let mut reader = Reader::new(input, LIMITS);
    let mut command = None;
    let has_arguments = loop {
        match reader.read()? {
            None if command.is_none() => return Ok(Command::Nothing),
            None | Some(Packet::Flush) => break false,
            Some(Packet::Delimiter) => break true,
            Some(Packet::ResponseEnd) => return Err(RequestError::unexpected(b"0002")),
            Some(Packet::Data(line)) => {
                let line = pktline::text(line);
                match line.strip_prefix(b"command=") {
                    Some(name) if command.is_none() => command = Some(name.to_vec()),
                    Some(_) => return Err(RequestError::unexpected(line)),
                    None => capability_v2(line, client)?,
                }
            }
        }
    };
    if command.is_some() {
        client.check_format(format)?;
    }
    match command.as_deref() {
        None if has_arguments => Err(RequestError::unexpected(b"0001")),
        None => Ok(Command::Nothing),
        Some(b"ls-refs") => {
            arguments(&mut reader, has_arguments, ls_refs::Request::default(), ls_refs_argument).map(Command::LsRefs)
        }
        Some(b"fetch") => {
            let request = Request::new(Form::V2 { wait_for_done: false }, Band::Large);
            arguments(&mut reader, has_arguments, request, fetch_argument).map(Command::Fetch)
        }
        Some(b"object-info") => {
            arguments(&mut reader, has_arguments, object_info::Request::default(), object_info_argument)
                .map(Command::ObjectInfo)
        }
        // It has no arguments.
        Some(b"bundle-uri") => {
            arguments(&mut reader, has_arguments, (), |(), line| Err(RequestError::unexpected(line)))
                .map(|()| Command::BundleUri)
        }
        Some(other) => Err(RequestError::unexpected(&[b"command=", other].concat())),
    }
}

/// Reads the arguments of a command up to the flush.
fn arguments<R>(
    reader: &mut Reader<'_>,
    present: bool,
    mut request: R,
    take: fn(&mut R, &[u8]) -> Result<(), RequestError>,
) -> Result<R, RequestError> {
    if !present {
        return Ok(request);
    }
    loop {
        match reader.read()? {
            None => return Err(PacketError::Truncated.into()),
            Some(Packet::Flush) => return Ok(request),
            Some(Packet::Data(line)) => take(&mut request, pktline::text(line))?,
            Some(Packet::Delimiter) => return Err(RequestError::unexpected(b"0001")),
            Some(Packet::ResponseEnd) => return Err(RequestError::unexpected(b"0002")),
        }
    }
}

/// A capability of version 2.
fn capability_v2(line: &[u8], client: &mut Client) -> Result<(), RequestError> {
    match split(line) {
        (b"session-id", Some(id)) => {
            client.hear_session(id);
            Ok(())
        }
        // What the latter say is for servers that have options.
        (b"agent" | b"session-id" | b"server-option", _) => Ok(()),
        (b"object-format", format) => {
            client.hear_format(format.unwrap_or_default());
            Ok(())
        }
        _ => Err(RequestError::UnknownCapability(excerpt(line))),
    }
}

/// `key=value` or `key`.
fn split(word: &[u8]) -> (&[u8], Option<&[u8]>) {
    match word.iter().position(|byte| *byte == b'=') {
        Some(at) => (&word[..at], Some(&word[at + 1..])),
        None => (word, None),
    }
}

fn ls_refs_argument(request: &mut ls_refs::Request, line: &[u8]) -> Result<(), RequestError> {
    match line {
        b"symrefs" => request.symrefs = true,
        b"peel" => request.peel = true,
        b"unborn" => request.unborn = true,
        _ => match line.strip_prefix(b"ref-prefix ") {
            // One more than is looked at makes the filter void, as git does; there is no need to keep the rest.
            Some(prefix) if request.prefixes.len() <= ls_refs::MAX_PREFIXES => request.prefixes.push(prefix.into()),
            Some(_) => {}
            None => return Err(RequestError::unexpected(line)),
        },
    }
    Ok(())
}

fn object_info_argument(request: &mut object_info::Request, line: &[u8]) -> Result<(), RequestError> {
    match split_word(line) {
        (b"size", None) => request.size = true,
        (b"oid", Some(id)) => add(&mut request.ids, object_id(id, line)?, MAX_INFO, "oid")?,
        _ => return Err(RequestError::unexpected(line)),
    }
    Ok(())
}

fn fetch_argument(request: &mut Request, line: &[u8]) -> Result<(), RequestError> {
    match line {
        b"done" => request.done = true,
        b"thin-pack" => request.thin_pack = true,
        b"ofs-delta" => request.ofs_delta = true,
        b"include-tag" => request.include_tag = true,
        b"no-progress" => request.no_progress = true,
        b"wait-for-done" => request.form = Form::V2 { wait_for_done: true },
        b"sideband-all" => request.sideband_all = true,
        b"deepen-relative" => request.deepen.relative = true,
        _ => match split_word(line) {
            (b"want", Some(id)) => add(&mut request.wants, object_id(id, line)?, MAX_WANTS, "want")?,
            (b"have", Some(id)) => add(&mut request.haves, object_id(id, line)?, MAX_HAVES, "have")?,
            (b"want-ref", Some(name)) => add(&mut request.want_refs, name.into(), MAX_WANTS, "want-ref")?,
            _ if !limits(request, line)? => return Err(unsupported(line)),
            _ => {}
        },
    }
    Ok(())
}

/// A line about what is left out of a history, which is the same in all versions; false if it is none.
fn limits(request: &mut Request, line: &[u8]) -> Result<bool, RequestError> {
    let (word, Some(value)) = split_word(line) else { return Ok(false) };
    let number = |text: &[u8]| std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
    match word {
        b"shallow" => add(&mut request.shallow, object_id(value, line)?, MAX_SHALLOW, "shallow")?,
        b"deepen" => {
            let depth = number(value).and_then(|depth| u32::try_from(depth).ok()).filter(|depth| *depth > 0);
            request.deepen.depth = Some(depth.ok_or_else(|| RequestError::unexpected(line))?);
        }
        b"deepen-since" => {
            request.deepen.since = Some(number(value).ok_or_else(|| RequestError::unexpected(line))?);
        }
        b"deepen-not" => add(&mut request.deepen.not, value.into(), MAX_NOT, "deepen-not")?,
        b"filter" if request.filter.is_none() => request.filter = Some(Filter::parse(value)?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// `word value` or `word`.
fn split_word(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    match line.iter().position(|byte| *byte == b' ') {
        Some(at) => (&line[..at], Some(&line[at + 1..])),
        None => (line, None),
    }
}

/// Names what a client asks for although it was not offered.
fn unsupported(line: &[u8]) -> RequestError {
    let word = line.split(|byte| *byte == b' ').next().unwrap_or(line);
    match word {
        b"packfile-uris" => RequestError::Unsupported("packfile-uris"),
        _ => RequestError::unexpected(line),
    }
}

/// Adds to a list that has a bound.
fn add<T>(list: &mut Vec<T>, item: T, most: usize, what: &'static str) -> Result<(), RequestError> {
    if list.len() >= most {
        return Err(RequestError::TooMany(what));
    }
    list.push(item);
    Ok(())
}

/// An id in hex digits; one that is not of the repository's format is that of no object there.
fn object_id(hex: &[u8], line: &[u8]) -> Result<ObjectId, RequestError> {
    ObjectId::from_hex(hex).map_err(|_| RequestError::unexpected(line))
}

#[cfg(test)]
mod tests;
