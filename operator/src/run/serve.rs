//! `codekeep serve`: what a folder or a cluster wants, repositories of a store, git clients.

mod banner;
mod maintenance;
mod source;
mod ssh;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use gateway::{Gateway, GatewayConfig, ServiceName, Tls, TlsConfig, TlsFiles, Tokens};
use model::clock::{SystemClock, SystemRandom};
use notify::{Notifier, Reach};
use prometheus::Registry;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, Admin};
use crate::args::{ClusterArgs, ServeArgs};
use crate::control::{self, Control};
use crate::stores::{self, Stores};
use source::{Facts, InCluster, Source};

/// Serves until SIGTERM or SIGINT, then lets requests under way end within the grace period.
pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let (registry, policy) = (admin::registry()?, args.maintenance.policy()?);
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let source = Source::open(&args, &tasks, &stop).await?;
    let ssh = ssh::Ssh::open(&args, &stop).await?;
    let (listener, admin) = (super::bind(args.listen)?, Admin::new(registry.clone(), source.problems()));
    let metrics_listener = tokio::net::TcpListener::from_std(super::bind(args.metrics_listen)?)?;
    // Its own end: health is asked for until the last request has ended.
    let admin_stop = CancellationToken::new();
    tasks.spawn(admin::serve(metrics_listener, admin.clone(), admin_stop.clone()));
    super::stop_on_signal(stop.clone(), admin.clone(), args.drain_delay)?;

    let opening = Box::pin(open_stores(&args, policy, &source, &registry, &admin));
    let opened = stop.run_until_cancelled(opening).await.transpose()?;
    let Some((stores, facts)) = opened else { return Ok(ExitCode::SUCCESS) };
    let notifier = notifier(&args, &source, &stores, &registry)?;
    notifier.prime().await;
    tasks.spawn(Arc::clone(&notifier).run(stop.clone()));
    source.follow_deletions(&stores, &tasks, &stop);
    let interval = args.maintenance.maintenance_interval;
    tasks.spawn(maintenance::run(source.desired(), stores.clone(), interval, stop.clone()));
    tasks.spawn(maintenance::replicate(source.desired(), stores.clone(), stop.clone()));

    let desired = source.desired();
    let tls = tls(&args, &source, &stop).await?;
    let tokens = tokens(&source, &registry)?;
    let external_url = banner::external_url(&args, listener.local_addr()?)?;
    let known = args.manifests.is_some() || args.external_url.is_some();
    let config =
        GatewayConfig { external_url: known.then(|| external_url.to_string()), ..gateway_config(&args.cluster) };
    let random = Arc::new(SystemRandom);
    let gateway = Gateway::new(config, desired.clone(), stores.clone(), &registry, random, tokens.clone())?;
    let cache_retention = args.maintenance.cache_retention;
    tasks.spawn(maintenance::let_go(Arc::clone(&gateway), stores.clone(), cache_retention, stop.clone()));
    if let (Source::Cluster(followed), Some(tokens), Some(tls)) = (&source, tokens, &tls) {
        let parts = (Arc::clone(&gateway), Arc::clone(&notifier), tokens, stores, facts);
        spawn_control(&args, followed, parts, tls, &tasks, &admin_stop)?;
    }
    let ssh = ssh.map(|ssh| ssh.spawn(&gateway, args.grace_period, &stop));
    if args.manifests.is_some() {
        banner::print(&args, &external_url, &desired.borrow())?;
    }
    tasks.spawn(gateway.follow_names(stop.clone()).await);
    admin.serves(Some(notifier));
    let outcome = gateway::serve(listener, tls, gateway, args.grace_period, stop.clone()).await;
    stop.cancel();
    if let Some(ssh) = ssh {
        ssh.await.context("failed to serve git clients over SSH")??;
    }
    admin_stop.cancel();
    tasks.close();
    if tokio::time::timeout(args.grace_period, tasks.wait()).await.is_err() {
        tracing::warn!("background work did not end within the grace period; it resumes at the next start");
    }
    outcome.context("failed to serve git clients")?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn gateway_config(args: &ClusterArgs) -> GatewayConfig {
    // Only a pool has an authority; a dedicated server's Service is its Repository's, which does name the namespace.
    let pool = ServiceName { service: args.service.clone(), namespace: args.namespace.clone() };
    GatewayConfig {
        operator_identity: args.operator_identity.clone(),
        cluster_domain: args.cluster_domain.clone(),
        pool_service: args.tls_authority.is_some().then_some(pool),
        ..GatewayConfig::default()
    }
}

/// Waits until it is known what is to be served, then opens the stores.
async fn open_stores(
    args: &ServeArgs,
    policy: store::Policy,
    source: &Source,
    registry: &Registry,
    admin: &Admin,
) -> anyhow::Result<(Stores, Facts)> {
    admin.waits("waiting for the API server, or for the pool, to say what is to be served".to_owned());
    let facts = source.ready().await;
    let waits = |reason: String| admin.waits(reason);
    // In a cluster a store that does not answer is waited for: a restart would not help it, and takes ever longer.
    let patient = matches!(source, Source::Cluster(_));
    let opening = stores::Opening {
        prove: true,
        cluster: facts.cluster_id.as_deref(),
        policy,
        desired: Some(source.desired()),
        everywhere: false,
        waits: if patient { Some(&waits) } else { None },
    };
    let stores = stores::open(&args.stores, registry, opening).await?;
    admin.waits(String::new());
    Ok((stores, facts))
}

fn notifier(args: &ServeArgs, source: &Source, stores: &Stores, registry: &Registry) -> anyhow::Result<Arc<Notifier>> {
    let reach = Reach { networks: &args.webhook_allow_cidr, services: source.services() };
    let clock = Arc::new(SystemClock::new());
    Notifier::new(reach, source.desired(), stores.clone(), registry, clock, &SystemRandom)
        .context("failed to prepare notifications")
}

/// Certificates, if there is anything to take them from.
async fn tls(args: &ServeArgs, source: &Source, stop: &CancellationToken) -> anyhow::Result<Option<Tls>> {
    let given = args.tls_cert.clone().zip(args.tls_key.clone());
    let signed = match source {
        Source::Folder(_) => None,
        Source::Cluster(followed) => followed.signed.clone(),
    };
    let cluster = &args.cluster;
    let config = TlsConfig {
        given: given.map(|(certificate, key)| TlsFiles { certificate, key }),
        authority: cluster.tls_authority.clone(),
        own: cluster.tls_authority.is_some().then(|| (cluster.service.clone(), cluster.namespace.clone())),
        cluster_domain: cluster.cluster_domain.clone(),
        signed,
    };
    if config.given.is_none() && config.authority.is_none() && config.signed.is_none() {
        return Ok(None);
    }
    let clock = Arc::new(SystemClock::new());
    Ok(Some(Tls::new(config, source.desired(), clock, stop.clone()).await?))
}

fn tokens(source: &Source, registry: &Registry) -> anyhow::Result<Option<Arc<Tokens>>> {
    let Source::Cluster(InCluster { reviewer, .. }) = source else { return Ok(None) };
    let clock = Arc::new(SystemClock::new());
    Ok(Some(Tokens::new(Arc::clone(reviewer), clock, &SystemRandom, registry)?))
}

type Parts = (Arc<Gateway>, Arc<Notifier>, Arc<Tokens>, Stores, Facts);

/// Serves the control port, if there is to be one.
fn spawn_control(
    args: &ServeArgs,
    followed: &InCluster,
    (gateway, notifier, tokens, stores, facts): Parts,
    tls: &Tls,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let Some(address) = args.cluster.control_listen else { return Ok(()) };
    let control = Control {
        gateway,
        notifier,
        tokens,
        view: followed.cluster.view(),
        stores,
        operator_identity: args.cluster.operator_identity.as_deref().map(Arc::from),
        authority: source::authority(args),
        cluster_domain: args.cluster.cluster_domain.as_str().into(),
        services: followed.asked.services(),
        cluster_id: facts.cluster_id.map(Arc::from),
    };
    let (listener, tls, stop) = (super::bind(address)?, tls.clone(), stop.clone());
    tasks.spawn(async move {
        if let Err(error) = control::serve(listener, tls, control, stop).await {
            tracing::error!("{error:#}");
        }
    });
    Ok(())
}
