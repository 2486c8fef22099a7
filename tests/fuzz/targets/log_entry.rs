//! Log entries: any bytes are an entry or an error, never a panic; what is an entry can be written again and says the same.
#![cfg_attr(feature = "libfuzzer", no_main)]

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use store::entry::Entry;

pub(crate) fn run(bytes: &[u8]) {
    let _ = Entry::decode(&Bytes::copy_from_slice(bytes));
    // A digest that fits lets the fuzzer past the first check.
    let sealed = [bytes, digest(&SHA256, bytes).as_ref()].concat();
    if let Ok(read) = Entry::decode(&Bytes::from(sealed)) {
        let (again, digest) = read.entry.encode(&read.payload);
        let read_again = Entry::decode(&again).expect("because an entry of ours can be read");
        assert_eq!((read_again.entry, read_again.payload, read_again.digest), (read.entry, read.payload, digest));
    }
}

#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
