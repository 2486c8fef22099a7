//! SSH: connections, keys, and from a command to a service and back. Nothing but git commands is served.

mod algorithms;
mod command;
mod connection;
pub(crate) mod exec;
mod handler;
mod host_keys;
mod input;
mod limits;
mod output;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use model::clock::SystemClock;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authn::nonce::Nonces;
use crate::authn::pass::Passes;
use crate::gateway::Gateway;
pub use host_keys::{HostKeyError, HostKeys};
use limits::{Limits, Most};

/// How long it is waited after the system could not give a connection: too many files are open.
const RECOVERY: Duration = Duration::from_millis(100);
/// For who is not taken; clients show it when they are asked to be verbose.
const FULL: &[u8] = b"Codekeep: too many connections; try again in a minute\r\n";

/// Bounds of SSH connections.
#[derive(Debug, Clone)]
pub struct SshConfig {
    /// Connections in all.
    pub max_connections: usize,
    /// Connections of one address (of one /64 network, for IPv6).
    pub max_connections_of_address: usize,
    /// Connections whose client has not proven a key yet, in all.
    pub max_unproven: usize,
    /// Connections of one address whose client has not proven a key yet.
    pub max_unproven_of_address: usize,
}

impl Default for SshConfig {
    fn default() -> Self {
        Self { max_connections: 1_024, max_connections_of_address: 512, max_unproven: 128, max_unproven_of_address: 32 }
    }
}

/// Channels of one connection, one after the other. russh keeps some 3 KB of every channel that the server was the first to close until
/// the connection ends. A client that is refused another one makes a new connection.
const MAX_OPENED: usize = 256;

/// How far a connection is.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Whether the client has proven a key.
    proven: bool,
    /// Commands under way.
    running: usize,
    /// Channels that were opened.
    opened: usize,
}

impl State {
    /// Whether no more channels are opened.
    fn is_spent(self) -> bool {
        self.opened >= MAX_OPENED
    }
}

/// Serves git clients over SSH until `stop`, then lets commands under way end within `grace`.
///
/// # Errors
/// When the socket cannot be used.
pub async fn serve_ssh(
    listener: TcpListener,
    host_keys: HostKeys,
    config: SshConfig,
    gateway: Arc<Gateway>,
    grace: Duration,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    // Somebody who came by SSH may go on over HTTP.
    let clock = Arc::new(SystemClock::new());
    let _ = gateway.passes.set(Passes::new(host_keys.clone(), clock.clone()));
    let _ = gateway.nonces.set(Nonces::new(host_keys.clone(), clock));
    let limits = Limits::new(Most {
        open: config.max_connections,
        unproven: config.max_unproven,
        of_address: config.max_connections_of_address,
        unproven_of_address: config.max_unproven_of_address,
    });
    let (tasks, abort) = (TaskTracker::new(), CancellationToken::new());
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "failed to accept an SSH connection");
                tokio::time::sleep(RECOVERY).await;
                continue;
            }
        };
        let Some(place) = limits.enter(peer.ip()) else {
            gateway.metrics.ssh_connection("full");
            tracing::info!(source.ip = %peer.ip(), "an SSH connection was not taken: there are too many");
            tasks.spawn(turn_away(stream));
            continue;
        };
        let begin = connection::Begin {
            gateway: Arc::clone(&gateway),
            host_keys: host_keys.clone(),
            stream,
            place,
            drain: stop.clone(),
            abort: abort.clone(),
        };
        let metrics = gateway.metrics.clone();
        tasks.spawn(async move {
            metrics.ssh_open.inc();
            let outcome = connection::serve(begin).await;
            metrics.ssh_open.dec();
            metrics.ssh_connection(outcome);
            tracing::debug!(source.ip = %peer.ip(), outcome, "SSH connection ended");
        });
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(grace, tasks.wait()).await.is_err() {
        abort.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(1), tasks.wait()).await;
    }
    Ok(())
}

/// Tells a client that there is no room; never waits for it.
async fn turn_away(mut stream: TcpStream) {
    let _ = tokio::time::timeout(RECOVERY, stream.write_all(FULL)).await;
}
