//! What is known of every entry, column by column: some fifty bytes per object.

use gix::{ObjectId, objs::Kind};

use super::{IngestError, arena::Arena};

/// In [`Table::parents`]: a whole object.
pub(super) const WHOLE: u32 = u32::MAX;
/// In [`Table::parents`]: a delta whose base is named, see [`Table::by_name`].
pub(super) const BY_NAME: u32 = u32::MAX - 1;

/// Bytes of small inflated deltas that are kept: each is needed exactly once more.
const DELTA_BUDGET: usize = 96 << 20;
/// Bytes of small whole objects that are kept: some are bases.
const BASE_BUDGET: usize = 32 << 20;

/// A delta whose base is named.
pub(super) struct ByName {
    pub(super) base: ObjectId,
    pub(super) entry: u32,
}

/// One entry as the first pass saw it.
pub(super) struct Row {
    pub(super) offset: u64,
    pub(super) header_len: u8,
    pub(super) size: u64,
    pub(super) parent: u32,
    pub(super) kind: Kind,
    pub(super) id: ObjectId,
    pub(super) crc32: u32,
}

/// All entries in pack order.
pub(super) struct Table {
    pub(super) offsets: Vec<u64>,
    pub(super) header_lens: Vec<u8>,
    /// Inflated sizes of the entries' own data.
    pub(super) sizes: Vec<u64>,
    pub(super) parents: Vec<u32>,
    /// Meaningless for deltas until they are resolved.
    pub(super) kinds: Vec<Kind>,
    /// Null for deltas until they are resolved.
    pub(super) ids: Vec<ObjectId>,
    pub(super) crc32s: Vec<u32>,
    pub(super) by_name: Vec<ByName>,
    pub(super) deltas_len: usize,
    /// Where the trailer begins.
    pub(super) end: u64,
    kept_at: Vec<u32>,
    kept_deltas: Arena,
    kept_bases: Arena,
}

impl Table {
    /// An empty table.
    pub(super) fn new() -> Self {
        Self {
            offsets: Vec::new(),
            header_lens: Vec::new(),
            sizes: Vec::new(),
            parents: Vec::new(),
            kinds: Vec::new(),
            ids: Vec::new(),
            crc32s: Vec::new(),
            by_name: Vec::new(),
            deltas_len: 0,
            end: 0,
            kept_at: Vec::new(),
            kept_deltas: Arena::new(DELTA_BUDGET),
            kept_bases: Arena::new(BASE_BUDGET),
        }
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Adds an entry; its inflated `data` is kept when the budget allows.
    pub(super) fn push(&mut self, row: &Row, data: &[u8]) {
        let Row { offset, header_len, size, parent, kind, id, crc32 } = *row;
        self.offsets.push(offset);
        self.header_lens.push(header_len);
        self.sizes.push(size);
        self.parents.push(parent);
        self.kinds.push(kind);
        self.ids.push(id);
        self.crc32s.push(crc32);
        let arena = if parent == WHOLE {
            &mut self.kept_bases
        } else {
            self.deltas_len += 1;
            &mut self.kept_deltas
        };
        self.kept_at.push(arena.keep(data));
    }

    /// The inflated data of an entry, if it was kept.
    pub(super) fn kept(&self, entry: u32) -> Option<&[u8]> {
        let entry = entry as usize;
        let arena = if self.parents[entry] == WHOLE { &self.kept_bases } else { &self.kept_deltas };
        arena.get(self.kept_at[entry], usize::try_from(self.sizes[entry]).ok()?)
    }

    /// Where the compressed data of an entry lies in the pack file.
    pub(super) fn span(&self, entry: u32) -> (u64, u64) {
        let entry = entry as usize;
        let end = self.offsets.get(entry + 1).copied().unwrap_or(self.end);
        (self.offsets[entry] + u64::from(self.header_lens[entry]), end)
    }

    /// Drops what was kept for the second pass.
    pub(super) fn forget_kept(&mut self) {
        self.kept_at.fill(super::arena::ABSENT);
        self.kept_deltas = Arena::new(0);
        self.kept_bases = Arena::new(0);
    }

    /// The entries in order of their names; refuses names that come twice.
    pub(super) fn sorted_by_id(&self) -> Result<Vec<u32>, IngestError> {
        let mut order: Vec<u32> = (0..u32::try_from(self.len()).unwrap_or(u32::MAX)).collect();
        order.sort_unstable_by(|a, b| self.ids[*a as usize].cmp(&self.ids[*b as usize]));
        for pair in order.windows(2) {
            let id = self.ids[pair[0] as usize];
            if id == self.ids[pair[1] as usize] {
                return Err(IngestError::Duplicate(id));
            }
        }
        Ok(order)
    }

    /// The position in `order` of the object called `id`.
    pub(super) fn position(&self, order: &[u32], id: &gix::oid) -> Option<usize> {
        order.binary_search_by(|entry| self.ids[*entry as usize].as_ref().cmp(id)).ok()
    }
}
