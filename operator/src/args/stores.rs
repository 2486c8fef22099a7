//! Where repositories are kept: flags that commands share which open stores.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use model::replication::Replication;
use store::StoreUrl;

/// Where repositories and cached packs are.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// Object store: `file:DIR` or `s3://BUCKET[/PREFIX][?region=&endpoint=&path-style=true]`; repeat as `NAME=URL`
    /// for stores that Repositories choose by `spec.store` (without a name it is the store `default`)
    #[arg(
        long,
        env = "CODEKEEP_STORE",
        value_name = "[NAME=]URL",
        default_value = "file:./data",
        value_delimiter = ','
    )]
    pub(crate) store: Vec<NamedStore>,
    /// Folder of the disposable local cache
    #[arg(long, env = "CODEKEEP_CACHE", value_name = "DIR", default_value = "./cache")]
    pub(crate) cache: PathBuf,
    /// Bytes that the cache may hold, e.g. 512Mi or 10Gi
    #[arg(long, env = "CODEKEEP_CACHE_SIZE", value_name = "SIZE", default_value = "10Gi", value_parser = model::quantity::parse_bytes)]
    pub(crate) cache_size: u64,
    /// Folder with files `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, if need be, `AWS_SESSION_TOKEN`, as a mounted Secret
    /// has them; they come before the standard AWS chain, and new keys take effect within half a minute. A folder in it with the
    /// name of a store holds for that store in its place
    #[arg(long, env = "CODEKEEP_STORE_CREDENTIALS", value_name = "DIR")]
    pub(crate) store_credentials: Option<PathBuf>,
    /// Further stores that hold the Repositories of a store which do not say so themselves by `spec.replication`:
    /// `NAME=MODE:STORE[+STORE...][:QUORUM]` with the mode Asynchronous or Synchronous (repeatable)
    #[arg(long, env = "CODEKEEP_STORE_REPLICATION", value_name = "NAME=MODE:STORES", value_delimiter = ',')]
    pub(crate) store_replication: Vec<NamedReplication>,
    /// Services that keep keys of encrypted repositories, by the name that Repositories use: NAME=URL with `awskms://REGION` or
    /// `vault+https://HOST[:PORT]/MOUNT[?role=ROLE]` (repeatable)
    #[arg(long, env = "CODEKEEP_KEY_SERVICE", value_name = "NAME=URL", value_delimiter = ',')]
    pub(crate) key_service: Vec<NamedKeyService>,
    /// Folder with a folder for each key service that needs credentials, by its name: `AWS_ACCESS_KEY_ID` and
    /// `AWS_SECRET_ACCESS_KEY`, or `VAULT_TOKEN`; without them the standard AWS chain applies
    #[arg(long, env = "CODEKEEP_KEY_SERVICE_CREDENTIALS", value_name = "DIR")]
    pub(crate) key_service_credentials: Option<PathBuf>,
}

/// How Repositories of a store are replicated that do not say.
#[derive(Clone, Debug)]
pub(crate) struct NamedReplication {
    pub(crate) store: String,
    pub(crate) replication: Replication,
}

impl std::str::FromStr for NamedReplication {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (store, replication) = text.split_once('=').ok_or("it names no store: write NAME=MODE:STORE[+STORE...]")?;
        let replication: Replication = replication.parse()?;
        match replication.flaw(store) {
            Some(flaw) => Err(flaw),
            None => Ok(Self { store: store.to_owned(), replication }),
        }
    }
}

impl StoreArgs {
    /// Names of the stores.
    pub(crate) fn names(&self) -> Vec<String> {
        self.store.iter().map(|store| store.name.clone()).collect()
    }

    /// How Repositories of a store are replicated that do not say, by its name.
    pub(crate) fn replication(&self) -> anyhow::Result<BTreeMap<String, Arc<Replication>>> {
        let mut defaults = BTreeMap::new();
        for NamedReplication { store, replication } in &self.store_replication {
            let named = replication.stores.iter().chain([store]);
            let unknown = named.into_iter().find(|name| !self.store.iter().any(|known| known.name == **name));
            if let Some(name) = unknown {
                anyhow::bail!("--store-replication {store}={replication}: there is no --store {name}=URL; add it");
            }
            if defaults.insert(store.clone(), Arc::new(replication.clone())).is_some() {
                anyhow::bail!("--store-replication names the store '{store}' twice; remove one");
            }
        }
        Ok(defaults)
    }
}

/// The address of a key service with the name that Repositories use for it.
#[derive(Clone, Debug)]
pub(crate) struct NamedKeyService {
    pub(crate) name: String,
    pub(crate) url: keys::KeyServiceUrl,
}

impl std::str::FromStr for NamedKeyService {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = text.split_once('=').filter(|(name, _)| !name.is_empty() && !name.contains([':', '/', '?']));
        let (name, url) = named.ok_or("the key service has no name: write NAME=URL")?;
        Ok(Self { name: name.to_owned(), url: url.parse().map_err(|error| format!("{error}"))? })
    }
}

/// A store URL with the name that Repositories use for it.
#[derive(Clone, Debug)]
pub(crate) struct NamedStore {
    pub(crate) name: String,
    pub(crate) url: StoreUrl,
}

/// The store of Repositories that name none.
pub(crate) const DEFAULT_STORE: &str = "default";

impl std::str::FromStr for NamedStore {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `=` also occurs in a URL's query, so a name is only what stands before the scheme.
        let (name, url) = match text.split_once('=') {
            Some((name, url)) if !name.contains([':', '/', '?']) => (name, url),
            _ => (DEFAULT_STORE, text),
        };
        if name.is_empty() {
            return Err("the store has an empty name: write NAME=URL".to_owned());
        }
        let url = url.parse().map_err(|error| format!("{error}"))?;
        Ok(Self { name: name.to_owned(), url })
    }
}
