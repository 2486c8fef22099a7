//! Log entries: any bytes are an entry or an error, never a panic; what is an entry can be written again and says the same.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest as _, Sha256};
use store::entry::Entry;

fuzz_target!(|bytes: &[u8]| {
    let _ = Entry::decode(&Bytes::copy_from_slice(bytes));
    // A digest that fits lets the fuzzer past the first check.
    let sealed: Vec<u8> = bytes.iter().copied().chain(Sha256::digest(bytes)).collect();
    if let Ok(read) = Entry::decode(&Bytes::from(sealed)) {
        let (again, digest) = read.entry.encode(&read.payload);
        let read_again = Entry::decode(&again).expect("because an entry of ours can be read");
        assert_eq!((read_again.entry, read_again.payload, read_again.digest), (read.entry, read.payload, digest));
    }
});
