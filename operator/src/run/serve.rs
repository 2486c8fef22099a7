//! `codekeep serve`: manifests of a folder, repositories of a store, git clients.

mod banner;

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use controllers::Folder;
use gateway::{Gateway, GatewayConfig, TlsFiles};
use model::clock::{SystemClock, SystemRandom};
use notify::Notifier;
use prometheus::Registry;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, Admin};
use crate::args::ServeArgs;
use crate::stores;

/// Serves until SIGTERM or SIGINT, then lets requests under way end within the grace period.
pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let registry = Registry::new();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let listener = bind(args.listen)?;
    let ready = Arc::new(AtomicBool::new(false));
    start_admin(&args, &registry, &ready, &stop, &tasks)?;

    let stores = stores::open(&args.stores, &registry, true).await?;
    let names: Vec<String> = stores.keys().cloned().collect();
    let loaded = Folder::new(&args.manifests, names).watch().context("failed to read the manifests")?;
    tasks.spawn(loaded.poll(stores.clone(), stop.clone()));

    let external_url = banner::external_url(&args, listener.local_addr()?);
    let gateway = Gateway::new(
        GatewayConfig { external_url: external_url.clone(), ..GatewayConfig::default() },
        loaded.desired(),
        stores.clone(),
        &registry,
        Arc::new(SystemClock::new()),
        Arc::new(SystemRandom),
    )?;
    let notifier = Notifier::new(&args.webhook_allow_cidr, loaded.desired(), stores, &registry)?;
    tasks.spawn(notifier.run(stop.clone()));

    banner::print(&args, &external_url, &loaded.desired().borrow())?;
    ready.store(true, Ordering::Release);
    spawn_stop_on_signal(stop.clone(), Arc::clone(&ready));
    let tls = args.tls_cert.zip(args.tls_key).map(|(certificate, key)| TlsFiles { certificate, key });
    let outcome = gateway::serve(listener, tls, gateway, args.grace_period, stop.clone()).await;
    stop.cancel();
    tasks.close();
    if tokio::time::timeout(args.grace_period, tasks.wait()).await.is_err() {
        tracing::warn!("background work did not end within the grace period; it resumes at the next start");
    }
    outcome.context("failed to serve git clients")?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn bind(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("failed to listen on {address}"))?;
    listener.set_nonblocking(true).context("failed to prepare the listening socket")?;
    Ok(listener)
}
