//! When all is calm: pushes go on, maintenance comes to an end, every server says the same, everything is there and nothing else,
//! and the store's own check finds nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use model::{RefName, RepositoryPath};
use store::{Push, RefEdit, Repositories};

use crate::bucket::Bucket;
use crate::client::fetch::fetch;
use crate::client::open;
use crate::ledger::{Log, upload};
use crate::refs::Refs;
use crate::server::Server;

/// Servers that stood still or were about to restart are back after this time.
const RETURN: Duration = Duration::from_hours(5);
/// Rounds after which maintenance has nothing left to do: what one retires, the next one deletes.
const ROUNDS: u32 = 5;

/// What is left when actors have come to an end.
pub(crate) struct Finale<'a> {
    pub(crate) bucket: &'a Arc<Bucket>,
    pub(crate) servers: &'a [Arc<Server>],
    pub(crate) paths: &'a [RepositoryPath],
    /// After this time everything is old.
    pub(crate) old: Duration,
}

impl Finale<'_> {
    /// Asks every server for everything.
    pub(crate) async fn converge(&self) -> Result<()> {
        tokio::time::sleep(RETURN).await;
        for path in self.paths {
            for server in self.servers {
                last_push(server, path).await.with_context(|| format!("the last push to {}", server.name))?;
            }
        }
        self.maintain().await;
        if let Some(server) = self.servers.first() {
            server.lose();
        }
        tokio::time::sleep(RETURN).await;
        for path in self.paths {
            for server in self.servers {
                self.compare(server, path).await.with_context(|| format!("a last look at {}", server.name))?;
            }
            if let Some(server) = self.servers.first() {
                check(server, path).await?;
            }
        }
        self.is_tidy()
    }

    async fn maintain(&self) {
        for _ in 0..ROUNDS {
            tokio::time::sleep(self.old).await;
            for server in self.servers {
                for path in self.paths {
                    server.maintain_one(path).await;
                }
            }
        }
    }

    /// What a server says is what the log says, and all objects are there.
    async fn compare(&self, server: &Arc<Server>, path: &RepositoryPath) -> Result<()> {
        let (path, universe) = (path.clone(), Arc::clone(&self.bucket.ledger.universe));
        let world = Arc::clone(&self.bucket.world);
        let work = |repositories: Arc<Repositories>| async move {
            let repository = open(&repositories, &path).await?;
            fetch(repository, &universe, &world, (Duration::ZERO, Duration::MAX)).await
        };
        let (told, objects) = server.serve(work).await.context("no answer")??;
        objects.map_err(anyhow::Error::msg)?;
        let refs = Refs::of(&told.snapshot.refs);
        let logs = self.bucket.ledger.logs();
        let log = logs.get(told.repository.id().as_str());
        ensure!(refs == *log.map(newest).unwrap_or_default(), "its references are not those of the log");
        Ok(())
    }

    /// Nothing is left that nobody needs.
    fn is_tidy(&self) -> Result<()> {
        let logs = self.bucket.ledger.logs();
        for (repository, log) in logs.iter() {
            let packs = format!("{repository}/packs/");
            for key in self.bucket.keys().iter().filter(|key| key.starts_with(&packs)) {
                ensure!(log.needs_upload(upload(key)), "{key} is left, and nobody needs it");
            }
            let refs = newest(log);
            let wanted = self.bucket.ledger.universe.reachable(refs.tips(), &BTreeSet::new());
            let useless = log.objects().filter(|id| !wanted.contains(*id)).count();
            ensure!(useless == 0, "{useless} objects are left that nothing leads to");
        }
        Ok(())
    }
}

fn newest(log: &Log) -> Arc<Refs> {
    log.refs(log.last()).unwrap_or_default()
}

/// A push after all that happened is accepted.
async fn last_push(server: &Arc<Server>, path: &RepositoryPath) -> Result<()> {
    let (path, name) = (path.clone(), server.name.clone());
    let push = |repositories: Arc<Repositories>| async move {
        let repository = open(&repositories, &path).await?;
        let snapshot = repository.snapshot().await?;
        let Some(id) = snapshot.refs.iter().map(|found| found.id).next() else { return Ok(()) };
        let branch = RefName::branch(&format!("last-{name}"))?;
        let push = Push {
            actor: "last".to_owned(),
            request_id: format!("last-{name}"),
            options: vec![],
            certificate: None,
            atomic: false,
            edits: vec![RefEdit { old: snapshot.refs.get(&branch), name: branch, new: Some(id), peeled: None }],
            pack: None,
            checked_at: snapshot.generation,
            dropped: vec![],
            default_branch: None,
        };
        repository.commit(push).await?;
        anyhow::Ok(())
    };
    server.serve(push).await.context("no answer")?
}

/// `codekeep fsck` finds nothing.
async fn check(server: &Arc<Server>, path: &RepositoryPath) -> Result<()> {
    let path = path.clone();
    let report = server.serve(|repositories| async move { repositories.check(&path).await });
    let Some(report) = report.await.context("no answer")?? else { bail!("the repository is gone") };
    ensure!(report.problems.is_empty(), "a check found {}", report.problems.join("; "));
    Ok(())
}
