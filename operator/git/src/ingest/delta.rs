//! Deltas: copies from a base and bytes of their own (`gitformat-pack`, "Deltified representation").

/// Results above this are allocated only after the instructions were found to produce them.
const PROVE_ABOVE: usize = 1 << 20;

/// The two sizes at the start of a delta and where the instructions begin.
pub(super) struct Sizes {
    pub(super) base: u64,
    pub(super) result: u64,
    start: usize,
}

/// Reads the sizes of base and result.
pub(super) fn sizes(delta: &[u8]) -> Result<Sizes, &'static str> {
    let (base, first) = varint(delta)?;
    let (result, second) = varint(&delta[first..])?;
    Ok(Sizes { base, result, start: first + second })
}

/// Applies `delta` to `base` into `out`, which is cleared first. The result's size was checked against the limits by
/// the caller, from [`sizes`].
pub(super) fn apply(base: &[u8], delta: &[u8], sizes: &Sizes, out: &mut Vec<u8>) -> Result<(), &'static str> {
    if sizes.base != base.len() as u64 {
        return Err("a delta is for a base of another size");
    }
    let size = usize::try_from(sizes.result).map_err(|_| "absurd size of a delta's result")?;
    let instructions = &delta[sizes.start..];
    if size > PROVE_ABOVE && produced(instructions)? != sizes.result {
        return Err("a delta does not make what it claims");
    }
    out.clear();
    out.reserve_exact(size);
    let mut rest = instructions;
    while let Some((&code, tail)) = rest.split_first() {
        rest = tail;
        let part = if code & 128 != 0 {
            let (at, len) = copy_of(code, &mut rest)?;
            base.get(at..at + len).ok_or("a delta copies from outside of its base")?
        } else {
            own_bytes(code, &mut rest)?
        };
        if part.len() > size - out.len() {
            return Err("a delta makes more than it claims");
        }
        out.extend_from_slice(part);
    }
    if out.len() == size { Ok(()) } else { Err("a delta makes less than it claims") }
}

/// How many bytes the instructions make.
fn produced(mut rest: &[u8]) -> Result<u64, &'static str> {
    let mut total = 0_u64;
    while let Some((&code, tail)) = rest.split_first() {
        rest = tail;
        let len = if code & 128 != 0 { copy_of(code, &mut rest)?.1 } else { own_bytes(code, &mut rest)?.len() };
        total += len as u64;
    }
    Ok(total)
}

fn own_bytes<'a>(code: u8, rest: &mut &'a [u8]) -> Result<&'a [u8], &'static str> {
    if code == 0 {
        return Err("a delta has an instruction of code 0");
    }
    let (bytes, tail) = rest.split_at_checked(usize::from(code)).ok_or("a delta ends within an insertion")?;
    *rest = tail;
    Ok(bytes)
}

fn copy_of(code: u8, rest: &mut &[u8]) -> Result<(usize, usize), &'static str> {
    let mut value = [0_usize; 7];
    for (bit, slot) in value.iter_mut().enumerate() {
        if code & (1 << bit) != 0 {
            let (&byte, tail) = rest.split_first().ok_or("a delta ends within a copy")?;
            *slot = usize::from(byte);
            *rest = tail;
        }
    }
    let at = value[0] | value[1] << 8 | value[2] << 16 | value[3] << 24;
    let len = value[4] | value[5] << 8 | value[6] << 16;
    Ok((at, if len == 0 { 0x1_0000 } else { len }))
}

fn varint(bytes: &[u8]) -> Result<(u64, usize), &'static str> {
    let mut value = 0_u64;
    for (position, &byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 127) << (7 * position);
        if byte & 128 == 0 {
            return Ok((value, position + 1));
        }
    }
    Err("a delta has no sizes")
}
