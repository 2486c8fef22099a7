//! Fetch and push, joined from `git` and `store`. Transports hand over an authorized request and get bytes back; how those travel
//! is theirs.

pub(crate) mod bundle;
pub(crate) mod fetch;
mod kept;
mod open_packs;
pub(crate) mod push;
mod refs;

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use git::advertise::{Service, Version};
use model::desired::RepositoryConfig;
use model::error::Kind;
use store::{Repositories, Repository, Snapshot};

use crate::authorize::Caller;
use crate::gateway::Gateway;
use crate::metrics::Measure;
use crate::pipe;
use crate::turn::{Busy, Turn, Turns};
pub(crate) use fetch::fetch;
pub(crate) use kept::Answers;
use kept::{List, Question};
pub(crate) use open_packs::OpenPacks;
pub(crate) use push::push;

/// What a service answers.
pub(crate) enum Answer {
    /// All of it.
    Whole(Bytes),
    /// All of it, in two parts: the latter is long and also others get it.
    Parts(Bytes, Bytes),
    /// Written by blocking work. Errors go in-band, because the answer has begun by then.
    Written(Writing),
}

/// Blocking work that writes an answer; the flag is set when nobody wants it any more.
pub(crate) type Writing = Box<dyn FnOnce(&mut pipe::Writer, &Arc<AtomicBool>) + Send>;

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
    /// Nobody reads it.
    gone: bool,
}

impl Trouble {
    pub(crate) fn new(kind: Kind, line: impl Into<String>) -> Self {
        Self { kind, line: line.into(), gone: false }
    }

    /// An error of the store: the client learns what to do, the log learns why.
    pub(crate) fn of_store(error: &store::Error, work: &Work) -> Self {
        let kind = error.kind();
        tracing::warn!(request.id = work.caller.request_id, repo.name = %work.config.path, %error, "the store failed a request");
        let line = match kind {
            _ if error.is_locked() => {
                "the encryption key of this repository cannot be used; nothing was changed, ask its owner"
            }
            Kind::Unavailable => "the storage of this server is not available; nothing was changed, try again",
            Kind::Denied => "the storage of this server refuses it; nothing was changed, ask its operator",
            _ => "the data of this repository is damaged or cannot be read; ask the operator of this server",
        };
        Self::new(kind, line)
    }

    /// The client went away, or stopped to send: no fault of ours.
    pub(crate) fn gone(line: impl Into<String>) -> Self {
        Self { gone: true, ..Self::new(Kind::Unavailable, line) }
    }

    pub(crate) fn internal(error: &dyn std::error::Error, work: &Work) -> Self {
        tracing::error!(request.id = work.caller.request_id, repo.name = %work.config.path, error = %chain(error), "a request failed");
        Self::new(Kind::Internal, "the server failed; ask its operator")
    }

    /// The line with the request's id, so that the operator finds the log.
    pub(crate) fn line(&self, work: &Work) -> String {
        format!("{} (request {})", self.line, work.caller.request_id)
    }

    /// The line without it.
    pub(crate) fn text(&self) -> &str {
        &self.line
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The label of the trouble in metrics.
    pub(crate) fn outcome(&self) -> &'static str {
        match self.kind {
            _ if self.gone => "aborted",
            Kind::Unavailable => "unavailable",
            Kind::Invalid => "invalid",
            _ => "error",
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
    pub(crate) fn store(&self) -> Result<&Arc<Repositories>, Trouble> {
        self.gateway.stores.get(&self.config.store).ok_or_else(|| {
            let line = format!("the store '{}' of this repository is not configured on this server", self.config.store);
            Trouble::new(Kind::Internal, line)
        })
    }

    /// The repository; one that nobody used yet is created in the store.
    pub(crate) async fn open(&self) -> Result<Arc<Repository>, Trouble> {
        let store = self.store()?;
        let open = async { store.open(&store.find_or_create(&self.config.path).await?).await };
        open.await.map_err(|error| Trouble::of_store(&error, self))
    }

    /// The repository with its state as the log has it now, or had within this time.
    pub(crate) async fn open_within(&self, staleness: Duration) -> Result<(Arc<Repository>, Arc<Snapshot>), Trouble> {
        let store = self.store()?;
        let open = async { store.open_within(&store.find_or_create(&self.config.path).await?, staleness).await };
        let (repository, snapshot) = open.await.map_err(|error| Trouble::of_store(&error, self))?;
        self.check_format(&snapshot)?;
        Ok((repository, snapshot))
    }

    /// Whether the objects are named by what the manifest says: clients of one kind cannot use those of the other.
    pub(crate) fn check_format(&self, snapshot: &Snapshot) -> Result<(), Trouble> {
        let problem = model::desired::object_format_problem(&self.config, snapshot.object_format);
        problem.map_or(Ok(()), |line| Err(Trouble::new(Kind::Internal, line)))
    }

    /// Whether the caller can still prove who they are; `Err` holds what the client reads.
    pub(crate) async fn still_known(&self) -> Result<(), &'static str> {
        let (caller, gateway) = (&self.caller, &self.gateway);
        let known = caller.proof.holds(&caller.principal, &gateway.authenticator, &gateway.desired()).await;
        if let Err(reason) = known {
            tracing::info!(
                target: "audit",
                principal = %caller.principal,
                request.id = caller.request_id,
                source.ip = %caller.source,
                repo.name = %self.config.path,
                reason,
                "a credential was good at the beginning of a push, and is not any more"
            );
        }
        known
    }

    /// A turn among the operations that work at the same time.
    pub(crate) async fn turn(&self) -> Result<Turn, Trouble> {
        self.turn_of(&self.gateway.operations).await
    }

    /// A turn among the LFS objects that go in or out at the same time.
    pub(crate) async fn transfer(&self) -> Result<Turn, Trouble> {
        self.turn_of(&self.gateway.transfers).await
    }

    async fn turn_of(&self, turns: &Turns) -> Result<Turn, Trouble> {
        let turn = turns.take(&self.caller.owner(), self.gateway.config.queue_timeout).await;
        turn.map_err(|busy| {
            let line = match busy {
                Busy::All => "the server is busy; try again in a few seconds",
                Busy::Owner => "this server works on too many requests of yours already; try again in a few seconds",
            };
            Trouble::new(Kind::Unavailable, line)
        })
    }
}

/// The answer to `info/refs`.
pub(crate) async fn advertise(work: &Work, service: Service, version: Version) -> Result<Answer, Trouble> {
    if service == Service::UploadPack && version == Version::V2 {
        return Ok(capabilities(work).await);
    }
    let (list, _) = references(work, service, List::Advertisement(service, version)).await?;
    Ok(announced(&list, work, nonce(work, service).as_deref()))
}

/// What this server can do in version 2; the references are asked for with the command that follows.
pub(crate) async fn capabilities(work: &Work) -> Answer {
    let offered = bundle::is_offered(work).await;
    let said = git::advertise::capabilities_v2(work.config.object_format, &work.caller.request_id, offered);
    Answer::Whole(said.into())
}

/// Lists up to this length are copied; it is cheaper than a part of its own.
const SHORT: usize = 64 << 10;

/// What the client may sign, if it pushes and there are keys to make it with.
fn nonce(work: &Work, service: Service) -> Option<String> {
    let nonces = work.gateway.nonces.get().filter(|_| service == Service::ReceivePack);
    nonces.and_then(|nonces| nonces.issue(&work.config.path))
}

/// A list with what only this client is told.
fn announced(list: &Bytes, work: &Work, nonce: Option<&str>) -> Answer {
    let mut capabilities = git::advertise::session(&work.caller.request_id);
    if let Some(nonce) = nonce {
        capabilities.push_str(" push-cert=");
        capabilities.push_str(nonce);
    }
    let (head, rest) = git::advertise::announce(list, &capabilities);
    let rest = list.slice(rest..);
    if rest.len() > SHORT { Answer::Parts(head.into(), rest) } else { Answer::Whole([&*head, &rest].concat().into()) }
}

/// A repository as it is at one moment.
pub(crate) type Moment = (Arc<Repository>, Arc<Snapshot>);

/// What a server says first in versions 0 and 1 on a stream.
pub(crate) struct Greeting {
    pub(crate) answer: Answer,
    /// The moment that it shows.
    pub(crate) moment: Moment,
    /// What the client may sign.
    pub(crate) nonce: Option<String>,
}

/// Greets a client.
pub(crate) async fn greet(work: &Work, service: Service, version: Version) -> Result<Greeting, Trouble> {
    let (list, moment) = references(work, service, List::Greeting(service, version)).await?;
    let nonce = nonce(work, service);
    Ok(Greeting { answer: announced(&list, work, nonce.as_deref()), moment, nonce })
}

/// Writes down the references for a service.
async fn references(work: &Work, service: Service, asked: List) -> Result<(Bytes, Moment), Trouble> {
    let _turn = work.turn().await?;
    // A push is made against what it is shown, so that must be true.
    let staleness = if service == Service::UploadPack { work.config.max_staleness } else { Duration::ZERO };
    let (repository, snapshot) = work.open_within(staleness).await?;
    let bytes = listed(work, &snapshot, asked).await?;
    Ok((bytes, (repository, snapshot)))
}

/// References as they are asked for; from memory, where the same was asked before and nothing has changed.
async fn listed(work: &Work, snapshot: &Arc<Snapshot>, asked: List) -> Result<Bytes, Trouble> {
    let answers = &work.gateway.answers;
    let question = Question::list(snapshot, &work.config, &asked);
    let mut _turn = None;
    if let Some(question) = &question {
        if let Some(bytes) = answers.list(question) {
            return Ok(bytes);
        }
        _turn = answers.turn().await;
        if let Some(bytes) = answers.list(question) {
            return Ok(bytes);
        }
    }
    let (snapshot, config) = (Arc::clone(snapshot), Arc::clone(&work.config));
    let encode = move || Ok(Bytes::from(asked.encode(&refs::View::new(&snapshot, &config).references())));
    let bytes = blocking(work, encode).await?;
    if let Some(question) = question {
        answers.keep_list(question, &bytes);
    }
    Ok(bytes)
}

/// Runs blocking work; a panic in it is one failed request.
pub(crate) async fn blocking<T: Send + 'static>(
    work: &Work,
    task: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    tokio::task::spawn_blocking(task).await.unwrap_or_else(|error| Err(Trouble::internal(&error, work)))
}

/// Makes the reader of a request's body for who has this turn, which others have while the client does not send.
pub(crate) trait Body: FnOnce(&Turn) -> Box<dyn BufRead + Send> {}

impl<T: FnOnce(&Turn) -> Box<dyn BufRead + Send>> Body for T {}

/// An answer that blocking work writes.
fn written(task: impl FnOnce(&mut pipe::Writer, &Arc<AtomicBool>) + Send + 'static) -> Answer {
    Answer::Written(Box::new(task))
}

/// Does that work, on a blocking thread.
pub(crate) fn write(writing: Writing, mut writer: pipe::Writer, interrupt: &Arc<AtomicBool>) {
    writing(&mut writer, interrupt);
    // Whatever the task left in the buffer; a client that has gone does not want it.
    let _ = std::io::Write::flush(&mut writer);
}
