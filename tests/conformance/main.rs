//! One file per contract: what git, HTTP, the manifests and the layering of the crates ask for.

mod authz;
mod bad_input;
mod chart;
mod classes;
mod git_http;
mod layering;
mod names;
mod protocol;
mod samples;
mod tokens;
