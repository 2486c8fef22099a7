//! Requests of pushes.
#![cfg_attr(feature = "libfuzzer", no_main)]

use git::receive_pack::{Report, parse, write_refusal};
use model::{ObjectFormat, limits::Limits};

pub(crate) fn run(bytes: &[u8]) {
    for format in ObjectFormat::all() {
        read(bytes, *format);
    }
}

fn read(bytes: &[u8], format: ObjectFormat) {
    match parse(&mut &*bytes, format, &Limits::default()) {
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
