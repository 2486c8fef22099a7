//! Packs: the checksum is made right, so that damage gets past it. What is accepted can be read back.

#![no_main]

use std::sync::atomic::AtomicBool;

use git::{
    existing::Nothing,
    ingest::{Quarantine, ingest},
    odb::{PackParts, Packs, ReadCache},
};
use libfuzzer_sys::fuzz_target;
use model::limits::Limits;

fuzz_target!(|data: &[u8]| {
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    pack.extend_from_slice(data);
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(&pack);
    let Ok(checksum) = hasher.try_finalize() else { return };
    pack.extend_from_slice(checksum.as_slice());
    let Ok(dir) = tempfile::tempdir() else { return };
    let mut quarantine = Quarantine::new(dir.path());
    let limits = Limits { object_bytes: 1 << 20, inflated_bytes: 1 << 22, ..Limits::default() };
    let never = AtomicBool::new(false);
    let taken = ingest(&mut pack.as_slice(), &mut quarantine, &limits, &Nothing, &mut |_| {}, &never);
    let Ok(taken) = taken else { return };
    let packs = Packs::open(&[PackParts { pack: taken.pack, index: taken.index, exact: false, arriving: None }]).expect("it opens");
    let (mut buffer, mut cache) = (Vec::new(), ReadCache::new(1 << 20));
    for (id, _, _) in packs.packs()[0].iter() {
        packs.get(&id, &mut buffer, &mut cache).expect("it can be read");
    }
});
