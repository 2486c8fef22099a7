//! pkt-lines: never a panic, never more memory than one packet, and what was read can be written again.
#![cfg_attr(feature = "libfuzzer", no_main)]

use git::pktline::{Packet, ReadLimits, Reader, push};

pub(crate) fn run(bytes: &[u8]) {
    let mut input = bytes;
    let mut reader = Reader::new(&mut input, ReadLimits { packets: 1_000, bytes: 1 << 20 });
    let mut again = Vec::new();
    while let Ok(Some(packet)) = reader.read() {
        match packet {
            Packet::Data(data) => push(&mut again, &[data]),
            Packet::Flush => again.extend_from_slice(b"0000"),
            Packet::Delimiter => again.extend_from_slice(b"0001"),
            Packet::ResponseEnd => again.extend_from_slice(b"0002"),
        }
    }
    assert!(bytes.to_ascii_lowercase().starts_with(&again.to_ascii_lowercase()));
}

#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
