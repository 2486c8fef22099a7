//! The client's bytes: buffered, hashed, counted and written to quarantine as they are consumed.

use std::io::BufRead;

use gix::hash::Hasher;
use model::ObjectFormat;

use super::{Context, IngestError, Quarantine};

/// Bytes of the buffer at first, and of one that was filled: many entries per refill, and a small push clears little memory.
const FIRST_BYTES: usize = 1 << 14;
const BUFFER_BYTES: usize = 1 << 18;

/// A window on the incoming pack.
pub(super) struct Source<'a> {
    input: &'a mut dyn BufRead,
    quarantine: &'a mut Quarantine,
    buffer: Vec<u8>,
    /// `buffer[written..start]` is consumed and waits to be hashed and written.
    written: usize,
    start: usize,
    end: usize,
    offset: u64,
    limit: u64,
    format: ObjectFormat,
    hash: Hasher,
    crc32: crc32fast::Hasher,
}

impl<'a> Source<'a> {
    /// At most so many bytes from `input` as the context allows, copied to `quarantine`.
    pub(super) fn new(input: &'a mut dyn BufRead, quarantine: &'a mut Quarantine, context: &Context<'_>) -> Self {
        Self {
            input,
            quarantine,
            buffer: vec![0; FIRST_BYTES],
            written: 0,
            start: 0,
            end: 0,
            offset: 0,
            limit: context.limits.pack_bytes,
            format: context.format,
            hash: gix::hash::hasher(context.format),
            crc32: crc32fast::Hasher::new(),
        }
    }

    /// Whose ids the pack has.
    pub(super) fn format(&self) -> ObjectFormat {
        self.format
    }

    /// What is buffered and not consumed.
    pub(super) fn available(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Where in the pack the next byte is.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes `count` of the available bytes.
    pub(super) fn consume(&mut self, count: usize) -> Result<(), IngestError> {
        self.crc32.update(&self.buffer[self.start..self.start + count]);
        self.start += count;
        self.offset += count as u64;
        if self.offset > self.limit {
            return Err(IngestError::Limit { what: "bytes of the pack", limit: self.limit });
        }
        Ok(())
    }

    /// The CRC-32 of what was consumed since the last call.
    pub(super) fn take_crc32(&mut self) -> u32 {
        std::mem::take(&mut self.crc32).finalize()
    }

    /// Waits for more bytes. Asked only when the pack cannot end before them, because a client that waits for our
    /// answer sends no more.
    pub(super) fn refill(&mut self, what: &'static str) -> Result<(), IngestError> {
        self.write_consumed()?;
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        self.written = 0;
        let count = self.input.read(&mut self.buffer[self.end..]).map_err(IngestError::Read)?;
        if count == 0 {
            return Err(IngestError::Truncated(what));
        }
        self.end += count;
        if self.end == self.buffer.len() && self.end < BUFFER_BYTES {
            self.buffer.resize(BUFFER_BYTES, 0);
        }
        Ok(())
    }

    /// Waits until `count` bytes are available, at most a few dozen.
    pub(super) fn require(&mut self, count: usize, what: &'static str) -> Result<&[u8], IngestError> {
        while self.available().len() < count {
            self.refill(what)?;
        }
        Ok(&self.buffer[self.start..self.start + count])
    }

    /// Reads and compares the trailer; answers with the checksum and the bytes of the whole pack.
    pub(super) fn finish(mut self) -> Result<(gix::ObjectId, u64), IngestError> {
        self.write_consumed()?;
        let actual = self.hash.clone().try_finalize().map_err(|_| IngestError::Collision)?;
        let offset = self.offset;
        let claimed = self.require(actual.as_slice().len(), "its checksum is missing")?;
        if claimed != actual.as_slice() {
            return Err(IngestError::Malformed { offset, what: "its checksum is wrong" });
        }
        self.consume(actual.as_slice().len())?;
        self.write_consumed()?;
        if !self.available().is_empty() {
            return Err(IngestError::Malformed { offset: self.offset, what: "bytes follow its end" });
        }
        Ok((actual, self.offset))
    }

    fn write_consumed(&mut self) -> Result<(), IngestError> {
        let bytes = &self.buffer[self.written..self.start];
        self.hash.update(bytes);
        self.quarantine.write_all(bytes).map_err(IngestError::Write)?;
        self.written = self.start;
        Ok(())
    }
}
