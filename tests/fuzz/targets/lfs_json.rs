//! The JSON of the LFS API; the first byte chooses which.
#![cfg_attr(feature = "libfuzzer", no_main)]

pub(crate) fn run(bytes: &[u8]) {
    gateway::fuzzing::lfs_json(bytes);
}

#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
