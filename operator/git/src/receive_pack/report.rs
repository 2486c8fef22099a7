//! Tells the client what became of its push.

use std::io::{self, Write};

use gix::bstr::BStr;
use model::RefName;

use super::{
    Request,
    request::{Refusal, band},
};
use crate::{
    pktline::{self, FLUSH},
    sideband,
};

/// Reasons are cut after this many bytes: clients print them in one line.
const REASON_BYTES: usize = 600;

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether the pack was taken, or why not.
    pub unpack: Result<(), String>,
    /// What became of each command, in the order of the request.
    pub refs: Vec<(RefName, Result<(), String>)>,
}

impl Report {
    /// The same reason for every command.
    #[must_use]
    pub fn all(request: &Request, unpack: Result<(), String>, reason: &str) -> Self {
        let refs = request.commands.iter().map(|command| (command.name.clone(), Err(reason.to_owned())));
        Self { unpack, refs: refs.collect() }
    }

    /// The report as pkt-lines with its flush packet: what goes to channel 1, or out as it is without channels.
    /// Empty when the client wants no report.
    #[must_use]
    pub fn encode(&self, request: &Request) -> Vec<u8> {
        let mut out = Vec::new();
        if !request.capabilities.report_status {
            return out;
        }
        match &self.unpack {
            Ok(()) => pktline::push(&mut out, &[b"unpack ok\n"]),
            Err(reason) => pktline::push(&mut out, &[b"unpack ", one_line(reason).as_bytes(), b"\n"]),
        }
        for (name, result) in &self.refs {
            line(&mut out, name.as_bstr(), result.as_ref().err().map(String::as_str));
        }
        for refused in &request.refused {
            line(&mut out, refused.name.as_ref(), Some(&refused.reason));
        }
        out.extend_from_slice(FLUSH);
        out
    }
}

fn line(out: &mut Vec<u8>, name: &BStr, reason: Option<&str>) {
    match reason {
        None => pktline::push(out, &[b"ok ", name, b"\n"]),
        Some(reason) => pktline::push(out, &[b"ng ", name, b" ", one_line(reason).as_bytes(), b"\n"]),
    }
}

fn one_line(reason: &str) -> String {
    let mut reason = reason.replace(|char: char| char.is_control(), " ");
    reason.truncate(reason.floor_char_boundary(REASON_BYTES));
    reason
}

/// Answers to a request that could not be read.
///
/// # Errors
/// When `out` fails.
pub fn write_refusal(refusal: &Refusal, out: &mut dyn Write) -> io::Result<()> {
    let message = one_line(&refusal.to_string());
    if refusal.capabilities.sideband {
        let mut channels = sideband::Writer::new(out, band(&refusal.capabilities), false);
        channels.error(&format!("{message}\n"))?;
        channels.finish().map(|_| ())
    } else {
        out.write_all(&pktline::error_line(&message))?;
        out.flush()
    }
}
