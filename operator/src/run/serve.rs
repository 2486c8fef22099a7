//! `codekeep serve`: manifests of a folder, repositories of a store, git clients.

mod banner;

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use gateway::{Gateway, GatewayConfig, TlsFiles};
use model::clock::SystemRandom;
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
    let admin = Admin { registry: registry.clone(), ready: Arc::clone(&ready) };
    let metrics_listener = tokio::net::TcpListener::from_std(bind(args.metrics_listen)?)?;
    tasks.spawn(admin::serve(metrics_listener, admin, stop.clone()));

    let stores = stores::open(&args.stores, &registry, true).await?;
    let desired = smoke();
    let (_keep, desired) = tokio::sync::watch::channel(Arc::new(desired));
    let external_url = banner::external_url(&args, listener.local_addr()?)?;
    let gateway = Gateway::new(GatewayConfig::default(), desired.clone(), stores.clone(), &registry, Arc::new(SystemRandom))?;
    banner::print(&args, &external_url, &desired.borrow())?;
    ready.store(true, Ordering::Release);
    stop_on_signal(stop.clone(), Arc::clone(&ready));
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

/// SIGTERM and SIGINT: first not ready, so that nobody sends more, then stop.
fn stop_on_signal(stop: CancellationToken, ready: Arc<AtomicBool>) {
    tokio::spawn(async move {
        let terminate = async {
            match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                Ok(mut signal) => drop(signal.recv().await),
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = terminate => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        tracing::info!("stopping: requests under way may end");
        ready.store(false, Ordering::Release);
        stop.cancel();
    });
}

fn smoke() -> model::desired::DesiredState {
    use model::desired::*;
    use model::policy::*;
    let ns: model::Namespace = "team-a".parse().unwrap();
    let path: model::RepositoryPath = "team-a/hello".parse().unwrap();
    let config = RepositoryConfig { path: path.clone(), resource_name: "hello".into(), labels: Default::default(), description: String::new(), default_branch: model::RefName::branch("main").unwrap(), store: "default".into(), limits: Default::default(), deletion: Deletion::Retain, suspended: false };
    let st = |sid: &str, effect, actions: &[Action], refs: &[&str]| Statement { sid: sid.into(), effect, actions: actions.to_vec(), repositories: RepositorySelector::default(), references: refs.iter().map(|r| Wildcard::new(*r)).collect(), source_addresses: vec![] };
    let policies = PolicySet::compile(&[Policy { namespace: ns.clone(), name: "developers".into(), subjects: vec![Subject::LocalUser("alice".into())], statements: vec![st("work", Effect::Allow, &Action::ALL, &[]), st("closed", Effect::Deny, &[Action::GitPush], &["refs/heads/release/*"])] }]).unwrap();
    let cred = Credential { namespace: ns.clone(), secret_name: "a".into(), user: "alice".into(), username: "alice".into(), secret: CredentialSecret::Password(model::secret::SecretString::new("pw".into())) };
    DesiredState { repositories: [(path, Arc::new(config))].into(), policies, credentials: [(ns, vec![Arc::new(cred)])].into(), rules: vec![] }
}
