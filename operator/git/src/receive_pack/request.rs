//! Reads what the client wants, up to where the pack begins.

use std::{collections::HashMap, io::BufRead};

use gix::{ObjectId, bstr::BString};
use model::{ObjectFormat, limits::Limits};

use super::{
    Capabilities,
    certificate::{self, Certificate, CertificateError},
    command::{Command, Line, Refused},
};
use crate::{
    client::ObjectFormatError,
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
    /// What the client has signed: the commands and the options are these.
    pub certificate: Option<Certificate>,
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
    /// A signed push whose certificate is none, or says something else.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A signed push whose nonce is not good.
    #[error("{0}")]
    Nonce(String),
    /// Another hash function than the repository's.
    #[error(transparent)]
    ObjectFormat(#[from] ObjectFormatError),
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

/// Reads a request to a repository of this format. `None`: the client wants nothing and expects an empty answer; git sends such a request to find
/// out whether its credentials are good before it sends a large pack.
///
/// # Errors
/// When it is no request of a push, or asks for what is not offered.
pub fn parse(input: &mut dyn BufRead, format: ObjectFormat, limits: &Limits) -> Result<Option<Request>, Refusal> {
    let mut capabilities = Capabilities::default();
    read(input, format, limits, &mut capabilities).map_err(|reason| Refusal { reason, capabilities })
}

fn read(
    input: &mut dyn BufRead,
    format: ObjectFormat,
    limits: &Limits,
    capabilities: &mut Capabilities,
) -> Result<Option<Request>, RequestError> {
    let refs = u64::from(limits.refs_per_push);
    let packets = refs + (OPTIONS + SHALLOW + certificate::MAX_BYTES) as u64 + 16;
    let bytes = refs * LINE_BYTES + (8 << 20);
    let mut reader = Reader::new(input, ReadLimits { packets, bytes });
    let Found { wishes, is_shallow, certificate } = commands(&mut reader, format, limits, capabilities)?;
    if wishes.is_empty() {
        return Ok(None);
    }
    let push_options = if capabilities.push_options { options(&mut reader)? } else { Vec::new() };
    if certificate.as_ref().is_some_and(|signed| signed.push_options != push_options) {
        return Err(CertificateError::Differs("the push options").into());
    }
    let pack_follows = wishes.iter().any(|wish| wish.pack);
    let (commands, refused) = sort_out(wishes);
    let capabilities = capabilities.clone();
    Ok(Some(Request { commands, refused, capabilities, push_options, certificate, pack_follows, is_shallow }))
}

/// A command line.
struct Wish {
    command: Result<Command, Refused>,
    /// Even a refused command makes the client send a pack, unless it deletes.
    pack: bool,
}

impl Wish {
    fn parse(line: &[u8]) -> Result<Self, RequestError> {
        let line = Line::parse(line).ok_or(RequestError::Line)?;
        let pack = line.new.is_some();
        Ok(Self { command: line.into_command(), pack })
    }
}

/// What comes before the options and the pack.
#[derive(Default)]
struct Found {
    wishes: Vec<Wish>,
    is_shallow: bool,
    certificate: Option<Certificate>,
}

/// The commands, whether the client's history ends somewhere, and what it has signed.
fn commands(
    reader: &mut Reader<'_>,
    format: ObjectFormat,
    limits: &Limits,
    capabilities: &mut Capabilities,
) -> Result<Found, RequestError> {
    let (mut found, mut ends, mut begun) = (Found::default(), 0, false);
    let most = limits.refs_per_push;
    loop {
        let line = match reader.read()? {
            None if !begun && ends == 0 => return Ok(found),
            None => return Err(RequestError::Truncated),
            Some(Packet::Flush) => return Ok(Found { is_shallow: ends > 0, ..found }),
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
        let command = text(parts.next().unwrap_or_default());
        if let Some(words) = parts.next().filter(|_| !begun) {
            *capabilities = Capabilities::parse(text(words));
        }
        if !begun {
            capabilities.client.check_format(format)?;
        }
        if found.certificate.is_some() {
            return Err(CertificateError::Differs("the commands").into());
        }
        if command == b"push-cert" {
            if begun {
                return Err(CertificateError::Differs("the commands").into());
            }
            let (certificate, lines) = Certificate::parse(signed(reader)?)?;
            if lines.len() > most as usize {
                return Err(RequestError::TooManyRefs(most));
            }
            found.wishes = lines.iter().map(|line| Wish::parse(line)).collect::<Result<_, _>>()?;
            found.certificate = Some(certificate);
        } else {
            if found.wishes.len() >= most as usize {
                return Err(RequestError::TooManyRefs(most));
            }
            found.wishes.push(Wish::parse(command)?);
        }
        begun = true;
    }
}

/// The lines of a certificate as they were sent.
fn signed(reader: &mut Reader<'_>) -> Result<Vec<u8>, RequestError> {
    let mut all = Vec::new();
    loop {
        match reader.read()? {
            Some(Packet::Data(line)) if text(line) == b"push-cert-end" => return Ok(all),
            Some(Packet::Data(line)) => all.extend_from_slice(line),
            Some(Packet::Flush | Packet::Delimiter | Packet::ResponseEnd) => return Err(RequestError::Line),
            None => return Err(RequestError::Truncated),
        }
        if all.len() > certificate::MAX_BYTES {
            return Err(CertificateError::Long.into());
        }
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
