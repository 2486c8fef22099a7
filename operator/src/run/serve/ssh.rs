//! The SSH listener of `codekeep serve`, where one is asked for.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use gateway::{Gateway, HostKeys, SshConfig};
use model::clock::{Random, SystemRandom};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::args::ServeArgs;

/// A socket and the keys that it is known by; nobody is served yet.
pub(super) struct Ssh {
    listener: TcpListener,
    host_keys: HostKeys,
}

impl Ssh {
    /// Opens the socket and reads the keys. In a cluster keys come from the controller; elsewhere a missing one is made.
    pub(super) async fn open(args: &ServeArgs, stop: &CancellationToken) -> anyhow::Result<Option<Self>> {
        let Some(address) = args.ssh_listen else { return Ok(None) };
        let random: Option<&dyn Random> = if args.manifests.is_some() { Some(&SystemRandom) } else { None };
        let host_keys = HostKeys::open(&args.ssh_host_keys, random, stop.clone()).await?;
        Ok(Some(Self { listener: crate::run::bind(address)?, host_keys }))
    }

    /// Serves until `stop`, then lets commands under way end within `grace`.
    pub(super) fn spawn(
        self,
        gateway: &Arc<Gateway>,
        grace: Duration,
        stop: &CancellationToken,
    ) -> JoinHandle<anyhow::Result<()>> {
        let Self { listener, host_keys } = self;
        let serving =
            gateway::serve_ssh(listener, host_keys, SshConfig::default(), Arc::clone(gateway), grace, stop.clone());
        tokio::spawn(async move { serving.await.context("failed to serve git clients over SSH") })
    }
}
