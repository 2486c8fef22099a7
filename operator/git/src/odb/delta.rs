//! Deltas: instructions that make an object out of another one ([gitformat-pack]).
//!
//! [gitformat-pack]: https://git-scm.com/docs/gitformat-pack#_deltified_representation

/// Greatest object that is made from a delta. Ingest refuses much smaller ones; this keeps damage from eating the memory.
const MAX_RESULT: u64 = 4 << 30;

/// Sizes at the head of a delta: of the base, of the result, and the bytes that they take.
pub(crate) fn sizes(delta: &[u8]) -> Option<(u64, u64, usize)> {
    let (base, first) = size(delta)?;
    let (result, second) = size(&delta[first..])?;
    Some((base, result, first + second))
}

/// One size, seven bits in a byte, least significant first.
fn size(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// Applies `delta` to `base` into `out`; `None` when the delta is damaged or of another base.
pub(crate) fn apply(base: &[u8], delta: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (base_size, result_size, head) = sizes(delta)?;
    if base_size != base.len() as u64 || result_size > MAX_RESULT {
        return None;
    }
    let result_size = usize::try_from(result_size).ok()?;
    out.clear();
    out.try_reserve_exact(result_size).ok()?;
    let mut rest = &delta[head..];
    while let Some((command, after)) = rest.split_first() {
        rest = after;
        let bytes = if command & 0x80 != 0 {
            let (from, length) = copy_range(*command, &mut rest)?;
            base.get(from..from.checked_add(length)?)?
        } else if *command == 0 {
            return None;
        } else {
            let (literal, after) = rest.split_at_checked(usize::from(*command))?;
            rest = after;
            literal
        };
        if out.len() + bytes.len() > result_size {
            return None;
        }
        out.extend_from_slice(bytes);
    }
    (out.len() == result_size).then_some(())
}

/// Offset and length of a copy instruction; each bit of the command announces one byte of them.
fn copy_range(command: u8, rest: &mut &[u8]) -> Option<(usize, usize)> {
    let mut field = |bits: std::ops::Range<u8>| {
        let mut value = 0_usize;
        for (place, bit) in bits.enumerate() {
            if command & (1 << bit) != 0 {
                let (byte, after) = rest.split_first()?;
                *rest = after;
                value |= usize::from(*byte) << (8 * place);
            }
        }
        Some(value)
    };
    let from = field(0..4)?;
    let length = field(4..7)?;
    Some((from, if length == 0 { 0x1_0000 } else { length }))
}
