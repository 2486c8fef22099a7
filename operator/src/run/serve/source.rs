//! Where `codekeep serve` learns what to serve: a folder, the API server of the cluster around it, or the pool.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use controllers::{Cluster, ClusterConfig, Folder, PoolClient, Problem, View, Watched};
use gateway::{TlsPair, TokenReviewer};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use model::desired::DesiredState;
use notify::ServiceAddresses;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::args::{ClusterArgs, ServeArgs};
use crate::reviewer::{ApiReviewer, PoolReviewer};
use crate::services::{ApiServices, PoolServices};
use crate::stores::Stores;

/// When a certificate is asked for again that the pool did not give.
const RETRY: Duration = Duration::from_secs(2);
/// When a certificate is renewed that the pool signed for a day.
const RENEW: Duration = Duration::from_hours(12);

/// Where it learns it.
pub(super) enum Source {
    /// A folder of manifests.
    Folder(Watched),
    /// A cluster.
    Cluster(InCluster),
}

/// A cluster, by its API server or by way of the pool.
pub(super) struct InCluster {
    pub(super) cluster: Cluster,
    pub(super) reviewer: Arc<dyn TokenReviewer>,
    pub(super) asked: Asked,
    /// The certificate that the pool signs for a dedicated server.
    pub(super) signed: Option<watch::Receiver<Option<TlsPair>>>,
}

/// Who is asked about the cluster.
pub(super) enum Asked {
    Api(kube::Client),
    Pool(Arc<PoolClient>),
}

/// What does not change while a cluster lives.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// Its identity: the uid of the namespace `kube-system`. Without one no prefix is claimed.
    pub(super) cluster_id: Option<String>,
}

impl Source {
    /// Begins to follow it.
    pub(super) async fn open(args: &ServeArgs, tasks: &TaskTracker, stop: &CancellationToken) -> anyhow::Result<Self> {
        let (stores, replication) = (args.stores.names(), args.stores.replication()?);
        if let Some(folder) = &args.manifests {
            return Ok(Self::Folder(Folder::new(folder, stores).replicating(replication).watch()?));
        }
        let cluster = &args.cluster;
        let config = ClusterConfig {
            namespaces: cluster.watch_namespaces.clone(),
            stores,
            replication,
            cluster_domain: cluster.cluster_domain.clone(),
            secrets: true,
            snapshot: cluster.snapshot.clone().map(|path| (path, cluster.snapshot_max_age)),
        };
        match pool_client(cluster) {
            Some(pool) => Ok(Self::Cluster(follow_pool(Arc::new(pool), cluster, config, tasks, stop))),
            None => Ok(Self::Cluster(follow_api(cluster, config, tasks, stop).await?)),
        }
    }

    /// What has to be served.
    pub(super) fn desired(&self) -> watch::Receiver<Arc<DesiredState>> {
        match self {
            Self::Folder(watched) => watched.desired(),
            Self::Cluster(followed) => followed.cluster.desired(),
        }
    }

    /// Tells what is wrong with resources, now and later.
    pub(super) fn problems(&self) -> Box<dyn Fn() -> Vec<Problem> + Send + Sync> {
        match self {
            Self::Folder(watched) => {
                let problems = watched.problems();
                Box::new(move || problems.borrow().to_vec())
            }
            Self::Cluster(followed) => {
                let view: watch::Receiver<Arc<View>> = followed.cluster.view();
                Box::new(move || view.borrow().problems.clone())
            }
        }
    }

    /// Waits until it is known what has to be served, and where.
    pub(super) async fn ready(&self) -> Facts {
        let Self::Cluster(followed) = self else { return Facts::default() };
        followed.cluster.ready().await;
        loop {
            match followed.asked.facts().await {
                Ok(facts) => return facts,
                Err(error) if followed.cluster.view().borrow().is_stale => {
                    // The prefix was claimed in an earlier life of this pod.
                    tracing::warn!(
                        "failed to learn about the cluster; webhooks to Services wait for a restart: {error:#}"
                    );
                    return Facts::default();
                }
                Err(error) => tracing::warn!("failed to learn about the cluster; trying again: {error:#}"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Where Services are.
    pub(super) fn services(&self) -> Option<Arc<dyn ServiceAddresses>> {
        match self {
            Self::Folder(_) => None,
            Self::Cluster(followed) => Some(followed.asked.services()),
        }
    }

    /// A folder's manifests may give up data; in a cluster the controller says so.
    pub(super) fn follow_deletions(&self, stores: &Stores, tasks: &TaskTracker, stop: &CancellationToken) {
        if let Self::Folder(watched) = self {
            tasks.spawn(watched.poll(stores.clone(), stop.clone()));
        }
    }

    /// A folder's manifests may name another primary store; in a cluster the controller says so.
    pub(super) fn follow_primaries(&self, stores: &Stores, tasks: &TaskTracker, stop: &CancellationToken) {
        if let Self::Folder(watched) = self {
            tasks.spawn(super::promotion::follow(watched.desired(), stores.clone(), stop.clone()));
        }
    }
}

async fn follow_api(
    args: &ClusterArgs,
    config: ClusterConfig,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<InCluster> {
    let client = kube::Client::try_default()
        .await
        .context("failed to find an API server: give --manifests DIR, or run in a cluster or with a kubeconfig")?;
    let (cluster, following) = Cluster::follow(client.clone(), config, stop.clone());
    tasks.spawn(following);
    let asked = Asked::Api(client.clone());
    let reviewer = ApiReviewer {
        client,
        audiences: args.token_audience.clone(),
        accept_api_server: args.accept_api_server_audience,
    };
    Ok(InCluster { cluster, reviewer: Arc::new(reviewer), asked, signed: None })
}

impl Asked {
    async fn facts(&self) -> anyhow::Result<Facts> {
        let client = match self {
            Self::Api(client) => client,
            Self::Pool(pool) => {
                let answer = pool.snapshot("").await?;
                return Ok(Facts { cluster_id: answer.cluster_id });
            }
        };
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let system = namespaces.get("kube-system").await.context("failed to read the namespace kube-system")?;
        Ok(Facts { cluster_id: system.metadata.uid })
    }

    pub(super) fn services(&self) -> Arc<dyn ServiceAddresses> {
        match self {
            Self::Api(client) => Arc::new(ApiServices(client.clone())),
            Self::Pool(pool) => Arc::new(PoolServices(Arc::clone(pool))),
        }
    }
}

fn pool_client(args: &ClusterArgs) -> Option<PoolClient> {
    Some(PoolClient {
        url: args.control_url.as_ref()?.as_str().trim_end_matches('/').to_owned(),
        authority: args.control_ca.clone()?,
        token: args.control_token.clone()?,
        repository: args.repository.clone()?,
    })
}

fn follow_pool(
    pool: Arc<PoolClient>,
    args: &ClusterArgs,
    config: ClusterConfig,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> InCluster {
    let (cluster, feeder) = Cluster::fed(config);
    let following = Arc::clone(&pool);
    let end = stop.clone();
    tasks.spawn(async move { following.follow(feeder, end).await });
    let (pairs, signed) = watch::channel(None);
    // The name that clients type, and that of its own Service, by which the controller asks.
    let services = [args.repository.clone().unwrap_or_default(), args.service.clone()];
    let names = services.into_iter().flat_map(|service| {
        gateway::ServiceName { service, namespace: args.namespace.clone() }.forms(&args.cluster_domain)
    });
    tasks.spawn(keep_certificate(Arc::clone(&pool), names.collect(), pairs, stop.clone()));
    let asked = Asked::Pool(Arc::clone(&pool));
    InCluster { cluster, reviewer: Arc::new(PoolReviewer(pool)), asked, signed: Some(signed) }
}

/// Has certificates signed until `stop`; the key never leaves this process.
async fn keep_certificate(
    pool: Arc<PoolClient>,
    names: Vec<String>,
    pairs: watch::Sender<Option<TlsPair>>,
    stop: CancellationToken,
) {
    loop {
        let wait = match signed(&pool, &names).await {
            Ok((certificate, key)) => {
                let until = pki::not_after(&certificate).map(|end| end.duration_since(Timestamp::now()));
                tracing::info!(valid_s = until.map_or(0, |left| left.as_secs()), "certificate signed by the pool");
                pairs.send_replace(Some(Arc::new((certificate, key))));
                RENEW
            }
            Err(error) => {
                tracing::warn!("failed to have a certificate signed by the pool: {error:#}");
                RETRY
            }
        };
        if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return;
        }
    }
}

async fn signed(pool: &PoolClient, names: &[String]) -> anyhow::Result<(String, String)> {
    let (key, request) = pki::new_request(names)?;
    Ok((pool.certificate(request).await?.certificate, key))
}

/// The folder of the authority, for the control port.
pub(super) fn authority(args: &ServeArgs) -> Option<Arc<PathBuf>> {
    args.cluster.tls_authority.clone().map(Arc::new)
}
