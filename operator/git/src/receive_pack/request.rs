//! Reads what the client wants, up to where the pack begins.

use std::{collections::HashMap, io::BufRead};

use gix::{ObjectId, bstr::BString};
use model::limits::Limits;

use super::{
    Capabilities,
    command::{Command, Line, Refused},
};
use crate::{
    pktline::{Packet, PacketError, ReadLimits, Reader, text},
    sideband::Band,
};

/// Push options are short words; these bounds are far above any use.
const OPTIONS: usize = 128;
const OPTION_BYTES: usize = 4_096;

/// Places where the history of a client ends.
const SHALLOW: usize = 100_000;

/// Longest line besides the name: two object names and the capabilities.
const LINE_BYTES: u64 = 2_048;

/// What a client wants changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The changes, each reference once.
    pub commands: Vec<Command>,
    /// Changes that are refused already. [`super::Report::encode`] tells the client.
    pub refused: Vec<Refused>,
    /// How the client wants to be answered.
    pub capabilities: Capabilities,
    /// What was given with `--push-option`.
    pub push_options: Vec<BString>,
    /// Whether a pack follows: not after deletions only.
    pub pack_follows: bool,
    /// The client's history ends somewhere. The repository's does not: what is pushed must hang on what it has.
    pub is_shallow: bool,
}

impl Request {
    /// The channels of the answer.
    #[must_use]
    pub fn band(&self) -> Band {
        band(&self.capabilities)
    }
}

/// The channels of an answer.
pub(super) fn band(capabilities: &Capabilities) -> Band {
    if capabilities.sideband { Band::Large } else { Band::None }
}

/// Why a request is not one.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The framing.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// A line that is no command.
    #[error("the push has a line that is not a command")]
    Line,
    /// The end came before the flush packet.
    #[error("the push ends before its commands do")]
    Truncated,
    /// More commands than allowed.
    #[error("the push changes more than {0} references: push them in parts, or have limits.references raised")]
    TooManyRefs(u32),
    /// Too many places where the client's history ends.
    #[error("the push names more than {SHALLOW} shallow commits")]
    Shallow,
    /// A signed push.
    #[error("signed pushes are not supported: push without --signed")]
    Certificate,
    /// Another hash function.
    #[error("this server keeps SHA-1 repositories only")]
    ObjectFormat,
    /// Options out of bounds.
    #[error("push options are limited to {OPTIONS} of {OPTION_BYTES} bytes without control characters")]
    Options,
}

/// A request that is refused as a whole, and how the client wants to hear of it.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// Why.
    #[source]
    pub reason: RequestError,
    /// As far as they were read.
    pub capabilities: Capabilities,
}

/// Reads a request. `None`: the client wants nothing and expects an empty answer; git sends such a request to find
/// out whether its credentials are good before it sends a large pack.
///
/// # Errors
/// When it is no request of a push, or asks for what is not offered.
pub fn parse(input: &mut dyn BufRead, limits: &Limits) -> Result<Option<Request>, Refusal> {
    let mut capabilities = Capabilities::default();
    read(input, limits, &mut capabilities).map_err(|reason| Refusal { reason, capabilities })
}

fn read(
    input: &mut dyn BufRead,
    limits: &Limits,
    capabilities: &mut Capabilities,
) -> Result<Option<Request>, RequestError> {
    let refs = u64::from(limits.refs_per_push);
    let packets = refs + (OPTIONS + SHALLOW) as u64 + 16;
    let bytes = refs * LINE_BYTES + (8 << 20);
    let mut reader = Reader::new(input, ReadLimits { packets, bytes });
    let (found, is_shallow) = commands(&mut reader, limits, capabilities)?;
    if found.is_empty() {
        return Ok(None);
    }
    let push_options = if capabilities.push_options { options(&mut reader)? } else { Vec::new() };
    let pack_follows = found.iter().any(|wish| wish.pack);
    let (commands, refused) = sort_out(found);
    Ok(Some(Request { commands, refused, capabilities: capabilities.clone(), push_options, pack_follows, is_shallow }))
}

/// A command line.
struct Wish {
    command: Result<Command, Refused>,
    /// Even a refused command makes the client send a pack, unless it deletes.
    pack: bool,
}

/// The commands, and whether the client's history ends somewhere.
fn commands(
    reader: &mut Reader<'_>,
    limits: &Limits,
    capabilities: &mut Capabilities,
) -> Result<(Vec<Wish>, bool), RequestError> {
    let (mut found, mut ends) = (Vec::new(), 0);
    loop {
        let line = match reader.read()? {
            None if found.is_empty() && ends == 0 => return Ok((found, false)),
            None => return Err(RequestError::Truncated),
            Some(Packet::Flush) => return Ok((found, ends > 0)),
            Some(Packet::Data(line)) => line,
            Some(Packet::Delimiter | Packet::ResponseEnd) => return Err(RequestError::Line),
        };
        if let Some(id) = text(line).strip_prefix(b"shallow ") {
            ends += 1;
            if ends > SHALLOW {
                return Err(RequestError::Shallow);
            }
            ObjectId::from_hex(id).map_err(|_| RequestError::Line)?;
            continue;
        }
        let mut parts = line.splitn(2, |byte| *byte == 0);
        let command = parts.next().unwrap_or_default();
        if let Some(words) = parts.next().filter(|_| found.is_empty()) {
            *capabilities = Capabilities::parse(text(words));
        }
        if command.starts_with(b"push-cert") {
            return Err(RequestError::Certificate);
        }
        if capabilities.foreign_format {
            return Err(RequestError::ObjectFormat);
        }
        if found.len() >= limits.refs_per_push as usize {
            return Err(RequestError::TooManyRefs(limits.refs_per_push));
        }
        let line = Line::parse(text(command)).ok_or(RequestError::Line)?;
        let pack = line.new.is_some();
        found.push(Wish { command: line.into_command(), pack });
    }
}

fn options(reader: &mut Reader<'_>) -> Result<Vec<BString>, RequestError> {
    let mut found = Vec::new();
    loop {
        let option = match reader.read()? {
            Some(Packet::Flush) => return Ok(found),
            Some(Packet::Data(line)) => text(line),
            Some(Packet::Delimiter | Packet::ResponseEnd) => return Err(RequestError::Line),
            None => return Err(RequestError::Truncated),
        };
        if found.len() == OPTIONS || option.len() > OPTION_BYTES || option.iter().any(u8::is_ascii_control) {
            return Err(RequestError::Options);
        }
        found.push(option.into());
    }
}

/// Refuses references that are to change twice.
fn sort_out(found: Vec<Wish>) -> (Vec<Command>, Vec<Refused>) {
    let mut times = HashMap::new();
    for name in found.iter().filter_map(|wish| wish.command.as_ref().ok()).map(|command| &command.name) {
        *times.entry(name.clone()).or_insert(0_u32) += 1;
    }
    let (mut commands, mut refused) = (Vec::new(), Vec::new());
    for wish in found {
        match wish.command {
            Ok(command) if times.get(&command.name) == Some(&1) => commands.push(command),
            Ok(command) => refused.push(Refused {
                name: command.name.as_bstr().to_owned(),
                reason: "multiple updates for one reference are not allowed".to_owned(),
            }),
            Err(refusal) => refused.push(refusal),
        }
    }
    (commands, refused)
}
