//! Requests of pushes.

#![no_main]

use git::receive_pack::{Report, parse, write_refusal};
use libfuzzer_sys::fuzz_target;
use model::limits::Limits;

fuzz_target!(|data: &[u8]| {
    match parse(&mut &*data, &Limits::default()) {
        Ok(Some(request)) => {
            let _ = Report::all(&request, Ok(()), "no").encode(&request);
        }
        Ok(None) => {}
        Err(refusal) => {
            let _ = write_refusal(&refusal, &mut Vec::new());
        }
    }
});
