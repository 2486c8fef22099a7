//! Arguments of `git archive --remote`.

#![no_main]

use git::archive;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = archive::parse(&mut &*data);
});
