//! `codekeep controller`: wires the controller to a cluster, its logs and metrics.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use controllers::PoolConfig;
use controllers::controller::{self, ControllerConfig};
use model::clock::SystemClock;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::args::ControllerArgs;

/// Reconciles until SIGTERM or SIGINT, or until another replica has the Lease.
pub(crate) async fn run(args: ControllerArgs) -> anyhow::Result<ExitCode> {
    let pool = PoolConfig::load(&args.pool)?;
    let config = kube::Config::infer().await.context("failed to find an API server")?;
    let client = kube::Client::try_from(config.clone()).context("failed to make a client of the API server")?;
    // Renewing the Lease late is worse than failing: by then it may be another one's.
    let mut impatient = config;
    impatient.default_retry = false;
    let lease_client = kube::Client::try_from(impatient).context("failed to make a client of the API server")?;

    let registry = admin::registry()?;
    let (stop, admin) = (CancellationToken::new(), Admin::new(registry.clone(), Box::new(Vec::new)));
    let listener = tokio::net::TcpListener::from_std(super::bind(args.metrics_listen)?)?;
    let admin_stop = CancellationToken::new();
    tokio::spawn(admin::serve(listener, admin.clone(), admin_stop.clone()));
    super::stop_on_signal(stop.clone(), admin.clone(), std::time::Duration::ZERO)?;
    // A replica without the Lease is as ready as one can be.
    admin.serves(None);
    let config = ControllerConfig {
        namespace: args.namespace,
        watch_namespaces: args.watch_namespaces,
        pool,
        lease: args.lease_name,
        identity: args.pod_name,
        owner_deployment: args.owner_deployment,
        token: args.git_token,
        concurrency: args.concurrency,
        region: args.region,
    };
    let clock = Arc::new(SystemClock::new());
    let outcome = controller::run(client, lease_client, config, &registry, clock, stop).await;
    admin_stop.cancel();
    outcome?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}
