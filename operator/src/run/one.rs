//! One repository of a store, opened without a server.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use controllers::Folder;
use git::odb::{Packs, ReadCache};
use git::peel::peel;
use model::desired::DesiredState;
use model::{ObjectId, RepositoryPath};
use prometheus::Registry;
use store::{LocalPack, Past, Repositories, Repository, Snapshot};
use tokio::sync::watch;

use crate::args::{OneArgs, StoreArgs};
use crate::pack_tools;
use crate::stores::{self, Stores};

/// The repository, its newest state, and the store that has it.
pub(super) struct One {
    pub(super) store: Arc<Repositories>,
    pub(super) repository: Arc<Repository>,
    pub(super) snapshot: Arc<Snapshot>,
}

impl One {
    /// Opens it in the store that holds it.
    pub(super) async fn open(args: &OneArgs) -> anyhow::Result<Self> {
        for (name, store) in open(&args.stores, args.manifests.as_deref()).await? {
            let path = &args.repository;
            let found =
                store.find(path).await.with_context(|| format!("failed to look for {path} in the store '{name}'"))?;
            if let Some(id) = found {
                let repository = store.open(&id).await.with_context(|| format!("failed to open {path}"))?;
                let snapshot = repository.snapshot().await.with_context(|| format!("failed to read {path}"))?;
                return Ok(Self { store, repository, snapshot });
            }
        }
        bail!("no store holds the repository {}", args.repository)
    }

    /// The references of a moment, or of now.
    pub(super) async fn past(&self, args: &OneArgs) -> anyhow::Result<Past> {
        let moment = args.at.unwrap_or(store::Moment::Generation(self.snapshot.generation));
        Ok(self.repository.past(&self.snapshot, moment).await?)
    }

    /// All packs on this machine's disk.
    pub(super) async fn packs(&self) -> anyhow::Result<Vec<LocalPack>> {
        Ok(self.repository.local_packs(&self.snapshot).await.context("failed to bring the packs in")?.packs)
    }
}

/// Opens stores as no server does: nothing is proven or claimed. The manifests have the keys of encrypted repositories.
pub(super) async fn open(args: &StoreArgs, manifests: Option<&Path>) -> anyhow::Result<Stores> {
    let desired = load(args, manifests)?.map(|desired| watch::channel(desired).1);
    // A store alone may be one of several: which of its entries count is then said by what it knows of epochs.
    let opening = stores::Opening { desired, everywhere: args.store.len() == 1, ..stores::Opening::default() };
    stores::open(args, &Registry::new(), opening).await
}

/// Stores between which repositories move.
pub(super) struct Opened {
    pub(super) stores: Stores,
    desired: Option<Arc<DesiredState>>,
}

impl Opened {
    /// The repositories of the manifests.
    pub(super) fn repositories(&self) -> Option<Vec<RepositoryPath>> {
        Some(self.desired.as_ref()?.repositories.keys().cloned().collect())
    }

    /// The store that the manifest of a repository names.
    pub(super) fn home(&self, path: &RepositoryPath) -> Option<String> {
        Some(self.desired.as_ref()?.repositories.get(path)?.store.clone())
    }
}

/// The same for promotions and comparisons: a store may be lost. Without manifests every store may hold every repository.
pub(super) async fn open_all(args: &StoreArgs, manifests: Option<&Path>) -> anyhow::Result<Opened> {
    let desired = load(args, manifests)?;
    let opening = stores::Opening {
        desired: desired.clone().map(|desired| watch::channel(desired).1),
        everywhere: true,
        ..stores::Opening::default()
    };
    Ok(Opened { stores: stores::open(args, &Registry::new(), opening).await?, desired })
}

fn load(args: &StoreArgs, manifests: Option<&Path>) -> anyhow::Result<Option<Arc<DesiredState>>> {
    let Some(folder) = manifests else { return Ok(None) };
    let loaded = Folder::new(folder, args.names()).replicating(args.replication()?).load()?;
    for problem in &loaded.problems {
        tracing::warn!("{problem}");
    }
    Ok(Some(Arc::new(loaded.desired)))
}

/// What references at these objects peel to, in their order.
pub(super) fn peeled(packs: &[LocalPack], ids: &[ObjectId]) -> anyhow::Result<Vec<Option<ObjectId>>> {
    let (packs, mut cache): (Packs, _) = (pack_tools::open(packs).map_err(anyhow::Error::msg)?, ReadCache::default());
    let peel = |id: &ObjectId| Ok(peel(&packs, id, &mut cache)?.map(|peeled| peeled.target));
    ids.iter().map(peel).collect()
}

/// Prints a line.
pub(super) fn say(line: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{line}").context("failed to print")
}
