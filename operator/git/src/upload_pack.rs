//! Serving fetches and clones: protocol versions 0, 1 and 2.
//!
//! A request is parsed ([`parse_v2`], [`parse_v0`]), then answered ([`respond`]) from a [`RepositoryView`]. On a stream of its own,
//! such as SSH, versions 0 and 1 are a conversation ([`parse_wants_v0`], [`converse`]). Either way wants are checked, common commits acknowledged, objects planned, a pack streamed. A full clone of a repository in which nothing was
//! ever dropped sends the packs as they lie; everything else walks from the wants to what the client has and copies entries.
//!
//! Not here: HTTP, SSH, authorization, shallow and partial clones.

use std::{
    io::{self, Write},
    sync::atomic::AtomicBool,
};

use crate::{odb, pack_writer, pktline, view::RepositoryView};

mod commits;
mod conversation;
mod negotiate;
mod objects;
mod plan;
mod request;
mod response;
mod wants;

pub use conversation::converse;
pub use request::{Acknowledge, Command, Form, Request, RequestError, parse_v0, parse_v2, parse_wants_v0};

/// Why a request could not be answered although the client did nothing wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The objects cannot be read.
    #[error(transparent)]
    Odb(#[from] odb::Error),
    /// The client went away.
    #[error("failed to write the answer")]
    Write(#[from] io::Error),
    /// The client went away in the middle of what it has to say.
    #[error("failed to read what the client has")]
    Read(#[source] pktline::PacketError),
    /// The server stops or the request was given up.
    #[error("interrupted")]
    Interrupted,
}

impl From<pack_writer::Error> for Error {
    fn from(error: pack_writer::Error) -> Self {
        match error {
            pack_writer::Error::Odb(error) => Self::Odb(error),
            pack_writer::Error::Write(error) => Self::Write(error),
            pack_writer::Error::Interrupted => Self::Interrupted,
        }
    }
}

/// How a pack came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Route {
    /// No pack was sent.
    #[default]
    None,
    /// One stored pack as it lies.
    Verbatim,
    /// All stored packs, joined.
    Joined,
    /// All objects, entry by entry.
    Whole,
    /// What a walk found, entry by entry.
    Walked,
}

impl Route {
    /// Name for logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Verbatim => "verbatim",
            Self::Joined => "joined",
            Self::Whole => "whole",
            Self::Walked => "walked",
        }
    }
}

/// What was answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Objects in the pack.
    pub objects: u64,
    /// Bytes written.
    pub bytes: u64,
    /// How the pack came about.
    pub route: Route,
    /// What the client did wrong, when it was refused; it was told.
    pub refused: Option<String>,
}

/// Answers a request. Blocking: it reads files and writes to `out`, which may block on a slow client.
///
/// `note` ends what the client reads when something fails here, such as `(request 4f2a)`.
///
/// # Errors
/// When objects cannot be read or the client went away. The client was told before, if it still listened.
pub fn respond(
    request: &Request,
    view: &RepositoryView<'_>,
    out: &mut dyn Write,
    note: &str,
    interrupt: &AtomicBool,
) -> Result<Outcome, Error> {
    let mut cache = odb::ReadCache::default();
    let mut channel = response::Channel { out, note, interrupt };
    let wants = match check(request, request.haves.is_empty(), view, &mut channel, &mut cache)? {
        Ok(wants) => wants,
        Err(refused) => return Ok(refused),
    };
    let negotiated = negotiate::negotiate(request, view, &wants, &mut cache).map_err(|error| channel.failed(error))?;
    channel.out.write_all(&negotiated.lines)?;
    if !negotiated.pack_follows {
        channel.out.flush()?;
        return Ok(Outcome { bytes: negotiated.lines.len() as u64, ..Outcome::default() });
    }
    let mut outcome = response::pack(request, view, &wants, &negotiated.common, &mut channel, cache)?;
    outcome.bytes += negotiated.lines.len() as u64;
    Ok(outcome)
}

/// What is wanted, if the client may have it; else it was told, and that is the outcome.
fn check(
    request: &Request,
    has_nothing: bool,
    view: &RepositoryView<'_>,
    channel: &mut response::Channel<'_>,
    cache: &mut odb::ReadCache,
) -> Result<Result<wants::Wants, Outcome>, Error> {
    match wants::check(request, has_nothing, view, cache) {
        Ok(Ok(wants)) => Ok(Ok(wants)),
        Ok(Err(refusal)) => channel.refuse(refusal).map(Err),
        Err(error) => Err(channel.failed(error)),
    }
}
