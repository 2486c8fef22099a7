//! One file per subcommand. All wiring of crates happens in these files and nowhere else.

pub(crate) mod crds;
pub(crate) mod fsck;
pub(crate) mod serve;

use std::process::ExitCode;

use anyhow::Context as _;

/// Runs a subcommand on a multi-threaded runtime.
pub(crate) fn block_on(task: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the async runtime")?;
    runtime.block_on(task)
}
