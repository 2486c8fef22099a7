//! What users of a cluster wait for, measured on a local cluster: from `kubectl apply` to the first push, from the death of a pod
//! to the next push, and what 500 Repositories cost.

mod measures;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tests::kube::{Tenant, pool_is_ready};
use tests::report::say;

use measures::Client;

/// Measures a local cluster in which Codekeep is installed
#[derive(Debug, Parser)]
#[command(name = "cargo xtask cluster bench")]
struct Options {
    /// Repositories that are applied and pushed to at once, one after the other
    #[arg(long, default_value_t = 100, value_name = "N")]
    repositories: usize,
    /// Repositories that get pods of their own
    #[arg(long, default_value_t = 5, value_name = "N")]
    dedicated: usize,
    /// Pods of the pool that are killed
    #[arg(long, default_value_t = 20, value_name = "N")]
    kills: usize,
    /// Repositories that exist at the same time in the end
    #[arg(long, default_value_t = 500, value_name = "N")]
    many: usize,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format!("bench: FAILED: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    pool_is_ready()?;
    let client = Client::new(Tenant::new("bench")?)?;
    say("| | median | p99 | slowest | goal |\n|---|---|---|---|---|");
    let (applied, pushed) = client.apply_and_push(options.repositories)?;
    applied.row("`kubectl apply` alone", "");
    pushed.row("`kubectl apply` of a shared Repository → first push accepted", "p99 ≤ 1 s");
    client.dedicated(options.dedicated)?.row("`kubectl apply` of a dedicated Repository → Ready", "");
    client.push_again(options.kills)?.row("push, nothing killed", "");
    client.kill(options.kills)?.row("pod of the pool killed → next push accepted", "p99 ≤ 1 s");
    client.many(options.many)
}
