//! Name and checksums of an object from its bytes, in whatever pieces these come.

use aws_lc_rs::digest::{Context, SHA256};
use model::lfs::Oid;

use super::sums::{LfsObject, chunk_bytes};

/// What was seen of an object so far.
pub(super) struct Summing {
    size: u64,
    chunk_bytes: u64,
    whole: Context,
    /// The chunk that has not ended, and its bytes.
    part: Context,
    in_part: u64,
    chunks: Vec<[u8; 32]>,
}

impl Summing {
    /// Begins with an object of this size.
    pub(super) fn new(size: u64) -> Self {
        Self {
            size,
            chunk_bytes: chunk_bytes(size),
            whole: Context::new(&SHA256),
            part: Context::new(&SHA256),
            in_part: 0,
            chunks: Vec::new(),
        }
    }

    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        self.whole.update(bytes);
        while !bytes.is_empty() {
            let room = usize::try_from(self.chunk_bytes - self.in_part).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.part.update(now);
            self.in_part += now.len() as u64;
            if self.in_part == self.chunk_bytes {
                self.end_chunk();
            }
            bytes = later;
        }
    }

    fn end_chunk(&mut self) {
        self.chunks.push(finish(std::mem::replace(&mut self.part, Context::new(&SHA256))));
        self.in_part = 0;
    }

    /// The object that it was, if it had as many bytes as it should.
    pub(super) fn finish(mut self) -> LfsObject {
        if self.in_part > 0 {
            self.end_chunk();
        }
        LfsObject::new(Oid::of(finish(self.whole)), self.size, self.chunk_bytes, self.chunks)
    }
}

fn finish(context: Context) -> [u8; 32] {
    context.finish().as_ref().try_into().expect("because SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::sha256;

    #[test]
    fn pieces_of_any_length_give_the_same_sums() {
        let content: Vec<u8> = (0..2_500_000_u32).map(|byte| (byte % 251) as u8).collect();
        let summed = |piece: usize| {
            let mut summing = Summing::new(content.len() as u64);
            content.chunks(piece).for_each(|bytes| summing.update(bytes));
            summing.finish()
        };
        let whole = summed(content.len());
        assert_eq!(*whole.oid().as_bytes(), sha256(&content));
        for (number, chunk) in (0..).zip(content.chunks(1 << 20)) {
            assert_eq!(whole.chunk(number).map(|(_, sum)| *sum), Some(sha256(chunk)));
        }
        for piece in [999, 1 << 20, (1 << 20) + 1] {
            assert_eq!(summed(piece), whole, "{piece}");
        }
    }
}
