//! Arguments of `git archive --remote`.
#![cfg_attr(feature = "libfuzzer", no_main)]

use git::archive;

pub(crate) fn run(bytes: &[u8]) {
    let _ = archive::parse(&mut &*bytes);
}

#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
