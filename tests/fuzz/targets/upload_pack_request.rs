//! Requests for objects: never a panic, and a refusal is always one line.
#![cfg_attr(feature = "libfuzzer", no_main)]

use git::{client::Client, pktline, upload_pack};
use model::ObjectFormat;

pub(crate) fn run(bytes: &[u8]) {
    let mut client = Client::default();
    let refusals = [
        upload_pack::parse_v2(&mut &*bytes, ObjectFormat::Sha256, &mut client).err(),
        upload_pack::parse_v0(&mut &*bytes, ObjectFormat::Sha1, &mut client).err(),
    ];
    assert!(client.session_id.is_none_or(|id| id.bytes().all(|byte| byte.is_ascii_graphic())));
    for refusal in refusals.into_iter().flatten() {
        let line = pktline::error_line(&refusal.to_string());
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    }
}

#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
