//! Writes a long log for `cargo xtask bench store`: references and entries, by the store's own code, on a disk that need not keep
//! them. It is an example and not a program so that the programs of this crate do not depend on ours.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Parser;
use model::clock::{SystemClock, SystemRandom};
use model::{ObjectId, RefName, RepositoryPath};
use store::{
    Cache, Context, FileStore, KeySources, LocalPack, PackTools, Policy, Push, ReceivedPack, RefEdit, Repositories,
    Repository, StoreMetrics,
};

/// References that one push creates.
const BATCH: u64 = 20_000;

#[derive(Debug, Parser)]
struct Options {
    /// Folder of the store
    #[arg(long)]
    store: PathBuf,
    #[arg(long)]
    namespace: String,
    #[arg(long)]
    name: String,
    /// A commit that the repository has
    #[arg(long)]
    id: String,
    /// References that it shall have, about
    #[arg(long)]
    references: u64,
    /// Entries that its log shall have, at least
    #[arg(long)]
    entries: u64,
}

/// Pushes without packs leave nothing to fold.
struct NoPacks;

impl PackTools for NoPacks {
    fn fold(&self, _: &[LocalPack], _: &Path) -> Result<ReceivedPack, String> {
        Err("there are no packs to fold".to_owned())
    }

    fn prune(&self, _: &[LocalPack], _: &[ObjectId], _: &Path) -> Result<Option<ReceivedPack>, String> {
        Err("there are no packs to prune".to_owned())
    }

    fn covers(&self, _: &[LocalPack], _: bool, _: &[ObjectId]) -> Result<bool, String> {
        Err("there are no packs to look into".to_owned())
    }

    fn tabulate(&self, _: &[LocalPack], _: usize, _: &Path) -> Result<bool, String> {
        Err("there are no packs to tabulate".to_owned())
    }

    fn bundle(&self, _: &[LocalPack], _: &[Option<PathBuf>], _: (&RefName, ObjectId), _: &Path) -> Result<u64, String> {
        Err("there are no packs to bundle".to_owned())
    }

    fn is_behind(&self, _: &[LocalPack], _: ObjectId, _: ObjectId) -> Result<bool, String> {
        Err("there are no packs to bundle".to_owned())
    }

    fn verify(&self, _: &[LocalPack], _: &[ObjectId], _: usize) -> Result<Vec<String>, String> {
        Err("nothing is verified here".to_owned())
    }

    fn lfs_unnamed(
        &self,
        _: &[LocalPack],
        _: std::collections::HashSet<model::lfs::Oid>,
    ) -> Result<std::collections::HashSet<model::lfs::Oid>, String> {
        Err("there are no packs to look into".to_owned())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let metrics = StoreMetrics::new(&prometheus::Registry::new())?;
    let store = Arc::new(FileStore::open(&options.store, metrics.clone()).await?.without_sync());
    let cache = tempfile::tempdir()?;
    let cache = Arc::new(Cache::open(cache.path(), 1 << 20, &metrics)?);
    let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom));
    let context = Context {
        cache,
        tools: Arc::new(NoPacks),
        clock,
        random,
        policy: Policy::default(),
        metrics,
        keys: KeySources::default(),
    };
    let repositories = Repositories::new(store, context);
    let path = RepositoryPath { namespace: options.namespace.parse()?, name: options.name.parse()? };
    let id = repositories.find(&path).await?.context("there is no such repository")?;
    let repository = repositories.open(&id).await?;
    let tip: ObjectId = ObjectId::from_hex(options.id.as_bytes())?;
    grow(&repository, tip, &options).await?;
    // What is written after the last push is written within a second or two.
    let mut generations = repository.generations();
    while tokio::time::timeout(std::time::Duration::from_secs(4), generations.changed()).await.is_ok() {}
    Ok(())
}

async fn grow(repository: &Arc<Repository>, tip: ObjectId, options: &Options) -> Result<()> {
    let mut made = 0;
    while made < options.references {
        let until = (made + BATCH).min(options.references);
        let edits: Result<Vec<RefEdit>> = (made..until)
            .map(|number| {
                Ok(RefEdit {
                    name: name(&format!("branch/{:02}/{number:06}", number % 100))?,
                    old: None,
                    new: Some(tip),
                    peeled: None,
                })
            })
            .collect();
        repository.commit(push(edits?)).await?;
        made = until;
    }
    let toggled = name("toggled")?;
    let mut old = None;
    while repository.known().generation < options.entries {
        let new = if old.is_none() { Some(tip) } else { None };
        repository.commit(push(vec![RefEdit { name: toggled.clone(), old, new, peeled: None }])).await?;
        old = new;
    }
    Ok(())
}

fn name(branch: &str) -> Result<RefName> {
    Ok(RefName::branch(branch)?)
}

fn push(edits: Vec<RefEdit>) -> Push {
    let (actor, request_id) = ("team-a/alice".to_owned(), "write-log".to_owned());
    Push {
        actor,
        request_id,
        options: vec![],
        certificate: None,
        atomic: false,
        edits,
        pack: None,
        // Without a pack nothing was checked that could have gone meanwhile.
        checked_at: u64::MAX,
        dropped: vec![],
        default_branch: None,
    }
}
