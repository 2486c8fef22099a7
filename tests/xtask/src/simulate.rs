//! `cargo xtask simulate`: many seeds, or one again.

use anyhow::Result;

use crate::command::cargo;

/// Which simulations.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Number of seeds
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0, value_name = "N")]
    from: u64,
    /// Only this one, exactly as it ran before
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Print all that happens in it
    #[arg(long, requires = "seed")]
    trace: bool,
}

/// Runs them; gives whether all hold.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let test = ["--exact", "tests::simulate", "--ignored", "--nocapture"];
    let mut command = cargo(&["test", "--quiet", "--locked", "--workspace", "--test", "simulation", "--"]);
    command.args(test);
    command.env("CODEKEEP_SIMULATION_SEEDS", options.seeds.to_string());
    command.env("CODEKEEP_SIMULATION_FROM", options.from.to_string());
    if let Some(seed) = options.seed {
        command.env("CODEKEEP_SIMULATION_SEED", seed.to_string());
    }
    if options.trace {
        command.env("CODEKEEP_SIMULATION_TRACE", "1");
    }
    Ok(command.status()?.success())
}
