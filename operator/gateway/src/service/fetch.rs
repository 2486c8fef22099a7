//! Fetch and clone: a fresh snapshot, its packs, and a blocking answer that streams.

use std::error::Error;
use std::io::BufRead;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use git::advertise::Version;
use git::client::Client;
use git::pktline::PacketError;
use git::upload_pack::{self, Command, Outcome, Request, RequestError, object_info};
use git::view::RepositoryView;
use git::{archive, ls_refs, pktline};
use model::ObjectFormat;

use super::kept::{Gathering, List, MAX_REFERENCES, Pack, Question};
use super::refs::View;
use super::{Answer, Body, Moment, Trouble, Work, blocking, bundle, chain, listed, written};
use crate::turn::Turn;
use crate::{authorize, pipe};

/// Answers a fetch, or a listing of references in version 2, that comes with all that the client has to say.
pub(crate) async fn fetch(work: &Work, version: Version, body: impl Body) -> Result<Answer, Trouble> {
    let turn = work.turn().await?;
    let mut input = body(&turn);
    let format = work.config.object_format;
    let (command, client) = blocking(work, move || {
        let mut client = Client::default();
        Ok((parse(version, format, &mut *input, &mut client), client))
    })
    .await?;
    work.measure.hear(&client);
    answer(work, turn, command).await
}

/// Reads the request. What is wrong with it, the client reads in an `ERR` line.
fn parse(
    version: Version,
    format: ObjectFormat,
    input: &mut dyn BufRead,
    client: &mut Client,
) -> Result<Command, RequestError> {
    if version == Version::V2 {
        return upload_pack::parse_v2(input, format, client);
    }
    let request = upload_pack::parse_v0(input, format, client);
    request.map(|request| request.map_or(Command::Nothing, Command::Fetch))
}

/// Answers one command.
pub(crate) async fn answer(work: &Work, turn: Turn, command: Result<Command, RequestError>) -> Result<Answer, Trouble> {
    match command {
        Ok(Command::Nothing) => Ok(Answer::Whole(Bytes::new())),
        Ok(Command::LsRefs(request)) => list(work, turn, request).await,
        Ok(Command::Fetch(_) | Command::ObjectInfo(_) | Command::BundleUri) if work.caller.lists_only => Ok(deny(work)),
        Ok(Command::Fetch(request)) => send(work, turn, request).await,
        Ok(Command::ObjectInfo(request)) => inform(work, turn, request).await,
        Ok(Command::BundleUri) => bundle::list(work).await,
        Err(error) => Ok(refuse(&error, work)),
    }
}

/// Lists references: from memory, without any pack.
async fn list(work: &Work, turn: Turn, request: ls_refs::Request) -> Result<Answer, Trouble> {
    let (_, snapshot) = work.open_within(work.config.max_staleness).await?;
    if snapshot.refs.len() <= MAX_REFERENCES {
        return Ok(Answer::Whole(listed(work, &snapshot, List::LsRefs(request)).await?));
    }
    let asked = work.clone();
    Ok(written(move |out, _| {
        out.lend(&turn);
        let view = View::new(&snapshot, &asked.config);
        if let Err(error) = ls_refs::respond(&request, &view.references(), out) {
            asked.measure.settle(outcome(&error));
        }
    }))
}

/// Sends a pack, or negotiates about it.
async fn send(work: &Work, turn: Turn, request: Request) -> Result<Answer, Trouble> {
    // The packs that are known come in while the log is asked for news.
    let ((repository, snapshot), ()) = tokio::try_join!(work.open_within(work.config.max_staleness), warm(work))?;
    let maker = match Question::pack(&snapshot, &work.config, &request) {
        Some(question) => match work.gateway.answers.pack(question).await {
            Pack::Kept(answer) => {
                log(work, &Outcome { bytes: answer.len() as u64, ..Outcome::default() }, true);
                return Ok(Answer::Whole(answer));
            }
            Pack::Make(maker) => Some(maker),
            Pack::Alone => None,
        },
        None => None,
    };
    with_objects(work, turn, (repository, snapshot), move |view, work, out, interrupt| {
        let mut out = Gathering::new(maker, out);
        let sent = upload_pack::respond(&request, view, &mut out, &note(work), interrupt);
        let whole = sent.as_ref().is_ok_and(|sent| sent.refused.is_none());
        let ended = out.end(whole);
        conclude(sent.and_then(|sent| ended.map(|()| sent).map_err(Into::into)), work);
    })
    .await
}

/// Tells of objects.
async fn inform(work: &Work, turn: Turn, request: object_info::Request) -> Result<Answer, Trouble> {
    let moment = work.open_within(work.config.max_staleness).await?;
    with_objects(work, turn, moment, move |view, work, out, _| {
        if let Err(error) = object_info::respond(&request, view, out) {
            work.measure.settle(outcome(&error));
        }
    })
    .await
}

/// Negotiates on a stream, in versions 0 and 1, about what was advertised at that moment, and sends the pack.
pub(crate) async fn converse(
    work: &Work,
    turn: Turn,
    moment: Moment,
    request: Request,
    mut input: Box<dyn BufRead + Send>,
) -> Result<Answer, Trouble> {
    with_objects(work, turn, moment, move |view, work, out, interrupt| {
        conclude(upload_pack::converse(&request, &mut *input, view, out, &note(work), interrupt), work);
    })
    .await
}

/// Makes an archive of a tree.
pub(crate) async fn archive(work: &Work, turn: Turn, request: archive::Request) -> Result<Answer, Trouble> {
    let moment = work.open_within(work.config.max_staleness).await?;
    let now = jiff::Timestamp::now().as_second();
    with_objects(work, turn, moment, move |view, work, out, interrupt| {
        let (note, repository) = (note(work), &work.config.path);
        match archive::respond(&request, view, out, (&note, now), interrupt) {
            Ok(bytes) => {
                tracing::info!(request.id = work.caller.request_id, repo.name = %repository, archive.bytes = bytes, "archive answered");
            }
            Err(error) => {
                work.measure.settle(match error {
                    archive::Error::Refused(_) => "invalid",
                    archive::Error::Write(_) | archive::Error::Interrupted => "aborted",
                    archive::Error::Objects(_) => "error",
                });
                tracing::info!(request.id = work.caller.request_id, repo.name = %repository, error = %chain(&error), "archive failed");
            }
        }
    })
    .await
}

/// An answer that is written from the objects of a repository.
async fn with_objects(
    work: &Work,
    turn: Turn,
    (repository, snapshot): Moment,
    write: impl FnOnce(&RepositoryView<'_>, &Work, &mut pipe::Writer, &AtomicBool) + Send + 'static,
) -> Result<Answer, Trouble> {
    let opened = work.gateway.open_packs.get(&repository, &snapshot, work).await?;
    let work = work.clone();
    Ok(written(move |out, interrupt| {
        out.lend(&turn);
        let view = View::new(&snapshot, &work.config);
        write(&view.with_packs(&opened), &work, out, interrupt);
    }))
}

/// Ends what a client reads when something fails.
fn note(work: &Work) -> String {
    format!("(request {})", work.caller.request_id)
}

/// Begins to bring in the packs of a repository that is open here. What fails is left to who needs them.
async fn warm(work: &Work) -> Result<(), Trouble> {
    if let Some(repository) = work.store()?.opened(&work.config.path) {
        let known = repository.known();
        if !work.gateway.open_packs.has(&repository, &known) {
            let _ = repository.arriving_packs(&known).await;
        }
    }
    Ok(())
}

fn conclude(answered: Result<Outcome, upload_pack::Error>, work: &Work) {
    let sent = match answered {
        Ok(sent) => sent,
        Err(error) => {
            work.measure.settle(outcome(&error));
            tracing::info!(request.id = work.caller.request_id, repo.name = %work.config.path, error = %chain(&error), "fetch failed");
            return;
        }
    };
    if sent.refused.is_some() {
        work.measure.settle("invalid");
    }
    log(work, &sent, false);
}

/// `kept`: the answer was made for somebody else before.
fn log(work: &Work, sent: &Outcome, kept: bool) {
    tracing::info!(
        request.id = work.caller.request_id,
        repo.name = %work.config.path,
        fetch.objects = (!kept).then_some(sent.objects),
        fetch.bytes = sent.bytes,
        fetch.route = if kept { "kept" } else { sent.route.name() },
        fetch.refused = sent.refused,
        "fetch answered"
    );
}

/// The operator may list references and nothing else.
fn deny(work: &Work) -> Answer {
    work.measure.settle("denied");
    let line = authorize::operator_fetch(&work.config.path, &work.caller, &work.gateway.metrics);
    let line = format!("{line} (request {})", work.caller.request_id);
    Answer::Whole(pktline::error_line(&line).into())
}

pub(crate) fn refuse(error: &RequestError, work: &Work) -> Answer {
    let gone = matches!(error, RequestError::Packet(PacketError::Io(error)) if pipe::is_gone(error));
    work.measure.settle(if gone { "aborted" } else { "invalid" });
    tracing::info!(request.id = work.caller.request_id, repo.name = %work.config.path, %error, "fetch refused");
    Answer::Whole(pktline::error_line(&format!("{error} (request {})", work.caller.request_id)).into())
}

/// The label in metrics: a client that went away is no fault of ours.
fn outcome(error: &(dyn Error + 'static)) -> &'static str {
    let gone = error.is::<std::io::Error>()
        || matches!(
            error.downcast_ref(),
            Some(upload_pack::Error::Write(_) | upload_pack::Error::Read(_) | upload_pack::Error::Interrupted)
        );
    if gone { "aborted" } else { "error" }
}
