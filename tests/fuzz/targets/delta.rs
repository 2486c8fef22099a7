//! Deltas: each entry of the pack is well compressed and its checksum right, so that what they say is looked at. What is accepted can be
//! read back.
#![cfg_attr(feature = "libfuzzer", no_main)]

use std::io::Write as _;
use std::sync::atomic::AtomicBool;

use flate2::{Compression, write::ZlibEncoder};
use git::{
    existing::Nothing,
    ingest::{Context, Quarantine, ingest},
    odb::{PackParts, Packs, ReadCache},
};
use model::ObjectFormat;
use model::limits::Limits;

/// Appends an entry: a blob, or a delta on the entry before.
fn entry(pack: &mut Vec<u8>, content: &[u8], base: Option<usize>) {
    let kind = if base.is_some() { 6 } else { 3 };
    let (mut size, mut byte) = (content.len() >> 4, (kind << 4) | u8::try_from(content.len() & 15).expect("four bits"));
    while size > 0 {
        pack.push(byte | 0x80);
        byte = u8::try_from(size & 127).expect("seven bits");
        size >>= 7;
    }
    pack.push(byte);
    if let Some(mut distance) = base {
        let mut digits = vec![u8::try_from(distance & 127).expect("seven bits")];
        distance >>= 7;
        while distance > 0 {
            distance -= 1;
            digits.push(0x80 | u8::try_from(distance & 127).expect("seven bits"));
            distance >>= 7;
        }
        pack.extend(digits.into_iter().rev());
    }
    let mut encoder = ZlibEncoder::new(pack, Compression::fast());
    encoder.write_all(content).expect("memory takes everything");
    encoder.finish().expect("memory takes everything");
}

pub(crate) fn run(bytes: &[u8]) {
    // Entries are divided by a byte that deltas can do without.
    let parts: Vec<&[u8]> = bytes.split(|byte| *byte == 0xfe).take(32).collect();
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    pack.extend(u32::try_from(parts.len()).expect("few").to_be_bytes());
    let mut before = None;
    for part in parts {
        let at = pack.len();
        entry(&mut pack, part, before.map(|before| at - before));
        before = Some(at);
    }
    let format = ObjectFormat::Sha1;
    let mut hasher = gix::hash::hasher(format);
    hasher.update(&pack);
    let Ok(checksum) = hasher.try_finalize() else { return };
    pack.extend_from_slice(checksum.as_slice());
    let mut quarantine = Quarantine::new(&std::env::temp_dir());
    let limits = Limits { object_bytes: 1 << 20, inflated_bytes: 1 << 22, ..Limits::default() };
    let never = AtomicBool::new(false);
    let context = Context { format, limits: &limits, existing: &Nothing, interrupt: &never };
    let taken = ingest(&mut pack.as_slice(), &mut quarantine, &context, &mut |_| {});
    let Ok(taken) = taken else { return };
    let parts = PackParts { pack: taken.pack, index: taken.index, exact: false, arriving: None };
    let packs = Packs::open(&[parts]).expect("it opens");
    let (mut buffer, mut cache) = (Vec::new(), ReadCache::new(1 << 20));
    for (id, _, _) in packs.packs()[0].iter() {
        packs.get(&id, &mut buffer, &mut cache).expect("it can be read");
    }
}

#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
