//! When all is calm: every server says the same, everything is there, the store's own check finds nothing, and pushes go on.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use model::{ObjectId, RefName, RepositoryPath};
use store::{Push, RefEdit, Repositories};

use crate::bucket::Bucket;
use crate::client::fetch::fetch;
use crate::client::open;
use crate::ledger::Refs;
use crate::server::Server;

/// Servers that stood still or were about to restart are back after this time.
const RETURN: Duration = Duration::from_hours(5);

/// Asks every server for everything.
pub(crate) async fn converge(bucket: &Arc<Bucket>, servers: &[Arc<Server>], paths: &[RepositoryPath]) -> Result<()> {
    tokio::time::sleep(RETURN).await;
    for path in paths {
        for server in servers {
            last_push(server, path).await.with_context(|| format!("the last push to {}", server.name))?;
        }
        for server in servers {
            compare(bucket, server, path).await.with_context(|| format!("a last look at {}", server.name))?;
        }
        if let Some(server) = servers.first() {
            check(server, path).await?;
        }
    }
    Ok(())
}

/// A push after all that happened is accepted.
async fn last_push(server: &Arc<Server>, path: &RepositoryPath) -> Result<()> {
    let (path, name) = (path.clone(), server.name.clone());
    let push = |repositories: Arc<Repositories>| async move {
        let repository = open(&repositories, &path).await?;
        let snapshot = repository.snapshot().await?;
        let name = RefName::branch(&format!("last-{name}"))?;
        let Some(id) = snapshot.refs.iter().map(|(_, id)| *id).next() else { return Ok(()) };
        let edits = vec![RefEdit { old: snapshot.refs.get(&name), name, new: Some(id) }];
        let push = Push {
            actor: "last".to_owned(),
            request_id: "last".to_owned(),
            options: vec![],
            atomic: false,
            edits,
            pack: None,
            dropped: vec![],
            default_branch: None,
        };
        repository.commit(Push { request_id: format!("last-{}", server_word(&push)), ..push }).await?;
        anyhow::Ok(())
    };
    server.serve(push).await.context("no answer")?
}

fn server_word(push: &Push) -> String {
    push.edits.iter().map(|edit| edit.name.to_string()).collect()
}

/// What a server says is what the log says, and all objects are there.
async fn compare(bucket: &Arc<Bucket>, server: &Arc<Server>, path: &RepositoryPath) -> Result<()> {
    let (path, universe) = (path.clone(), Arc::clone(&bucket.ledger.universe));
    let answer =
        server.serve(|repositories| async move { fetch(&repositories, &path, &universe, Duration::ZERO).await });
    let (told, objects) = answer.await.context("no answer")??;
    objects.map_err(anyhow::Error::msg)?;
    let refs: Refs = told.snapshot.refs.iter().map(|(name, id): (_, &ObjectId)| (name.clone(), *id)).collect();
    let logs = bucket.ledger.logs();
    let log = logs.get(told.repository.id().as_str());
    let wanted = log.and_then(|log| log.refs(log.last())).unwrap_or_default();
    ensure!(refs == *wanted, "its references are not those of the log");
    Ok(())
}

/// `codekeep fsck` finds nothing.
async fn check(server: &Arc<Server>, path: &RepositoryPath) -> Result<()> {
    let path = path.clone();
    let report = server.serve(|repositories| async move { repositories.check(&path).await });
    let Some(report) = report.await.context("no answer")?? else { bail!("the repository is gone") };
    ensure!(report.problems.is_empty(), "a check found {}", report.problems.join("; "));
    Ok(())
}
