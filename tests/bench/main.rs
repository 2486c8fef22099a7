//! Codekeep beside its peers, turn by turn in one run: `bench` measures the git service, `bench store` the storage.

mod git_service;
mod jgit;
mod operations;
mod peer;
mod store;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tests::report::say;

/// Measures Codekeep against its peers in one interleaved run; without a subcommand, the git service
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    task: Option<Task>,
    #[command(flatten)]
    git_service: git_service::Options,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Measure the storage: pushes, group commit, cold servers, kills, growth
    Store(store::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.task {
        Some(Task::Store(options)) => store::run(&options),
        None => git_service::run(&arguments.git_service),
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
