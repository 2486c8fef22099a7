//! Small inflated entries kept for the second pass, within a budget of bytes.

/// Bytes per chunk; a kept entry never crosses chunks.
const CHUNK_BYTES: usize = 1 << 22;

/// Entries larger than this are inflated again when needed: they are few, and would eat the budget.
const ENTRY_BYTES: usize = 1 << 16;

/// Not kept.
pub(super) const ABSENT: u32 = u32::MAX;

/// Append-only storage that stops taking when its budget is spent.
pub(super) struct Arena {
    chunks: Vec<Vec<u8>>,
    chunks_max: usize,
}

impl Arena {
    /// An arena of at most `budget` bytes, rounded to chunks.
    pub(super) fn new(budget: usize) -> Self {
        Self { chunks: Vec::new(), chunks_max: budget / CHUNK_BYTES }
    }

    /// Keeps a copy and says where, or [`ABSENT`] when it does not take it.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> u32 {
        if bytes.len() > ENTRY_BYTES {
            return ABSENT;
        }
        let room = self.chunks.last().map_or(0, |chunk| CHUNK_BYTES - chunk.len());
        if room < bytes.len() {
            if self.chunks.len() == self.chunks_max {
                return ABSENT;
            }
            self.chunks.push(Vec::new());
        }
        let number = self.chunks.len().saturating_sub(1);
        let Some(chunk) = self.chunks.last_mut() else { return ABSENT };
        let at = number * CHUNK_BYTES + chunk.len();
        chunk.extend_from_slice(bytes);
        u32::try_from(at).unwrap_or(ABSENT)
    }

    /// The `len` bytes kept at `at`, if any.
    pub(super) fn get(&self, at: u32, len: usize) -> Option<&[u8]> {
        if at == ABSENT {
            return None;
        }
        let at = at as usize;
        let start = at % CHUNK_BYTES;
        self.chunks.get(at / CHUNK_BYTES)?.get(start..start + len)
    }
}
