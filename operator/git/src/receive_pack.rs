//! The server's side of a push up to the pack, and the report after it ([gitprotocol-pack], "Pushing Data To a
//! Server"). Versions 0 and 1; there is no push in version 2.
//!
//! Not here: the pack ([`crate::ingest`]), who may change which reference, and the change itself.
//!
//! [gitprotocol-pack]: https://git-scm.com/docs/gitprotocol-pack

mod capability;
mod certificate;
mod command;
mod report;
mod request;

pub use capability::Capabilities;
pub use certificate::{Certificate, CertificateError};
pub use command::{Command, Refused};
pub use report::{Report, write_refusal};
pub use request::{Refusal, Request, RequestError, parse};

/// What the server offers to a client that pushes, without agent, session id and nonce, which belong to the advertisement.
pub const CAPABILITIES: &str =
    "report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta push-options object-format=sha1";

#[cfg(test)]
mod tests;
