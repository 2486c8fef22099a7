//! Making deltas: what of an object can be copied from another one.
//!
//! Blocks of the base are remembered by a hash; the target is scanned for them, and what matches is extended both ways.
//! Good enough for a file and its previous version, which is all that it is used for; `git repack` does better and takes its time.

/// Length of the blocks that are looked for.
const BLOCK: usize = 16;

/// Longest copy of one instruction.
const MAX_COPY: usize = 0x1_0000;

/// Longest literal of one instruction.
const MAX_LITERAL: usize = 0x7f;

/// A delta that makes `target` out of `base`; `None` when it would be longer than `most` bytes.
pub(crate) fn encode(base: &[u8], target: &[u8], most: usize) -> Option<Vec<u8>> {
    // Offsets have 32 bits.
    if base.len() < BLOCK || u32::try_from(base.len()).is_err() {
        return None;
    }
    let table = Table::of(base);
    let mut out = Vec::with_capacity(256);
    push_size(&mut out, base.len());
    push_size(&mut out, target.len());
    let (mut at, mut literal) = (0, 0);
    while at + BLOCK <= target.len() {
        let Some(found) = table.find(base, &target[at..at + BLOCK]) else {
            at += 1;
            continue;
        };
        let forward = same(&base[found + BLOCK..], &target[at + BLOCK..]);
        let backward = same_backwards(&base[..found], &target[literal..at]);
        let (from, start, length) = (found - backward, at - backward, backward + BLOCK + forward);
        push_literal(&mut out, &target[literal..start]);
        push_copy(&mut out, from, length);
        at = start + length;
        literal = at;
        if out.len() > most {
            return None;
        }
    }
    push_literal(&mut out, &target[literal..]);
    (out.len() <= most).then_some(out)
}

/// Where blocks of the base begin, by hash.
struct Table {
    slots: Vec<u32>,
    shift: u32,
}

impl Table {
    fn of(base: &[u8]) -> Self {
        let blocks = base.len() / BLOCK;
        let bits = (blocks * 2).next_power_of_two().trailing_zeros().clamp(4, 24);
        let mut table = Self { slots: vec![u32::MAX; 1 << bits], shift: 64 - bits };
        // From the end: of blocks that are alike the first one stays, from which most can follow.
        for number in (0..blocks).rev() {
            let start = number * BLOCK;
            let slot = table.slot(&base[start..start + BLOCK]);
            table.slots[slot] = u32::try_from(start).unwrap_or(u32::MAX);
        }
        table
    }

    fn slot(&self, block: &[u8]) -> usize {
        let half = |at: usize| block[at..at + 8].iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        let mixed = half(0).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ half(8).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        let hash = (mixed ^ mixed >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        usize::try_from(hash >> self.shift).unwrap_or(0)
    }

    fn find(&self, base: &[u8], block: &[u8]) -> Option<usize> {
        let start = usize::try_from(self.slots[self.slot(block)]).ok()?;
        (base.get(start..start.checked_add(BLOCK)?)? == block).then_some(start)
    }
}

/// How many bytes are the same from the beginning.
fn same(left: &[u8], right: &[u8]) -> usize {
    // By pieces, which the compiler compares in a few instructions each.
    let pieces =
        left.chunks_exact(64).zip(right.chunks_exact(64)).take_while(|(left, right)| left == right).count() * 64;
    pieces + left[pieces..].iter().zip(&right[pieces..]).take_while(|(left, right)| left == right).count()
}

/// How many bytes are the same from the end.
fn same_backwards(left: &[u8], right: &[u8]) -> usize {
    left.iter().rev().zip(right.iter().rev()).take_while(|(left, right)| left == right).count()
}

fn push_size(out: &mut Vec<u8>, mut size: usize) {
    while size >= 0x80 {
        out.push(size.to_le_bytes()[0] | 0x80);
        size >>= 7;
    }
    out.push(size.to_le_bytes()[0]);
}

fn push_literal(out: &mut Vec<u8>, bytes: &[u8]) {
    for part in bytes.chunks(MAX_LITERAL) {
        out.push(part.len().to_le_bytes()[0]);
        out.extend_from_slice(part);
    }
}

fn push_copy(out: &mut Vec<u8>, mut from: usize, mut length: usize) {
    while length > 0 {
        let now = length.min(MAX_COPY);
        let command = out.len();
        out.push(0x80);
        let size = if now == MAX_COPY { 0 } else { now };
        let fields = from.to_le_bytes()[..4].iter().chain(&size.to_le_bytes()[..3]).copied().collect::<Vec<_>>();
        for (bit, byte) in fields.into_iter().enumerate().filter(|(_, byte)| *byte != 0) {
            out[command] |= 1 << bit;
            out.push(byte);
        }
        from += now;
        length -= now;
    }
}

#[cfg(test)]
mod tests;
