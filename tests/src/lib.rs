//! Harness of the suites that run Codekeep against real clients: servers, git, histories, raw protocol, waiting.
//!
//! It is not a mock of anything: servers are the real binary in a process of its own, clients are real clients.
#![expect(clippy::missing_errors_doc, reason = "every failure here is the failure of a test, told by its message")]

pub mod answer;
pub mod binary;
pub mod bucket;
pub mod cpu;
pub mod fault_proxy;
pub mod fixture;
pub mod git_cli;
pub mod history;
pub mod kube;
pub mod lfs;
pub mod manifests;
pub mod moto;
pub mod process;
pub mod protocol;
pub mod python;
pub mod random;
pub mod raw_http;
pub mod report;
pub mod s3;
pub mod server;
pub mod session;
pub mod ssh;
pub mod store_check;
pub mod wait;
pub mod way;

pub use git_cli::Git;
pub use manifests::Manifests;
pub use server::{Server, ServerOptions};
