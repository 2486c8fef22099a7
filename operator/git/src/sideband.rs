//! side-band-64k: three channels in one stream of pkt-lines: 1 data, 2 progress, 3 a fatal error.
//!
//! Frames are gathered into large writes, because each write becomes a chunk of an HTTP body.

use std::io::{self, Read, Write};

use crate::pktline;

/// How many frames are gathered before they are written: a little less than 256 KiB.
const FRAMES: usize = 4;

/// How a client wants to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Band {
    /// No channels: data only, progress and errors are lost.
    None,
    /// Frames of at most 1,000 bytes.
    Small,
    /// Frames of at most 65,520 bytes.
    Large,
}

/// The packet of channel 3 that says why nothing more comes.
#[must_use]
pub fn fatal(message: &str) -> Vec<u8> {
    let mut packet = Vec::new();
    pktline::push(&mut packet, &[&[3], message.as_bytes(), b"\n"]);
    packet
}

/// Packets with each that has a payload put into channel 1, for clients that want everything in channels.
#[must_use]
pub fn multiplexed(packets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(packets.len() + packets.len() / 16);
    let mut rest = packets;
    while let Some((digits, after)) = rest.split_at_checked(4) {
        let length = std::str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let payload = length.and_then(|length| length.checked_sub(4)).and_then(|length| after.split_at_checked(length));
        if let Some((payload, after)) = payload {
            pktline::push(&mut out, &[&[1], payload]);
            rest = after;
        } else {
            out.extend_from_slice(digits);
            rest = after;
        }
    }
    out
}

/// Writes into channels.
pub struct Writer<'a> {
    out: &'a mut dyn Write,
    band: Band,
    quiet: bool,
    buffer: Vec<u8>,
    /// Where the frame of data begins that is being filled.
    frame: Option<usize>,
    /// Bytes written so far, frames included.
    written: u64,
}

impl<'a> Writer<'a> {
    /// A writer to `out`; with `quiet`, progress goes nowhere.
    pub fn new(out: &'a mut dyn Write, band: Band, quiet: bool) -> Self {
        Self { out, band, quiet, buffer: Vec::with_capacity(FRAMES * pktline::MAX_PACKET), frame: None, written: 0 }
    }

    /// Longest payload of one frame.
    fn payload(&self) -> usize {
        match self.band {
            Band::None => pktline::MAX_PACKET,
            Band::Small => 1_000 - 5,
            Band::Large => pktline::MAX_PAYLOAD - 1,
        }
    }

    /// Bytes handed to the output so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Data (channel 1), gathered into full frames.
    ///
    /// # Errors
    /// When the output fails, which is how a client that went away shows.
    pub fn data(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(self.room()?.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Data (channel 1): `length` bytes of `input`, read straight into the frames and shown to `seen`.
    ///
    /// # Errors
    /// When the output or the input fails, or the input has fewer bytes.
    pub fn copy(&mut self, input: &mut dyn Read, length: u64, seen: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            let room = self.room()?;
            let take = usize::try_from(left).unwrap_or(room).min(room);
            let start = self.buffer.len();
            self.buffer.resize(start + take, 0);
            input.read_exact(&mut self.buffer[start..])?;
            seen(&self.buffer[start..]);
            left -= take as u64;
        }
        Ok(())
    }

    /// A message for the person at the client (channel 2); it should end with a line feed or a carriage return.
    ///
    /// # Errors
    /// When the output fails.
    pub fn progress(&mut self, message: &str) -> io::Result<()> {
        if self.quiet { Ok(()) } else { self.message(2, message) }
    }

    /// The reason why nothing more comes (channel 3); the client prints it and fails.
    ///
    /// # Errors
    /// When the output fails.
    pub fn error(&mut self, message: &str) -> io::Result<()> {
        self.message(3, message)
    }

    /// A message on a channel, sent at once: what comes next may take long.
    fn message(&mut self, channel: u8, message: &str) -> io::Result<()> {
        if self.band == Band::None {
            return Ok(());
        }
        self.push_out()?;
        for part in message.as_bytes().chunks(self.payload()) {
            self.buffer.extend_from_slice(&pktline::header(part.len() + 1));
            self.buffer.push(channel);
            self.buffer.extend_from_slice(part);
        }
        self.push_out()
    }

    /// How many bytes of data may be appended now; at least one.
    fn room(&mut self) -> io::Result<usize> {
        let full = self.payload();
        if let Some(start) = self.frame {
            let used = self.buffer.len() - start - self.head();
            if used < full {
                return Ok(full - used);
            }
        }
        self.close();
        if self.buffer.len() + full + self.head() > FRAMES * pktline::MAX_PACKET {
            self.push_out()?;
        }
        self.frame = Some(self.buffer.len());
        self.buffer.resize(self.buffer.len() + self.head(), 0);
        Ok(full)
    }

    /// Bytes before the payload of a frame.
    fn head(&self) -> usize {
        if self.band == Band::None { 0 } else { 5 }
    }

    /// Writes the head of the open frame, now that its length is known.
    fn close(&mut self) {
        let Some(start) = self.frame.take() else { return };
        let payload = self.buffer.len() - start - self.head();
        if payload == 0 {
            self.buffer.truncate(start);
        } else if self.band != Band::None {
            self.buffer[start..start + 4].copy_from_slice(&pktline::header(payload + 1));
            self.buffer[start + 4] = 1;
        }
    }

    /// Hands what was gathered to the output.
    ///
    /// # Errors
    /// When the output fails.
    pub fn push_out(&mut self) -> io::Result<()> {
        self.close();
        self.out.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Ends the stream with a flush packet (none without channels).
    ///
    /// # Errors
    /// When the output fails.
    pub fn finish(mut self) -> io::Result<u64> {
        self.close();
        if self.band != Band::None {
            self.buffer.extend_from_slice(pktline::FLUSH);
        }
        self.push_out()?;
        self.out.flush()?;
        Ok(self.written)
    }
}

#[cfg(test)]
mod tests;
