//! One file per subcommand. All wiring of crates happens in these files and nowhere else.

pub(crate) mod controller;
pub(crate) mod crds;
pub(crate) mod export;
pub(crate) mod fsck;
pub(crate) mod mirror;
mod one;
pub(crate) mod promote;
pub(crate) mod restore;
pub(crate) mod serve;
pub(crate) mod store;
pub(crate) mod verify;

use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;

/// Runs a subcommand on a multi-threaded runtime.
pub(crate) fn block_on(task: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the async runtime")?;
    runtime.block_on(task)
}

/// A listening socket for tokio.
fn bind(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("failed to listen on {address}"))?;
    listener.set_nonblocking(true).context("failed to prepare the listening socket")?;
    Ok(listener)
}

/// SIGTERM and SIGINT: first not ready, so that nobody sends more; stop when nobody should any more.
fn stop_on_signal(stop: CancellationToken, admin: Admin, drain_delay: Duration) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: requests under way may end");
        admin.stops();
        tokio::time::sleep(drain_delay).await;
        stop.cancel();
    });
    Ok(())
}
