//! `codekeep serve`: manifests of a folder, repositories of a store, git clients.

mod banner;

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use controllers::{Folder, Watched};
use gateway::{Gateway, GatewayConfig, TlsFiles};
use model::clock::{SystemClock, SystemRandom};
use notify::{Networks, Notifier};
use prometheus::Registry;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, Admin};
use crate::args::ServeArgs;
use crate::stores::{self, Stores};

/// Serves until SIGTERM or SIGINT, then lets requests under way end within the grace period.
pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let registry = Registry::new();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let watched = watch_manifests(&args)?;
    let (listener, admin) = (bind(args.listen)?, Admin::new(registry.clone(), watched.problems()));
    let metrics_listener = tokio::net::TcpListener::from_std(bind(args.metrics_listen)?)?;
    // Its own end: health is asked for until the last request has ended.
    let admin_stop = CancellationToken::new();
    tasks.spawn(admin::serve(metrics_listener, admin.clone(), admin_stop.clone()));
    stop_on_signal(stop.clone(), admin.clone())?;

    let opening = Box::pin(stores::open(&args.stores, &registry, true));
    let opening = stop.run_until_cancelled(opening).await;
    let Some(stores) = opening.transpose()? else { return Ok(ExitCode::SUCCESS) };
    let notifier = notifier(&args, &watched, &stores, &registry)?;
    notifier.prime().await;
    tasks.spawn(Arc::clone(&notifier).run(stop.clone()));
    tasks.spawn(watched.poll(stores.clone(), stop.clone()));

    let desired = watched.desired();
    let external_url = banner::external_url(&args, listener.local_addr()?)?;
    let gateway = Gateway::new(GatewayConfig::default(), desired.clone(), stores, &registry, Arc::new(SystemRandom))?;
    banner::print(&args, &external_url, &desired.borrow())?;
    admin.serves(notifier);
    let tls = args.tls_cert.zip(args.tls_key).map(|(certificate, key)| TlsFiles { certificate, key });
    let outcome = gateway::serve(listener, tls, gateway, args.grace_period, stop.clone()).await;
    stop.cancel();
    admin_stop.cancel();
    tasks.close();
    if tokio::time::timeout(args.grace_period, tasks.wait()).await.is_err() {
        tracing::warn!("background work did not end within the grace period; it resumes at the next start");
    }
    outcome.context("failed to serve git clients")?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The manifests, read once; their mistakes are in the log by now.
fn watch_manifests(args: &ServeArgs) -> anyhow::Result<Watched> {
    let stores = args.stores.store.iter().map(|store| store.name.clone()).collect();
    Ok(Folder::new(&args.manifests, stores).watch()?)
}

fn notifier(
    args: &ServeArgs,
    watched: &Watched,
    stores: &Stores,
    registry: &Registry,
) -> anyhow::Result<Arc<Notifier>> {
    let (networks, desired) = (Networks { permitted: &args.webhook_allow_cidr, services: &[] }, watched.desired());
    let clock = Arc::new(SystemClock::new());
    Notifier::new(networks, desired, stores.clone(), registry, clock, &SystemRandom)
        .context("failed to prepare notifications")
}

fn bind(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("failed to listen on {address}"))?;
    listener.set_nonblocking(true).context("failed to prepare the listening socket")?;
    Ok(listener)
}

/// SIGTERM and SIGINT: first not ready, so that nobody sends more, then stop.
fn stop_on_signal(stop: CancellationToken, admin: Admin) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: requests under way may end");
        admin.stops();
        stop.cancel();
    });
    Ok(())
}
