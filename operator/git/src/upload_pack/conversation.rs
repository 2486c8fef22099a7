//! Versions 0 and 1 on a stream of its own, as SSH is: the client says what it has in rounds, and nothing is said twice.
//!
//! Only what is common is remembered, so memory is bounded however long a client talks. What is answered when is what
//! `git upload-pack` answers without `--stateless-rpc` ([gitprotocol-pack]).
//!
//! [gitprotocol-pack]: https://git-scm.com/docs/gitprotocol-pack#_packfile_negotiation

use std::{
    io::{BufRead, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use gix::ObjectId;

use super::{
    Checked, Error, Outcome, check,
    negotiate::{Common, ack, enough},
    plan::Question,
    request::{Acknowledge, Form, Line, MAX_HAVES, Request, RequestError},
    response,
    wants::Wants,
};
use crate::{
    odb::ReadCache,
    pktline::{self, PacketError, ReadLimits, Reader},
    view::RepositoryView,
};

/// How much a client may say in all: a client that has nothing in common with the repository names every commit that it has.
const LIMITS: ReadLimits = ReadLimits { packets: 20_000_000, bytes: 1 << 30 };

/// Acknowledgements that wait for the end of a round.
const MAX_UNSENT: usize = 32 << 10;

/// Negotiates with a client and sends it the pack. Blocking; `request` is what it wants, the rest is read from `input`.
///
/// `note` ends what the client reads when something fails here, such as `(request 4f2a)`.
///
/// # Errors
/// When objects cannot be read or the client went away. The client was told before, if it still listened.
pub fn converse(
    request: &Request,
    input: &mut dyn BufRead,
    view: &RepositoryView<'_>,
    out: &mut dyn Write,
    note: &str,
    interrupt: &AtomicBool,
) -> Result<Outcome, Error> {
    let mut cache = ReadCache::default();
    let mut channel = response::Channel { out, note, interrupt, banded: request.sideband_all };
    let alive = || !interrupt.load(Ordering::Relaxed);
    let mut reader = Reader::new(input, LIMITS);
    // A client that asks where its history ends waits for that. Any other goes on at once, and its first line tells a clone.
    let first = if request.deepen.is_asked() { None } else { Some(read(&mut reader)?) };
    let has_nothing = matches!(first, Some(Ok(Line::Done)));
    let Checked { wants, boundary, sparse } = match check(request, has_nothing, view, &alive, &mut cache) {
        Ok(Ok(checked)) => checked,
        Ok(Err(refusal)) => return channel.refuse(refusal),
        Err(error) => return Err(channel.failed(error)),
    };
    let first = if let Some(line) = first {
        line
    } else {
        channel.out.write_all(&[&boundary.lines, pktline::FLUSH].concat())?;
        channel.out.flush()?;
        read(&mut reader)?
    };
    let mut line = match first {
        Ok(line) => line,
        Err(refusal) => return channel.refuse(refusal),
    };
    let mut talk = Talk::new(request);
    loop {
        let is_turn = !matches!(line, Line::Have(_));
        let pack_follows = talk.answer(&line, view, &wants, &mut cache).map_err(|error| channel.failed(error))?;
        if talk.common.len() > MAX_HAVES {
            return channel.refuse(RequestError::TooMany("have").to_string());
        }
        // The client reads when it has ended its round; before, it would only be woken up.
        if is_turn || talk.lines.len() > MAX_UNSENT {
            channel.out.write_all(&talk.lines)?;
            talk.bytes += talk.lines.len() as u64;
            talk.lines.clear();
        }
        if pack_follows {
            break;
        }
        if is_turn {
            channel.out.flush()?;
        }
        line = match read(&mut reader)? {
            Ok(line) => line,
            Err(refusal) => return channel.refuse(refusal),
        };
    }
    let common = &talk.common;
    let question =
        Question { request, view, wants: &wants, common, boundary: &boundary, sparse: &sparse, alive: &alive };
    let mut outcome = response::pack(&question, &mut channel, cache)?;
    outcome.bytes += talk.bytes;
    Ok(outcome)
}

/// The next line, or what is wrong with it.
fn read(reader: &mut Reader<'_>) -> Result<Result<Line, String>, Error> {
    match Line::read(reader) {
        Ok(Line::End) => Err(Error::Read(PacketError::Truncated)),
        Ok(line) => Ok(Ok(line)),
        Err(RequestError::Packet(error @ (PacketError::Io(_) | PacketError::Truncated))) => Err(Error::Read(error)),
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// What was said so far.
struct Talk {
    acknowledge: Acknowledge,
    no_done: bool,
    common: Common,
    /// The last object that was acknowledged.
    last: Option<ObjectId>,
    /// Whether what is common is enough, and how much of it there was when that was found out.
    ready: bool,
    examined: usize,
    /// Whether something was acknowledged in this round.
    fresh: bool,
    /// What the client reads at the end of its round.
    lines: Vec<u8>,
    bytes: u64,
}

impl Talk {
    fn new(request: &Request) -> Self {
        let (acknowledge, no_done) = match request.form {
            Form::V0 { acknowledge, no_done } => (acknowledge, no_done),
            Form::V2 { .. } => (Acknowledge::Detailed, false),
        };
        Self {
            acknowledge,
            no_done,
            common: Common::default(),
            last: None,
            ready: false,
            examined: 0,
            fresh: false,
            lines: Vec::new(),
            bytes: 0,
        }
    }

    /// Answers a line; true if the pack follows.
    fn answer(
        &mut self,
        line: &Line,
        view: &RepositoryView<'_>,
        wants: &Wants,
        cache: &mut ReadCache,
    ) -> Result<bool, crate::odb::Error> {
        match line {
            Line::Have(id) => {
                if self.common.add(id, view, cache)? {
                    self.acknowledge(*id);
                }
                Ok(false)
            }
            Line::Flush => {
                if self.acknowledge == Acknowledge::Detailed && self.common.len() > self.examined {
                    self.examined = self.common.len();
                    self.ready = self.ready || enough(view, wants, &self.common, cache)?;
                }
                Ok(self.round())
            }
            Line::Done | Line::End => {
                self.done();
                Ok(true)
            }
        }
    }

    /// Both have this.
    fn acknowledge(&mut self, id: ObjectId) {
        match self.acknowledge {
            Acknowledge::Detailed => ack(&mut self.lines, &id, " common"),
            Acknowledge::First if self.last.is_none() => ack(&mut self.lines, &id, ""),
            Acknowledge::First => {}
        }
        (self.last, self.fresh) = (Some(id), true);
    }

    /// The client ended a round; true if the pack follows.
    fn round(&mut self) -> bool {
        let last = self.last.filter(|_| self.ready);
        if let Some(last) = last.filter(|_| self.fresh) {
            ack(&mut self.lines, &last, " ready");
        }
        self.fresh = false;
        if self.acknowledge == Acknowledge::Detailed || self.last.is_none() {
            pktline::push(&mut self.lines, &[b"NAK\n"]);
        }
        if let Some(last) = last.filter(|_| self.no_done) {
            ack(&mut self.lines, &last, "");
            return true;
        }
        false
    }

    /// The client has nothing more to say.
    fn done(&mut self) {
        match (self.last, self.acknowledge) {
            (Some(last), Acknowledge::Detailed) => ack(&mut self.lines, &last, ""),
            // It has had its only acknowledgement.
            (Some(_), Acknowledge::First) => {}
            (None, _) => pktline::push(&mut self.lines, &[b"NAK\n"]),
        }
    }
}
