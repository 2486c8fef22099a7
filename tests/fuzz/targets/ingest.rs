//! Packs, without signature and checksum: those are made right, so that damage gets past them. What is accepted can be read back.
#![cfg_attr(feature = "libfuzzer", no_main)]

use std::sync::atomic::AtomicBool;

use git::{
    existing::Nothing,
    ingest::{Context, Quarantine, ingest},
    odb::{PackParts, Packs, ReadCache},
};
use model::ObjectFormat;
use model::limits::Limits;

pub(crate) fn run(bytes: &[u8]) {
    for format in ObjectFormat::all() {
        take(bytes, *format);
    }
}

fn take(bytes: &[u8], format: ObjectFormat) {
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    pack.extend_from_slice(bytes);
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
