//! Transports and the request shell: who asks, may they, and the two services fetch and push.
//!
//! Holds nothing that matters: every state is in the store or in the desired state that is passed in.

mod address;
mod authn;
mod authorize;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gateway;
mod http;
mod metrics;
mod names;
mod pipe;
mod service;
mod ssh;
mod turn;
mod wire;

pub use authn::token::{ReviewUnavailable, TokenIdentity, TokenReviewer, Tokens, claims};
pub use gateway::{Gateway, GatewayConfig, RecentPushes};
pub use http::{ServeError, ServiceName, Tls, TlsConfig, TlsFiles, TlsPair, serve};
pub use ssh::{HostKeyError, HostKeys, SshConfig, serve_ssh};
