//! Serving fetches and clones: protocol versions 0, 1 and 2.
//!
//! A request is parsed ([`parse_v2`], [`parse_v0`]), then answered ([`respond`]) from a [`RepositoryView`]. On a stream of its own,
//! such as SSH, versions 0 and 1 are a conversation ([`parse_wants_v0`], [`converse`]). Either way wants are checked, common commits acknowledged, objects planned, a pack streamed. A full clone of a repository in which nothing was
//! ever dropped sends the packs as they lie; everything else walks from the wants to what the client has and copies entries.
//!
//! Not here: HTTP, SSH, authorization.

use std::{
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{odb, pack_writer, pktline, view::RepositoryView};

mod ancestors;
mod behind;
mod commits;
mod conversation;
mod filter;
mod held;
mod negotiate;
pub mod object_info;
mod objects;
mod plan;
mod request;
mod response;
mod shallow;
mod sparse;
mod tabled;
mod visible;
mod wants;

pub use behind::behind;
pub use conversation::converse;
pub use filter::{Filter, FilterError, Only};
pub use request::{Acknowledge, Command, Form, Request, RequestError, parse_v0, parse_v2, parse_wants_v0};

pub use shallow::Deepen;

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
    /// What reachability tables say that the wanted commits bring, entry by entry.
    Tabled,
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
            Self::Tabled => "tabled",
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
    let mut channel = response::Channel { out, note, interrupt, banded: request.sideband_all };
    let alive = || !interrupt.load(Ordering::Relaxed);
    let Checked { wants, boundary, sparse } = match check(request, request.haves.is_empty(), view, &alive, &mut cache) {
        Ok(Ok(checked)) => checked,
        Ok(Err(refusal)) => return channel.refuse(refusal),
        Err(error) => return Err(channel.failed(error)),
    };
    let negotiated = negotiate::negotiate(request, view, &wants, &mut cache).map_err(|error| channel.failed(error))?;
    let lines = negotiate::sections(request, &wants, &boundary, &negotiated);
    channel.out.write_all(&lines)?;
    if !negotiated.pack_follows {
        channel.out.flush()?;
        return Ok(Outcome { bytes: lines.len() as u64, ..Outcome::default() });
    }
    let common = &negotiated.common;
    let question =
        plan::Question { request, view, wants: &wants, common, boundary: &boundary, sparse: &sparse, alive: &alive };
    let mut outcome = response::pack(&question, &mut channel, cache)?;
    outcome.bytes += lines.len() as u64;
    Ok(outcome)
}

/// A request that is answered.
struct Checked {
    /// What is wanted.
    wants: wants::Wants,
    /// Where the client's history is to end.
    boundary: shallow::Boundary,
    /// The patterns of its filter.
    sparse: sparse::Sparse,
}

/// Checks what a client wants before anything is said about it; the inner error is the refusal that the client reads.
fn check(
    request: &Request,
    has_nothing: bool,
    view: &RepositoryView<'_>,
    alive: &dyn Fn() -> bool,
    cache: &mut odb::ReadCache,
) -> Result<Result<Checked, String>, odb::Error> {
    let wants = match wants::check(request, has_nothing, view, cache)? {
        Ok(wants) => wants,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let names = request.filter.as_ref().map_or(&[][..], |filter| &filter.sparse);
    let sparse = match sparse::Sparse::read(names, view, cache)? {
        Ok(sparse) => sparse,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let boundary = shallow::boundary(request, view, &wants, alive, cache)?;
    Ok(boundary.map(|boundary| Checked { wants, boundary, sparse }))
}
