//! Opens the stores that the command line names: connect, prove the bucket, put the cache in front.

mod absent;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use model::RepositoryPath;
use model::clock::{SystemClock, SystemRandom};
use model::desired::DesiredState;
use model::encryption::Encryption;
use model::replication::Replication;
use prometheus::Registry;
use store::{
    Cache, Context, Direct, KeySources, Manifests, NoManifests, ObjectStore, Policy, Repositories, StoreMetrics,
};
use tokio::sync::watch;

use crate::args::{NamedKeyService, NamedStore, StoreArgs};
use crate::pack_tools::GitPackTools;

/// The repositories of each store, by the store's name.
pub(crate) type Stores = BTreeMap<String, Arc<Repositories>>;

/// How stores are opened.
#[derive(Clone, Default)]
pub(crate) struct Opening<'a> {
    /// Refuse a bucket that does not do what commits rest on; and let clients reach it, where its URL says so.
    pub(crate) prove: bool,
    /// The cluster whose the prefixes have to be.
    pub(crate) cluster: Option<&'a str>,
    /// When maintenance does what.
    pub(crate) policy: Policy,
    /// What the manifests say of encryption.
    pub(crate) desired: Option<watch::Receiver<Arc<DesiredState>>>,
    /// Try again, for ever, instead of failing; gets why it is not ready.
    pub(crate) waits: Option<&'a (dyn Fn(String) + Send + Sync)>,
}

/// When a store is tried again that does not answer.
const RETRY: Duration = Duration::from_secs(2);

/// Connects to every named store.
pub(crate) async fn open(args: &StoreArgs, registry: &Registry, opening: Opening<'_>) -> anyhow::Result<Stores> {
    let metrics = StoreMetrics::new(registry).context("failed to register the store's metrics")?;
    let cache = Cache::open(&args.cache, args.cache_size, &metrics)
        .with_context(|| format!("failed to open the cache folder {}", args.cache.display()))?;
    let context = Context {
        cache: Arc::new(cache),
        tools: Arc::new(GitPackTools),
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
        policy: opening.policy,
        metrics: metrics.clone(),
        keys: key_sources(args, opening.desired.clone()).await?,
    };
    let mut stores = BTreeMap::new();
    for named in &args.store {
        let credentials = args.store_credentials.as_deref().map(|folder| credentials_of(folder, &named.name));
        let cluster = opening.cluster.map(str::to_owned);
        let door = Door { named: named.clone(), credentials, metrics: metrics.clone(), prove: opening.prove, cluster };
        let (objects, direct) = open_patiently(door, &opening).await?;
        let repositories = Repositories::reached(objects, direct, context.clone());
        if stores.insert(named.name.clone(), Arc::new(repositories)).is_some() {
            bail!("two stores are named '{}': give each --store its own NAME=URL", named.name);
        }
    }
    Ok(stores)
}

impl Opening<'_> {
    /// Whether a store has repositories that are kept in another one too: what is served of them needs no more than one of these.
    fn has_replicas(&self, store: &str) -> bool {
        let Some(desired) = &self.desired else { return false };
        let desired = desired.borrow();
        desired.repositories.values().any(|config| {
            let named = |replication: &Replication| replication.stores.iter().any(|name| name == store);
            config.replication.as_ref().is_some_and(|replication| config.store == store || named(replication))
        })
    }
}

/// The folder of a store's credentials: its own, where there is one.
fn credentials_of(folder: &Path, store: &str) -> PathBuf {
    let own = folder.join(store);
    if own.is_dir() { own } else { folder.to_owned() }
}

/// Where the keys of encrypted repositories come from.
async fn key_sources(
    args: &StoreArgs,
    desired: Option<watch::Receiver<Arc<DesiredState>>>,
) -> anyhow::Result<KeySources> {
    let mut services = BTreeMap::new();
    for NamedKeyService { name, url } in &args.key_service {
        let credentials = args.key_service_credentials.as_ref().map(|folder| folder.join(name));
        let service = keys::connect(url, credentials.as_deref()).await;
        let service = service.with_context(|| format!("failed to open the key service '{name}', {url}"))?;
        if services.insert(name.clone(), service).is_some() {
            bail!("two key services are named '{name}': give each --key-service its own NAME=URL");
        }
    }
    let manifests: Arc<dyn Manifests> = match desired {
        Some(desired) => Arc::new(Desired(desired)),
        None => Arc::new(NoManifests),
    };
    Ok(KeySources { manifests, services })
}

/// What the manifests say, as they are published.
struct Desired(watch::Receiver<Arc<DesiredState>>);

impl Manifests for Desired {
    fn encryption(&self, path: &RepositoryPath) -> Option<Encryption> {
        self.0.borrow().repositories.get(path).map(|config| config.encryption.clone())
    }

    fn replication(&self, path: &RepositoryPath) -> Option<Arc<Replication>> {
        self.0.borrow().repositories.get(path)?.replication.clone()
    }
}

async fn open_patiently(door: Door, opening: &Opening<'_>) -> anyhow::Result<Opened> {
    let mut told = String::new();
    loop {
        let (error, waits) = match (door.open().await, opening.waits) {
            (Err(error), _) if absent::may_come(&error) && opening.has_replicas(&door.named.name) => {
                return Ok((absent::stand_in(door, &error), None));
            }
            (Err(error), Some(waits)) => (format!("{error:#}"), waits),
            (outcome, _) => return outcome,
        };
        if error != told {
            tracing::error!(error, "not ready: the store is tried again until it answers");
            waits(error.clone());
            told = error;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// A store, and how clients reach it themselves.
type Opened = (Arc<dyn ObjectStore>, Option<Direct>);

/// How one store is opened.
struct Door {
    named: NamedStore,
    credentials: Option<PathBuf>,
    metrics: StoreMetrics,
    prove: bool,
    cluster: Option<String>,
}

impl Door {
    async fn open(&self) -> anyhow::Result<Opened> {
        let (NamedStore { name, url }, credentials) = (&self.named, self.credentials.as_deref());
        let objects = store::connect(url, credentials, &self.metrics)
            .await
            .with_context(|| format!("failed to open the store '{name}', {url}"))?;
        if self.prove {
            store::probe::prove(&*objects, &SystemRandom)
                .await
                .with_context(|| format!("refused to serve from the store '{name}', {url}"))?;
        }
        if let Some(cluster) = &self.cluster {
            store::claim(&*objects, cluster)
                .await
                .with_context(|| format!("refused to serve from the store '{name}', {url}"))?;
        }
        if !self.prove {
            return Ok((objects, None));
        }
        let direct = Direct::open(url, credentials, &self.metrics, &SystemRandom)
            .await
            .with_context(|| format!("failed to learn what clients may do with the store '{name}', {url}"))?;
        if let Some(reason) = direct.as_ref().and_then(Direct::flaw) {
            tracing::warn!(store = name, reason, "LFS uploads do not go straight to the bucket, downloads do");
        }
        Ok((objects, direct))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_has_credentials_of_its_own_or_those_of_all() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("far")).unwrap();
        std::fs::write(folder.path().join("third"), "no folder").unwrap();
        let of = |store: &str| credentials_of(folder.path(), store);
        assert_eq!(of("far"), folder.path().join("far"));
        assert_eq!((of("default"), of("third")), (folder.path().to_owned(), folder.path().to_owned()));
    }
}
