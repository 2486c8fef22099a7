//! Streaming the pack.

use std::{
    io::Write,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{
    Error, Outcome, Route,
    plan::{Chosen, Plan, Question, plan},
};
use crate::{
    odb::{self, Packs, ReadCache},
    pack_writer::{self, Receiver, Selection},
    pktline, sideband,
};

/// Where an answer goes.
pub(super) struct Channel<'a> {
    pub(super) out: &'a mut dyn Write,
    /// Ends error messages.
    pub(super) note: &'a str,
    pub(super) interrupt: &'a AtomicBool,
    /// Whatever is said before the pack goes into channels, too.
    pub(super) banded: bool,
}

impl Channel<'_> {
    /// Tells the client what it did wrong.
    pub(super) fn refuse(&mut self, refusal: String) -> Result<Outcome, Error> {
        self.out.write_all(&self.last_words(&refusal))?;
        Ok(Outcome { refused: Some(refusal), ..Outcome::default() })
    }

    /// Tells the client that objects cannot be read; that one counts, even if the client does not hear of it.
    pub(super) fn failed(&mut self, error: odb::Error) -> Error {
        let line = self.last_words(&format!("upload-pack: the server failed {}", self.note));
        drop(self.out.write_all(&line));
        Error::Odb(error)
    }

    fn last_words(&self, message: &str) -> Vec<u8> {
        if self.banded { sideband::fatal(message) } else { pktline::error_line(message) }
    }
}

/// Plans and streams the pack.
pub(super) fn pack(question: &Question<'_>, channel: &mut Channel<'_>, mut cache: ReadCache) -> Result<Outcome, Error> {
    let (interrupt, request) = (channel.interrupt, question.request);
    let mut writer = sideband::Writer::new(channel.out, request.band, request.no_progress);
    let planned = plan(question, &mut cache).map_err(Error::from);
    // The walk is over: its memory is better used for what comes.
    drop(cache);
    if matches!(planned, Ok(Plan::Exhausted)) {
        let refusal = "upload-pack: this filter takes too long: use fewer patterns, or leave it out".to_owned();
        writer.error(&format!("{refusal} {}\n", channel.note))?;
        let bytes = writer.finish()?;
        return Ok(Outcome { bytes, refused: Some(refusal), ..Outcome::default() });
    }
    let sent = planned.and_then(|planned| stream(question, planned, &mut writer, interrupt));
    match sent {
        Ok((objects, route)) => {
            let bytes = writer.finish()?;
            Ok(Outcome { objects, bytes, route, refused: None })
        }
        Err(error) => {
            let what = match &error {
                Error::Interrupted => "the server is stopping, try again",
                Error::Odb(_) | Error::Write(_) | Error::Read(_) => "the server failed",
            };
            // Whoever went away does not read this; the first error is the one that counts.
            drop(writer.error(&format!("upload-pack: {what} {}\n", channel.note)));
            Err(error)
        }
    }
}

/// Streams what was planned; returns the number of objects.
fn stream(
    question: &Question<'_>,
    planned: Plan<'_>,
    writer: &mut sideband::Writer<'_>,
    interrupt: &AtomicBool,
) -> Result<(u64, Route), Error> {
    let Question { request, view, .. } = *question;
    let (selection, held, route) = match planned {
        Plan::Interrupted | Plan::Exhausted => return Err(Error::Interrupted),
        Plan::Verbatim => return verbatim(view.packs, writer, interrupt).map(|objects| (objects, Route::Verbatim)),
        Plan::Joined => return joined(view.packs, writer, interrupt).map(|objects| (objects, Route::Joined)),
        Plan::Whole => (Selection::all(view.packs), None, Route::Whole),
        Plan::Walked(Chosen { selection, known, replaces, route }) => (selection, Some((known, replaces)), route),
    };
    announce(writer, selection.len() as u64)?;
    let (known, replaces) = held.unwrap_or_default();
    let has = |id: &gix::oid| known.contains(id);
    let base = |id: &gix::oid| replaces.get(id).copied();
    let receiver =
        Receiver { ofs_delta: request.ofs_delta, has: question.is_thin().then_some(&has), replaces: Some(&base) };
    pack_writer::write(view.packs, &selection, &receiver, writer, None, interrupt)?;
    Ok((selection.len() as u64, route))
}

/// Tells the person at the client what comes.
fn announce(writer: &mut sideband::Writer<'_>, objects: u64) -> Result<(), Error> {
    Ok(writer.progress(&format!("Sending {objects} objects.\n"))?)
}

/// Sends the only pack as it lies.
fn verbatim(packs: &Packs, writer: &mut sideband::Writer<'_>, interrupt: &AtomicBool) -> Result<u64, Error> {
    let pack = packs.pack(0)?;
    announce(writer, u64::from(pack.len()))?;
    copy(pack, 0..pack.bytes(), writer, &mut |_| (), interrupt)?;
    Ok(u64::from(pack.len()))
}

/// Sends all packs as one: their entries as they lie, under one header and one trailer.
/// Distances within each pack stay right, and a base of another pack is named by its id.
fn joined(packs: &Packs, writer: &mut sideband::Writer<'_>, interrupt: &AtomicBool) -> Result<u64, Error> {
    let objects = packs.entries();
    let count =
        u32::try_from(objects).map_err(|_| odb::Error::damaged("packs".as_ref(), "too many objects for a pack"))?;
    announce(writer, objects)?;
    let header = pack_writer::header(count);
    if let Some(trailer) = packs.joined_trailer().get() {
        writer.data(&header)?;
        for pack in packs.packs() {
            copy(pack, odb::HEADER..pack.end(), writer, &mut |_| (), interrupt)?;
        }
        writer.data(trailer.as_slice())?;
        return Ok(objects);
    }
    let mut hasher = gix::hash::hasher(packs.format());
    hasher.update(&header);
    writer.data(&header)?;
    for pack in packs.packs() {
        copy(pack, odb::HEADER..pack.end(), writer, &mut |bytes| hasher.update(bytes), interrupt)?;
    }
    let trailer = hasher.try_finalize().map_err(std::io::Error::other)?;
    writer.data(trailer.as_slice())?;
    packs.joined_trailer().get_or_init(|| trailer);
    Ok(objects)
}

/// Copies bytes of a pack.
fn copy(
    pack: &odb::Pack,
    range: std::ops::Range<u64>,
    writer: &mut sideband::Writer<'_>,
    seen: &mut dyn FnMut(&[u8]),
    interrupt: &AtomicBool,
) -> Result<(), Error> {
    let mut at = range.start;
    let mut reader = pack.reader(at);
    while at < range.end {
        if interrupt.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let length = (range.end - at).min(1 << 20);
        writer.copy(&mut reader, length, seen)?;
        at += length;
    }
    Ok(())
}
