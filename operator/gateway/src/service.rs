//! Fetch and push, joined from `git` and `store`. Transports hand over an authorized request and get bytes back.

mod fetch;
pub(crate) mod lfs;
mod open_packs;
mod push;
mod refs;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use git::advertise::{Service, Version};
use model::desired::RepositoryConfig;
use model::error::Kind;
use store::{Repositories, Repository, Snapshot};
use tokio::sync::OwnedSemaphorePermit;

use crate::authorize::Caller;
use crate::gateway::Gateway;
use crate::http::body::{self, BodyWriter};
use crate::http::respond;
use crate::metrics::Measure;
pub(crate) use fetch::fetch;
pub(crate) use open_packs::OpenPacks;
pub(crate) use push::push;

/// A request that may work on a repository.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) config: Arc<RepositoryConfig>,
    pub(crate) caller: Caller,
    pub(crate) measure: Arc<Measure>,
}

/// Why work could not begin or go on, as the client reads it.
#[derive(Debug)]
pub(crate) struct Trouble {
    kind: Kind,
    line: String,
}

impl Trouble {
    pub(crate) fn new(kind: Kind, line: impl Into<String>) -> Self {
        Self { kind, line: line.into() }
    }

    /// An error of the store: the client learns what to do, the log learns why.
    pub(crate) fn of_store(error: &store::Error, work: &Work) -> Self {
        let kind = error.kind();
        tracing::warn!(request.id = work.caller.request_id, repo.name = %work.config.path, %error, "the store failed a request");
        let line = match kind {
            Kind::Unavailable => "the storage of this server is not available; nothing was changed, try again",
            Kind::Denied => "the storage of this server refuses it; nothing was changed, ask its operator",
            _ => "the data of this repository is damaged or cannot be read; ask the operator of this server",
        };
        Self::new(kind, line)
    }

    pub(crate) fn internal(error: &dyn std::error::Error, work: &Work) -> Self {
        tracing::error!(request.id = work.caller.request_id, repo.name = %work.config.path, error = %chain(error), "a request failed");
        Self::new(Kind::Internal, "the server failed; ask its operator")
    }

    /// The line with the request's id, so that the operator finds the log.
    pub(crate) fn line(&self, work: &Work) -> String {
        format!("{} (request {})", self.line, work.caller.request_id)
    }

    /// The label of the trouble in metrics.
    fn outcome(&self) -> &'static str {
        if self.kind == Kind::Unavailable { "unavailable" } else { "error" }
    }

    fn response(&self, work: &Work) -> Response {
        let line = format!("{}\n", self.line(work));
        match self.kind {
            Kind::Unavailable => respond::unavailable(line),
            _ => respond::text(http::StatusCode::INTERNAL_SERVER_ERROR, line),
        }
    }
}

/// An error with its causes in one line, for the log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

impl Work {
    fn store(&self) -> Result<&Arc<Repositories>, Trouble> {
        self.gateway.stores.get(&self.config.store).ok_or_else(|| {
            let line = format!("the store '{}' of this repository is not configured on this server", self.config.store);
            Trouble::new(Kind::Internal, line)
        })
    }

    /// The repository; one that nobody used yet is created in the store.
    async fn open(&self) -> Result<Arc<Repository>, Trouble> {
        let store = self.store()?;
        let open = async { store.open(&store.find_or_create(&self.config.path).await?).await };
        open.await.map_err(|error| Trouble::of_store(&error, self))
    }

    /// The repository with its state as the log has it now, or had within this time.
    async fn open_within(&self, staleness: Duration) -> Result<(Arc<Repository>, Arc<Snapshot>), Trouble> {
        let store = self.store()?;
        let open = async { store.open_within(&store.find_or_create(&self.config.path).await?, staleness).await };
        open.await.map_err(|error| Trouble::of_store(&error, self))
    }

    /// A turn among the operations that work at the same time.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, Trouble> {
        let waiting = Arc::clone(&self.gateway.operations).acquire_owned();
        match tokio::time::timeout(self.gateway.config.queue_timeout, waiting).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Trouble::new(Kind::Unavailable, "the server is busy; try again in a few seconds")),
        }
    }
}

/// The answer to `info/refs`.
pub(crate) async fn advertise(work: Work, service: Service, version: Version) -> Response {
    let content_type = format!("application/x-{}-advertisement", service.name());
    if service == Service::UploadPack && version == Version::V2 {
        // It says what this server can do; the repository is asked for with the command that follows.
        return whole(&work, &content_type, git::advertise::capabilities_v2());
    }
    match advertisement(&work, service, version).await {
        Ok(bytes) => whole(&work, &content_type, bytes),
        Err(trouble) => trouble.response(&work),
    }
}

async fn advertisement(work: &Work, service: Service, version: Version) -> Result<Vec<u8>, Trouble> {
    let turn = work.turn().await?;
    // A push is made against what it is shown, so that must be true.
    let staleness = if service == Service::UploadPack { work.config.max_staleness } else { Duration::ZERO };
    let (_, snapshot) = work.open_within(staleness).await?;
    let config = Arc::clone(&work.config);
    blocking(work, move || {
        let _turn = turn;
        let view = refs::View::new(&snapshot, &config);
        Ok(git::advertise::advertise(service, version, &view.references()))
    })
    .await
}

/// An answer of git data that is there as a whole.
fn whole(work: &Work, content_type: &str, bytes: Vec<u8>) -> Response {
    work.gateway.metrics.sent_bytes.inc_by(bytes.len() as u64);
    respond::git(content_type, Body::from(bytes))
}

/// Runs blocking work; a panic in it is one failed request.
async fn blocking<T: Send + 'static>(
    work: &Work,
    task: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    tokio::task::spawn_blocking(task).await.unwrap_or_else(|error| Err(Trouble::internal(&error, work)))
}

/// Runs blocking work that writes the body of an answer. Errors go in-band: the status line is gone by then.
fn stream(
    work: &Work,
    content_type: &str,
    task: impl FnOnce(&mut BodyWriter, &Arc<AtomicBool>) + Send + 'static,
) -> Response {
    let interrupt = Arc::new(AtomicBool::new(false));
    let (mut writer, body) = body::channel(Arc::clone(&interrupt), work.gateway.metrics.sent_bytes.clone());
    tokio::task::spawn_blocking(move || {
        task(&mut writer, &interrupt);
        // Whatever the task left in the buffer; a client that has gone does not want it.
        let _ = std::io::Write::flush(&mut writer);
    });
    respond::git(content_type, body)
}
