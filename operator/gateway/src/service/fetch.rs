//! Fetch and clone: a fresh snapshot, its packs, and a blocking answer that streams.

use std::error::Error;
use std::io::BufRead;

use axum::response::Response;
use git::advertise::Version;
use git::upload_pack::{self, Command, RequestError, object_info};
use git::{ls_refs, pktline};
use tokio::sync::OwnedSemaphorePermit;

use super::refs::View;
use super::{Trouble, Work, blocking, chain, stream, whole};
use crate::authorize;

const RESULT: &str = "application/x-git-upload-pack-result";

/// Answers a fetch, or a listing of references in version 2.
pub(crate) async fn fetch(work: Work, version: Version, input: Box<dyn BufRead + Send>) -> Response {
    let turn = match work.turn().await {
        Ok(turn) => turn,
        Err(trouble) => return trouble.response(&work),
    };
    let answer = match parse(&work, version, input).await {
        Ok(Ok(Command::Nothing)) => Ok(whole(&work, RESULT, vec![])),
        Ok(Ok(Command::LsRefs(request))) => list(&work, turn, request).await,
        Ok(Ok(Command::Fetch(_) | Command::ObjectInfo(_))) if work.caller.lists_only => Ok(deny(&work)),
        Ok(Ok(Command::Fetch(request))) => send(&work, turn, request).await,
        Ok(Ok(Command::ObjectInfo(request))) => inform(&work, turn, request).await,
        Ok(Err(error)) => Ok(refuse(&error, &work)),
        Err(trouble) => Err(trouble),
    };
    answer.unwrap_or_else(|trouble| trouble.response(&work))
}

/// Reads the request. What is wrong with it, the client reads in an `ERR` line.
async fn parse(
    work: &Work,
    version: Version,
    mut input: Box<dyn BufRead + Send>,
) -> Result<Result<Command, RequestError>, Trouble> {
    blocking(work, move || {
        if version == Version::V2 {
            return Ok(upload_pack::parse_v2(&mut *input));
        }
        let request = upload_pack::parse_v0(&mut *input);
        Ok(request.map(|request| request.map_or(Command::Nothing, Command::Fetch)))
    })
    .await
}

/// Lists references: from memory, without any pack.
async fn list(work: &Work, turn: OwnedSemaphorePermit, request: ls_refs::Request) -> Result<Response, Trouble> {
    let (_, snapshot) = work.open_within(work.config.max_staleness).await?;
    let asked = work.clone();
    Ok(stream(work, RESULT, move |out, _| {
        let _turn = turn;
        let view = View::new(&snapshot, &asked.config);
        if let Err(error) = ls_refs::respond(&request, &view.references(), out) {
            asked.measure.settle(outcome(&error));
        }
    }))
}

/// Sends a pack, or negotiates about it.
async fn send(work: &Work, turn: OwnedSemaphorePermit, request: upload_pack::Request) -> Result<Response, Trouble> {
    // The packs that are known come in while the log is asked for news.
    let ((repository, snapshot), ()) = tokio::try_join!(work.open_within(work.config.max_staleness), warm(work))?;
    let opened = work.gateway.open_packs.get(&repository, &snapshot, work).await?;
    let asked = work.clone();
    Ok(stream(work, RESULT, move |out, interrupt| {
        let _turn = turn;
        let view = View::new(&snapshot, &asked.config);
        let note = format!("(request {})", asked.caller.request_id);
        match upload_pack::respond(&request, &view.with_packs(&opened), out, &note, interrupt) {
            Ok(sent) => conclude(&sent, &asked),
            Err(error) => {
                asked.measure.settle(outcome(&error));
                tracing::info!(request.id = asked.caller.request_id, repo.name = %asked.config.path, error = %chain(&error), "fetch failed");
            }
        }
    }))
}

/// Tells of objects.
async fn inform(work: &Work, turn: OwnedSemaphorePermit, request: object_info::Request) -> Result<Response, Trouble> {
    let (repository, snapshot) = work.open_within(work.config.max_staleness).await?;
    let opened = work.gateway.open_packs.get(&repository, &snapshot, work).await?;
    let asked = work.clone();
    Ok(stream(work, RESULT, move |out, _| {
        let _turn = turn;
        let view = View::new(&snapshot, &asked.config);
        if let Err(error) = object_info::respond(&request, &view.with_packs(&opened), out) {
            asked.measure.settle(outcome(&error));
        }
    }))
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

fn conclude(sent: &upload_pack::Outcome, work: &Work) {
    if sent.refused.is_some() {
        work.measure.settle("invalid");
    }
    tracing::info!(
        request.id = work.caller.request_id,
        repo.name = %work.config.path,
        fetch.objects = sent.objects,
        fetch.bytes = sent.bytes,
        fetch.route = ?sent.route,
        fetch.refused = sent.refused,
        "fetch answered"
    );
}

/// The operator may list references and nothing else.
fn deny(work: &Work) -> Response {
    work.measure.settle("denied");
    let line = authorize::operator_fetch(&work.config.path, &work.caller, &work.gateway.metrics);
    let line = format!("{line} (request {})", work.caller.request_id);
    whole(work, RESULT, pktline::error_line(&line))
}

fn refuse(error: &RequestError, work: &Work) -> Response {
    work.measure.settle("invalid");
    tracing::info!(request.id = work.caller.request_id, repo.name = %work.config.path, %error, "fetch refused");
    whole(work, RESULT, pktline::error_line(&format!("{error} (request {})", work.caller.request_id)))
}

/// The label in metrics: a client that went away is no fault of ours.
fn outcome(error: &(dyn Error + 'static)) -> &'static str {
    let gone = error.is::<std::io::Error>()
        || matches!(error.downcast_ref(), Some(upload_pack::Error::Write(_) | upload_pack::Error::Interrupted));
    if gone { "aborted" } else { "error" }
}
