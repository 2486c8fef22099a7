//! Developer commands: `cargo xtask test|demo|bench|cluster|simulate|tools`. Everything that they install goes to `target/tools`.

mod checks;
mod cluster;
mod command;
mod fuzz;
mod simulate;
mod suites;
mod summary;
mod test;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Developer commands of Codekeep
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run all checks and tests; `quick` is the tier for daily work
    Test {
        /// `full` is what has to pass before a change lands
        #[arg(value_enum, default_value_t = test::Tier::Full)]
        tier: test::Tier,
    },
    /// Push a large history, kill the server in the middle of a push, clone and compare (`--help` lists options)
    #[command(disable_help_flag = true)]
    Demo {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measure against peers in the same interleaved run: the git service, or `store` (`--help` lists options)
    #[command(disable_help_flag = true)]
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// A real Kubernetes with an S3 server and Codekeep in it, on this machine alone (needs root)
    #[command(subcommand)]
    Cluster(cluster::Task),
    /// Run the store in simulations, each decided by a seed; prints the seeds that fail
    Simulate(simulate::Options),
    /// Give made-up input to what reads input, for a while
    Fuzz(fuzz::Options),
    /// Install what the tests need into target/tools
    Tools,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Test { tier } => test::run(tier),
        Task::Demo { arguments } => suites::program("demo", &arguments),
        Task::Bench { arguments } => suites::bench(&arguments),
        Task::Cluster(task) => cluster::run(task),
        Task::Simulate(options) => simulate::run(&options),
        Task::Fuzz(options) => fuzz::run_all(&options),
        Task::Tools => tools::install_all().map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            command::say(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
