//! Requests of pushes.
#![cfg_attr(feature = "libfuzzer", no_main)]

use git::receive_pack::{Report, parse, write_refusal};
use model::limits::Limits;

pub(crate) fn run(bytes: &[u8]) {
    match parse(&mut &*bytes, &Limits::default()) {
        Ok(Some(request)) => {
            let _ = Report::all(&request, Ok(()), "no").encode(&request);
        }
        Ok(None) => {}
        Err(refusal) => {
            let _ = write_refusal(&refusal, &mut Vec::new());
        }
    }
}

#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
