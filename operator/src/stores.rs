//! Opens the stores that the command line names: connect, prove the bucket, put the cache in front.

mod pending;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use model::RepositoryPath;
use model::clock::{SystemClock, SystemRandom};
use model::desired::DesiredState;
use model::encryption::Encryption;
use model::replication::{Replication, ReplicationMode};
use prometheus::Registry;
use store::{
    Cache, Context, Direct, KeySources, Manifests, NoManifests, ObjectStore, Peers, Policy, Repositories, StoreMetrics,
};
use tokio::sync::watch;

use crate::args::{NamedKeyService, NamedStore, StoreArgs};
use crate::pack_tools::GitPackTools;
use pending::Pending;

/// The repositories of each store, by the store's name.
pub(crate) type Stores = BTreeMap<String, Arc<Repositories>>;

/// How stores are opened.
#[derive(Default)]
pub(crate) struct Opening<'a> {
    /// Refuse a bucket that does not do what commits rest on; and let clients reach it, where its URL says so.
    pub(crate) prove: bool,
    /// The cluster whose the prefixes have to be.
    pub(crate) cluster: Option<&'a str>,
    /// When maintenance does what.
    pub(crate) policy: Policy,
    /// What the manifests say of encryption.
    pub(crate) desired: Option<watch::Receiver<Arc<DesiredState>>>,
    /// Where no manifest says where else repositories are, they may be in all stores.
    pub(crate) everywhere: bool,
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
        keys: key_sources(args, &opening).await?,
    };
    let (mut connected, mut links) = (BTreeMap::new(), BTreeMap::new());
    for (name, (objects, direct)) in Box::pin(connect_all(args, &metrics, &opening)).await? {
        links.insert(name.clone(), direct);
        if connected.insert(name.clone(), objects).is_some() {
            bail!("two stores are named '{name}': give each --store its own NAME=URL");
        }
    }
    // A repository may be in several of them.
    let peers = Peers::new(connected);
    let repositories = links.into_iter().filter_map(|(name, direct)| {
        let repositories = Repositories::among(&peers, &name, direct, context.clone())?;
        Some((name, Arc::new(repositories)))
    });
    Ok(repositories.collect())
}

/// Connects to all stores; at least one has to answer. One that does not is tried again beside what goes on: repositories that are in another
/// one as well can be read, or go on there.
async fn connect_all(
    args: &StoreArgs,
    metrics: &StoreMetrics,
    opening: &Opening<'_>,
) -> anyhow::Result<Vec<(String, Connected)>> {
    for (at, named) in args.store.iter().enumerate() {
        if let Some(other) = args.store[..at].iter().find(|other| other.url == named.url) {
            let (one, other, url) = (&named.name, &other.name, &named.url);
            bail!("the stores '{other}' and '{one}' are the same place, {url}: what is in both would be there once");
        }
    }
    let ways = args.store.iter().map(|named| Way {
        named: named.clone(),
        credentials: args.store_credentials.as_deref().map(|folder| credentials_of(folder, &named.name)),
        metrics: metrics.clone(),
        prove: opening.prove,
        cluster: opening.cluster.map(str::to_owned),
    });
    let (mut connected, mut silent) = (vec![], vec![]);
    for way in ways {
        let name = way.named.name.clone();
        if args.store.len() == 1 {
            connected.push((name, connect_patiently(&way, opening).await?));
            continue;
        }
        match connect(&way).await {
            Ok(store) => connected.push((name, store)),
            Err(error) if pending::is_silent(&error) => silent.push((way, format!("{error:#}"))),
            Err(_) => connected.push((name, connect_patiently(&way, opening).await?)),
        }
    }
    if connected.is_empty() && !silent.is_empty() {
        let (way, _) = silent.remove(0);
        connected.push((way.named.name.clone(), connect_patiently(&way, opening).await?));
    }
    let waiting = silent.into_iter().map(|(way, reason)| {
        tracing::error!(store = way.named.name, error = reason, "a store does not answer: it is tried again");
        (way.named.name.clone(), (Pending::begin(way), None))
    });
    Ok(connected.into_iter().chain(waiting).collect())
}

/// The folder of a store's credentials: its own, where there is one.
fn credentials_of(folder: &Path, store: &str) -> PathBuf {
    let own = folder.join(store);
    if own.is_dir() { own } else { folder.to_owned() }
}

/// Where the keys of encrypted repositories come from.
async fn key_sources(args: &StoreArgs, opening: &Opening<'_>) -> anyhow::Result<KeySources> {
    let mut services = BTreeMap::new();
    for NamedKeyService { name, url } in &args.key_service {
        let credentials = args.key_service_credentials.as_ref().map(|folder| folder.join(name));
        let service = keys::connect(url, credentials.as_deref()).await;
        let service = service.with_context(|| format!("failed to open the key service '{name}', {url}"))?;
        if services.insert(name.clone(), service).is_some() {
            bail!("two key services are named '{name}': give each --key-service its own NAME=URL");
        }
    }
    let manifests: Arc<dyn Manifests> = match &opening.desired {
        Some(desired) => Arc::new(Desired(desired.clone())),
        None if opening.everywhere => Arc::new(Everywhere::new(&args.store)),
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

/// Every store may hold every repository; in which mode is not known.
struct Everywhere(Arc<Replication>);

impl Everywhere {
    fn new(stores: &[NamedStore]) -> Self {
        let stores = stores.iter().map(|store| store.name.clone()).collect();
        Self(Arc::new(Replication { mode: ReplicationMode::Asynchronous, stores, quorum: None, primary: None }))
    }
}

impl Manifests for Everywhere {
    fn encryption(&self, _: &RepositoryPath) -> Option<Encryption> {
        None
    }

    fn replication(&self, _: &RepositoryPath) -> Option<Arc<Replication>> {
        Some(Arc::clone(&self.0))
    }
}

/// How a store is reached.
#[derive(Clone)]
struct Way {
    named: NamedStore,
    credentials: Option<PathBuf>,
    metrics: StoreMetrics,
    prove: bool,
    cluster: Option<String>,
}

/// A store, and the way that clients have to it.
type Connected = (Arc<dyn ObjectStore>, Option<Direct>);

async fn connect_patiently(way: &Way, opening: &Opening<'_>) -> anyhow::Result<Connected> {
    let mut told = String::new();
    loop {
        let (error, waits) = match (connect(way).await, opening.waits) {
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

async fn connect(way: &Way) -> anyhow::Result<Connected> {
    let Way { named: NamedStore { name, url }, credentials, metrics, prove, cluster } = way;
    let credentials = credentials.as_deref();
    let objects = store::connect(url, credentials, metrics)
        .await
        .with_context(|| format!("failed to open the store '{name}', {url}"))?;
    if *prove {
        store::probe::prove(&*objects, &SystemRandom)
            .await
            .with_context(|| format!("refused to serve from the store '{name}', {url}"))?;
    }
    if let Some(cluster) = cluster {
        store::claim(&*objects, cluster)
            .await
            .with_context(|| format!("refused to serve from the store '{name}', {url}"))?;
    }
    if !prove {
        return Ok((objects, None));
    }
    let direct = Direct::open(url, credentials, metrics, &SystemRandom)
        .await
        .with_context(|| format!("failed to learn what clients may do with the store '{name}', {url}"))?;
    if let Some(reason) = direct.as_ref().and_then(Direct::flaw) {
        tracing::warn!(store = name, reason, "LFS uploads do not go straight to the bucket, downloads do");
    }
    Ok((objects, direct))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        stores: StoreArgs,
    }

    #[tokio::test]
    async fn one_place_under_two_names_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = |name: &str, at: &str| format!("--store={name}=file:{}", folder.path().join(at).display());
        let cache = format!("--cache={}", folder.path().join("cache").display());
        let opened = async |far: &str| {
            let words = ["codekeep".to_owned(), cache.clone(), store("default", "one"), store("far", far)];
            let line = <Line as clap::Parser>::parse_from(words);
            open(&line.stores, &Registry::new(), Opening::default()).await.map(|stores| stores.len())
        };
        let refused = opened("one").await.unwrap_err().to_string();
        assert!(refused.contains("'default' and 'far' are the same place"), "{refused}");
        assert_eq!(opened("two").await.unwrap(), 2);
    }

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
