//! The command of an SSH client.
#![cfg_attr(feature = "libfuzzer", no_main)]

pub(crate) fn run(bytes: &[u8]) {
    gateway::fuzzing::exec_line(bytes);
}

#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
