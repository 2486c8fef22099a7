//! Push: commands, a pack into quarantine, checks, one commit, a report.

mod plan;
mod receive;

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use git::pktline::PacketError;
use git::receive_pack::{self, Refusal, Report, Request, RequestError};
use git::sideband;
use model::error::Kind;
use store::{CommitError, Committed, Repository};
use tokio::runtime::Handle;

use super::{Answer, Body, Trouble, Work, blocking, written};
use crate::authn::nonce::NonceError;
use crate::turn::Turn;
use crate::{authorize, pipe};
use plan::Plan;

/// Times that a push is checked, should unreachable objects be removed again and again before its commit.
const MAX_CHECKS: u32 = 3;

/// Answers a push. The work goes on to its end even if the client goes away after the pack arrived.
pub(crate) async fn push(work: &Work, body: impl Body) -> Result<Answer, Trouble> {
    let (turn, reading) = (work.turn().await?, work.clone());
    let mut input = body(&turn);
    let (request, input) = blocking(work, move || Ok((parse(&mut *input, &reading, None), input))).await?;
    take(work, turn, request, input).await
}

/// Answers a push whose commands were read before; the pack, if there is one, comes from `input`.
pub(crate) async fn take(
    work: &Work,
    turn: Turn,
    request: Parsed,
    mut input: Box<dyn BufRead + Send>,
) -> Result<Answer, Trouble> {
    let task = Push::begin(work, turn).await?;
    Ok(written(move |out, interrupt| {
        out.lend(&task.turn);
        task.run_for(request, &mut *input, out, interrupt);
    }))
}

/// What a client wants to be changed; `None`: nothing.
pub(crate) type Parsed = Result<Option<Request>, Refusal>;

/// Reads the commands. Blocking. `nonce` is what was given to be signed in the same connection, if it is one.
pub(crate) fn parse(input: &mut dyn BufRead, work: &Work, nonce: Option<&str>) -> Parsed {
    let parsed = receive_pack::parse(input, work.config.object_format, &work.config.limits);
    let capabilities = match &parsed {
        Ok(request) => request.as_ref().map(|request| &request.capabilities),
        Err(refusal) => Some(&refusal.capabilities),
    };
    if let Some(capabilities) = capabilities {
        work.measure.hear(&capabilities.client);
    }
    let parsed = parsed?;
    if let Some(Request { certificate: Some(certificate), capabilities, .. }) = &parsed {
        let nonces = work.gateway.nonces.get().ok_or(NonceError::Keyless);
        let checked = nonces.and_then(|nonces| nonces.check(&certificate.nonce, &work.config.path, nonce));
        authorize::certificate(certificate, checked, &work.config.path, &work.caller);
        checked.map_err(|error| Refusal {
            reason: RequestError::Nonce(error.to_string()),
            capabilities: capabilities.clone(),
        })?;
    }
    Ok(parsed)
}

/// A push under way, on a blocking thread.
struct Push {
    work: Work,
    repository: Arc<Repository>,
    runtime: Handle,
    turn: Turn,
}

impl Push {
    async fn begin(work: &Work, turn: Turn) -> Result<Self, Trouble> {
        let repository = work.open().await?;
        Ok(Self { work: work.clone(), repository, runtime: Handle::current(), turn })
    }

    /// Does the work. A client that goes away meanwhile shows in the metrics only.
    fn run_for(self, request: Parsed, input: &mut dyn BufRead, out: &mut dyn Write, interrupt: &AtomicBool) {
        let work = self.work.clone();
        if let Err(error) = self.run(request, input, out, interrupt) {
            work.measure.settle("aborted");
            tracing::debug!(%error, "the client of a push went away");
        }
    }

    fn run(
        self,
        request: Parsed,
        input: &mut dyn BufRead,
        out: &mut dyn Write,
        interrupt: &AtomicBool,
    ) -> std::io::Result<()> {
        let request = match request {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(refusal) => {
                let gone =
                    matches!(&refusal.reason, RequestError::Packet(PacketError::Io(error)) if pipe::is_gone(error));
                self.work.measure.settle(if gone { "aborted" } else { "invalid" });
                tracing::info!(request.id = self.work.caller.request_id, reason = %refusal, "push refused");
                return receive_pack::write_refusal(&refusal, out);
            }
        };
        let mut channels = sideband::Writer::new(out, request.band(), request.capabilities.quiet);
        let report = match self.decide(&request, input, &mut channels, interrupt) {
            Ok(report) => report,
            Err(trouble) => {
                self.work.measure.settle(trouble.outcome());
                let line = trouble.line(&self.work);
                Report::all(&request, Err(line.clone()), &line)
            }
        };
        if report.unpack.is_err() {
            self.work.measure.settle("invalid");
        } else if !request.refused.is_empty() || report.refs.iter().any(|(_, result)| result.is_err()) {
            self.work.measure.settle("refused");
        }
        let encoded = report.encode(&request);
        channels.data(&encoded)?;
        channels.finish()?;
        drop(self.turn);
        Ok(())
    }

    /// From commands to a report.
    fn decide(
        &self,
        request: &Request,
        input: &mut dyn BufRead,
        channels: &mut sideband::Writer<'_>,
        interrupt: &AtomicBool,
    ) -> Result<Report, Trouble> {
        let mut plan = Plan::authorized(request, &self.work);
        let mut received = self.receive(&plan, request.pack_follows, input, channels, interrupt)?;
        let mut checks = 1;
        loop {
            if let Err(mut line) = received.unpack {
                if request.is_shallow && line.starts_with("missing object") {
                    line.push_str("; this is a shallow clone: `git fetch --unshallow` brings what may be missing");
                }
                return Ok(Report::all(request, Err(line.clone()), "unpacker error"));
            }
            if let Err(line) = self.runtime.block_on(self.work.still_known()) {
                plan.refuse_all(line);
            }
            let Some(push) = plan.push(&received, &self.work, request) else {
                return Ok(plan.report());
            };
            match self.runtime.block_on(self.repository.commit(push)) {
                Err(CommitError::Pruned(push)) if checks < MAX_CHECKS => {
                    checks += 1;
                    received = self.receive_again(&plan, &push, channels, interrupt)?;
                }
                committed => return Ok(self.conclude(plan, committed)),
            }
        }
    }

    fn conclude(&self, mut plan: Plan, committed: Result<Committed, CommitError>) -> Report {
        match committed {
            Ok(committed) => {
                tracing::info!(
                    request.id = self.work.caller.request_id,
                    repo.name = %self.work.config.path,
                    push.generation = committed.generation,
                    push.edits = committed.results.len(),
                    "push committed"
                );
                self.work.gateway.pushed(&self.work.config.path);
                plan.settle(&committed);
            }
            Err(CommitError::Moved(moved)) => plan.moved(&moved),
            Err(error) => {
                tracing::warn!(
                    request.id = self.work.caller.request_id,
                    repo.name = %self.work.config.path,
                    error = %super::chain(&error),
                    "push not committed"
                );
                self.work.measure.settle(if error.kind() == Kind::Unavailable { "unavailable" } else { "error" });
                let line = match (&error, error.kind()) {
                    (CommitError::Failed(error), _) if error.is_locked() => {
                        "the encryption key of this repository cannot be used, nothing was changed, ask its owner"
                            .to_owned()
                    }
                    (CommitError::Failed(_), Kind::Unavailable) => {
                        "storage is not available, nothing was changed, try again".to_owned()
                    }
                    (CommitError::Failed(_), _) => {
                        "storage failed, nothing was changed, ask the operator of this server".to_owned()
                    }
                    _ => error.to_string(),
                };
                plan.refuse_all(&format!("{line} (request {})", self.work.caller.request_id));
            }
        }
        plan.report()
    }
}
