//! pkt-lines: the framing of every Git conversation ([gitprotocol-common]).
//!
//! Reading is bounded in packets and bytes, because what is read comes from anybody; writing goes to a `Vec` or any `Write`.
//! Not here: what the lines mean.
//!
//! [gitprotocol-common]: https://git-scm.com/docs/gitprotocol-common

use std::io::{self, BufRead, Write};

/// Longest packet, its four bytes of length included.
pub const MAX_PACKET: usize = 65_520;

/// Longest payload of one packet.
pub const MAX_PAYLOAD: usize = MAX_PACKET - 4;

/// The flush packet, the end of a message.
pub const FLUSH: &[u8] = b"0000";

/// The delimiter packet, the end of a section (protocol v2).
pub const DELIMITER: &[u8] = b"0001";

/// One packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A payload, as sent (a final line feed is still there, see [`text`]).
    Data(&'a [u8]),
    /// `0000`
    Flush,
    /// `0001`
    Delimiter,
    /// `0002`
    ResponseEnd,
}

/// Why no packet could be read.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// The four bytes of length are not what they should be.
    #[error("the request is not made of pkt-lines: bad length {0:?}")]
    Length(String),
    /// The input ends inside a packet.
    #[error("the request ends in the middle of a pkt-line")]
    Truncated,
    /// The request has too many packets or bytes.
    #[error("the request is too long: more than {0}")]
    TooLong(String),
    /// The input failed.
    #[error("failed to read the request")]
    Io(#[source] io::Error),
}

/// How much a reader accepts.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// Packets in all.
    pub packets: u64,
    /// Bytes in all.
    pub bytes: u64,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self { packets: 500_000, bytes: 64 << 20 }
    }
}

/// Reads packets from an input; what comes after the last one read stays in the input.
pub struct Reader<'a> {
    input: &'a mut dyn BufRead,
    buffer: Vec<u8>,
    limits: ReadLimits,
    packets: u64,
    bytes: u64,
}

impl<'a> Reader<'a> {
    /// A reader of `input` that stops at `limits`.
    pub fn new(input: &'a mut dyn BufRead, limits: ReadLimits) -> Self {
        Self { input, buffer: Vec::new(), limits, packets: 0, bytes: 0 }
    }

    /// The next packet, or `None` when the input ends between two packets.
    ///
    /// # Errors
    /// When the input is not a packet, ends early, fails, or is longer than the limits.
    pub fn read(&mut self) -> Result<Option<Packet<'_>>, PacketError> {
        let Some(head) = self.length()? else { return Ok(None) };
        self.packets += 1;
        if self.packets > self.limits.packets {
            return Err(PacketError::TooLong(format!("{} lines", self.limits.packets)));
        }
        let length = decode_length(head)?;
        let payload = match length {
            0 => return Ok(Some(Packet::Flush)),
            1 => return Ok(Some(Packet::Delimiter)),
            2 => return Ok(Some(Packet::ResponseEnd)),
            length => length - 4,
        };
        self.bytes += length as u64;
        if self.bytes > self.limits.bytes {
            return Err(PacketError::TooLong(format!("{} bytes", self.limits.bytes)));
        }
        self.buffer.resize(payload, 0);
        self.input.read_exact(&mut self.buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => PacketError::Truncated,
            _ => PacketError::Io(error),
        })?;
        Ok(Some(Packet::Data(&self.buffer)))
    }

    /// The four bytes of length, or `None` at the end of the input.
    fn length(&mut self) -> Result<Option<[u8; 4]>, PacketError> {
        let mut head = [0; 4];
        let mut have = 0;
        while have < 4 {
            match self.input.read(&mut head[have..]) {
                Ok(0) if have == 0 => return Ok(None),
                Ok(0) => return Err(PacketError::Truncated),
                Ok(read) => have += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(PacketError::Io(error)),
            }
        }
        Ok(Some(head))
    }

    /// The input behind the packets read so far, such as the pack of a push.
    #[must_use]
    pub fn into_input(self) -> &'a mut dyn BufRead {
        self.input
    }
}

/// Decodes the length of a packet: 0, 1, 2 for the special ones, else 4 to [`MAX_PACKET`].
pub(crate) fn decode_length(head: [u8; 4]) -> Result<usize, PacketError> {
    let bad = || PacketError::Length(String::from_utf8_lossy(&head).into_owned());
    let mut length = 0;
    for byte in head {
        let digit = char::from(byte).to_digit(16).ok_or_else(bad)?;
        length = length * 16 + digit as usize;
    }
    match length {
        3 => Err(bad()),
        length if length > MAX_PACKET => Err(bad()),
        length => Ok(length),
    }
}

/// A payload without the line feed that may end it.
#[must_use]
pub fn text(payload: &[u8]) -> &[u8] {
    payload.strip_suffix(b"\n").unwrap_or(payload)
}

/// The four bytes before a payload of `payload` bytes (at most [`MAX_PAYLOAD`]).
#[must_use]
pub fn header(payload: usize) -> [u8; 4] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    debug_assert!(payload <= MAX_PAYLOAD, "callers split what is longer");
    let length = payload + 4;
    [DIGITS[length >> 12 & 15], DIGITS[length >> 8 & 15], DIGITS[length >> 4 & 15], DIGITS[length & 15]]
}

/// Appends one packet made of `parts` to `out`; what is longer than a packet can be is cut.
pub fn push(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let length = parts.iter().map(|part| part.len()).sum::<usize>().min(MAX_PAYLOAD);
    out.extend_from_slice(&header(length));
    let mut left = length;
    for part in parts {
        let take = part.len().min(left);
        out.extend_from_slice(&part[..take]);
        left -= take;
    }
}

/// Writes one packet.
///
/// # Errors
/// When `out` fails.
pub fn write(out: &mut dyn Write, payload: &[u8]) -> io::Result<()> {
    let mut line = Vec::with_capacity(payload.len() + 4);
    push(&mut line, &[payload]);
    out.write_all(&line)
}

/// The packet that tells a client why it gets nothing: `ERR <message>`, in one line.
#[must_use]
pub fn error_line(message: &str) -> Vec<u8> {
    let mut line = Vec::new();
    let mut message = message.replace(['\n', '\r', '\0'], " ");
    message.truncate(message.floor_char_boundary(900));
    push(&mut line, &[b"ERR ", message.as_bytes(), b"\n"]);
    line
}

#[cfg(test)]
mod tests;
