//! The operator on a real cluster, used as its users use it: `kubectl`, and `git` from a pod of a tenant.
//!
//! `cargo xtask test` brings a local cluster for it. For a cluster of your own, with Codekeep installed in it, set `KUBECONFIG` and
//! run `cargo nextest run -p tests --test operator -E 'not test(/^(faults|nodes|installation|isolation)::/)' --run-ignored all`: those stop
//! parts of a local cluster, and change what all its users share. Each test is a tenant in a namespace of its own. Without a cluster these tests are ignored, and the step that runs them
//! fails if it runs none.

mod access;
mod encryption;
mod faults;
mod installation;
mod isolation;
mod lifecycle;
mod nodes;
mod notification;
mod replication;
mod scale;
mod serving;
