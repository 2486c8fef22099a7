//! zlib streams of entries, from the client and from quarantine, without trusting the sizes they claim.

use sirocco::{
    Format,
    inflate::{Decoder, Error},
};

use super::{IngestError, Quarantine, source::Source};

/// Buffers grow to more than this only as data arrives.
const TRUSTED_BYTES: usize = 1 << 20;

/// Pieces in which large streams are handled.
const PIECE_BYTES: usize = 1 << 18;

const ENDS: &str = "within an object";
const LONGER: &str = "an object is longer than its header says";
const SHORTER: &str = "an object is shorter than its header says";
const BROKEN: &str = "the compressed data of an object is broken";

/// A decoder and its scratch space, reused across entries.
pub(super) struct Inflate {
    decoder: Box<Decoder>,
    piece: Vec<u8>,
}

impl Default for Inflate {
    fn default() -> Self {
        Self { decoder: Box::new(Decoder::new(Format::Zlib)), piece: Vec::new() }
    }
}

impl Inflate {
    /// Consumes one stream of `size` inflated bytes and answers with them; `scratch` holds them and is reused.
    pub(super) fn whole<'b>(
        &mut self,
        source: &mut Source<'_>,
        size: u64,
        scratch: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], IngestError> {
        let offset = source.offset();
        let malformed = |what| IngestError::Malformed { offset, what };
        let size = usize::try_from(size).map_err(|_| malformed("absurd size of an object"))?;
        if scratch.len() < size.min(TRUSTED_BYTES) {
            scratch.resize(size.min(TRUSTED_BYTES), 0);
        }
        let room = scratch.len().min(size);
        // Nearly every stream lies in the buffer already, and this is the decoder's fast loop.
        self.decoder.reset();
        match self.decoder.decompress(source.available(), &mut scratch[..room], true) {
            Ok(progress) if progress.done => {
                let (consumed, len) = (progress.consumed, progress.output.len());
                source.consume(consumed)?;
                return if len == size { Ok(&scratch[..size]) } else { Err(malformed(SHORTER)) };
            }
            Ok(_) | Err(Error::Truncated) => {}
            Err(_) => return Err(malformed(BROKEN)),
        }
        self.by_pieces(source, size, scratch, &malformed)?;
        Ok(&scratch[..size])
    }

    fn by_pieces(
        &mut self,
        source: &mut Source<'_>,
        size: usize,
        scratch: &mut Vec<u8>,
        malformed: &dyn Fn(&'static str) -> IngestError,
    ) -> Result<(), IngestError> {
        self.decoder.reset();
        loop {
            let room = scratch.len().min(size);
            let (consumed, done, full) = match self.decoder.decompress(source.available(), &mut scratch[..room], false)
            {
                Ok(progress) => (progress.consumed, progress.done, progress.full),
                Err(Error::BufferFull) if room < size => (0, false, true),
                Err(Error::BufferFull) => return Err(malformed(LONGER)),
                Err(_) => return Err(malformed(BROKEN)),
            };
            source.consume(consumed)?;
            if done {
                return if self.decoder.total_out() == size as u64 { Ok(()) } else { Err(malformed(SHORTER)) };
            }
            if full && room < size {
                scratch.resize(size.min(scratch.len().saturating_mul(2)), 0);
            } else if source.available().is_empty() {
                source.refill(ENDS)?;
            }
        }
    }

    /// Consumes one stream of `size` inflated bytes, handing them to `sink` in pieces: for blobs too large to hold.
    pub(super) fn streamed(
        &mut self,
        source: &mut Source<'_>,
        size: u64,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), IngestError> {
        let offset = source.offset();
        let malformed = |what| IngestError::Malformed { offset, what };
        self.piece.resize(PIECE_BYTES, 0);
        self.decoder.reset();
        loop {
            let progress =
                self.decoder.decompress(source.available(), &mut self.piece, false).map_err(|_| malformed(BROKEN))?;
            sink(progress.output);
            let (consumed, done, full) = (progress.consumed, progress.done, progress.full);
            source.consume(consumed)?;
            if self.decoder.total_out() > size {
                return Err(malformed(LONGER));
            }
            if done {
                return if self.decoder.total_out() == size { Ok(()) } else { Err(malformed(SHORTER)) };
            }
            if full {
                self.decoder.make_room(&mut self.piece);
            } else if source.available().is_empty() {
                source.refill(ENDS)?;
            }
        }
    }

    /// Reads back the stream at `start..end` of the pack, which the first pass found to be sound.
    pub(super) fn again(
        &mut self,
        quarantine: &Quarantine,
        (start, end): (u64, u64),
        size: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), IngestError> {
        let changed = || IngestError::Write(std::io::Error::other("the pack in quarantine changed"));
        let size = usize::try_from(size).map_err(|_| changed())?;
        out.resize(size, 0);
        self.decoder.reset();
        let mut at = start;
        loop {
            let count = usize::try_from(end - at).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
            if self.piece.len() < count {
                self.piece.resize(count, 0);
            }
            quarantine.read_exact_at(&mut self.piece[..count], at).map_err(IngestError::Write)?;
            at += count as u64;
            let last = at == end;
            // Only the one-piece case may say "end of input" at once: that is the decoder's fast loop.
            let progress = self.decoder.decompress(&self.piece[..count], out, last).map_err(|_| changed())?;
            if progress.done {
                return Ok(());
            }
            if last {
                return Err(changed());
            }
        }
    }
}
