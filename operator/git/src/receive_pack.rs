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

#[cfg(test)]
mod tests;
