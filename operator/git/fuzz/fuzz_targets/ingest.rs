//! Packs: the checksum is made right, so that damage gets past it.

#![no_main]

use std::sync::atomic::AtomicBool;

use git::{existing::Nothing, ingest::ingest};
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
    let limits = Limits { object_bytes: 1 << 20, inflated_bytes: 1 << 22, ..Limits::default() };
    let _ = ingest(&mut pack.as_slice(), dir.path(), &limits, &Nothing, &mut |_| {}, &AtomicBool::new(false));
});
