//! Deterministic simulation: the real store on a runtime, a clock and a bucket that one seed decides.
//!
//! Servers, clients and a bucket that does all that buckets and networks do to their users act in simulated time. A ledger in the
//! bucket knows the one order of all commits; a checker holds every answer against it. `cargo xtask simulate --seed N --trace`
//! replays a seed exactly.

mod bucket;
mod checker;
mod client;
mod dice;
mod finale;
mod git;
mod history;
mod ledger;
mod life;
mod plan;
mod refs;
mod runner;
mod scenario;
mod server;
mod tests;
mod world;
