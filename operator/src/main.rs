//! The `codekeep` binary: parses arguments, sets up logs and hands over to one subcommand.

mod admin;
mod args;
mod control;
mod pack_tools;
mod reviewer;
mod run;
mod services;
mod stores;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;
use tikv_jemallocator::Jemalloc;

use crate::args::{Args, Command, StoreCommand};

/// Gives memory back when a burst of requests is over, which that of glibc, with an arena for each thread, hardly does.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    telemetry::install(&args.log);
    // One crypto provider for every TLS user in this process; a second install could only be a bug of ours.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        tracing::error!("failed to install the TLS crypto provider: another one was installed before");
        return ExitCode::FAILURE;
    }
    let outcome = match args.command {
        Command::Serve(serve) => run::block_on(run::serve::run(*serve)),
        Command::Controller(controller) => run::block_on(run::controller::run(*controller)),
        Command::Fsck(fsck) => run::block_on(run::fsck::run(fsck)),
        Command::Restore(restore) => run::block_on(run::restore::run(restore)),
        Command::Export(export) => run::block_on(run::export::run(export)),
        Command::Store(StoreCommand::Mirror(mirror)) => run::block_on(run::mirror::run(*mirror)),
        Command::Store(StoreCommand::Promote(promote)) => run::block_on(run::promote::run(*promote)),
        Command::Store(StoreCommand::Verify(verify)) => run::block_on(run::verify::run(*verify)),
        Command::Store(StoreCommand::Check(check)) => run::block_on(run::store::check(*check)),
        Command::Crds(crds) => run::crds::run(&crds),
    };
    outcome.unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        ExitCode::FAILURE
    })
}
