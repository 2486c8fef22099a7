//! Codekeep beside its peers, turn by turn in one run: `bench git` measures the git service, `bench store` the storage.

mod figures;
mod git;
mod jgit;
mod peer;
mod pushes;
mod side;
mod store;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tests::report::say;

/// Measures Codekeep against its peers in one interleaved run
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Measure the git service: clones, fetches, listings, large pushes
    Git(git::Options),
    /// Measure the storage: pushes, group commit, cold servers, kills, growth
    Store(store::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Git(options) => git::run(&options),
        Task::Store(options) => store::run(&options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            say("bench: a bar was missed");
            ExitCode::FAILURE
        }
        Err(error) => {
            say(format!("bench: FAILED: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
