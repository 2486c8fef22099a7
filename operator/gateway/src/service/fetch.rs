//! Fetch and clone: a fresh snapshot, its packs, and a blocking answer that streams.

use std::error::Error;
use std::io::{BufRead, Write};
use std::sync::atomic::AtomicBool;

use axum::response::Response;
use git::advertise::Version;
use git::upload_pack::{self, Command, RequestError};
use git::view::RepositoryView;
use git::{ls_refs, pktline};

use crate::authorize;

use super::{Trouble, Work, chain, refs, stream};

/// Answers a fetch.
pub(crate) async fn fetch(work: Work, version: Version, mut input: Box<dyn BufRead + Send>) -> Response {
    let begun = async {
        let turn = work.turn().await?;
        let repository = work.open().await?;
        let snapshot = repository
            .snapshot_within(work.config.max_staleness)
            .await
            .map_err(|error| Trouble::of_store(&error, &work))?;
        let opened = work.gateway.open_packs.get(&repository, &snapshot, &work).await?;
        Ok::<_, Trouble>((turn, snapshot, opened))
    };
    let (turn, snapshot, opened) = match begun.await {
        Ok(begun) => begun,
        Err(trouble) => return trouble.response(&work),
    };
    let asked = work.clone();
    stream(&work, "application/x-git-upload-pack-result", move |out, interrupt| {
        let _turn = turn;
        let view = refs::View::new(&snapshot, &opened, &asked.config);
        let view = view.borrow();
        if let Err(error) = answer(version, &mut *input, &view, out, interrupt, &asked) {
            asked.measure.settle(outcome(&*error));
            tracing::info!(request.id = asked.caller.request_id, repo.name = %asked.config.path, error = %chain(&*error), "fetch failed");
        }
    })
}

/// Reads the request and answers it. What is wrong with it, the client reads in an `ERR` line.
fn answer(
    version: Version,
    input: &mut dyn BufRead,
    view: &RepositoryView<'_>,
    out: &mut dyn Write,
    interrupt: &AtomicBool,
    work: &Work,
) -> Result<(), Box<dyn Error>> {
    let note = format!("(request {})", work.caller.request_id);
    let request = if version == Version::V2 {
        match upload_pack::parse_v2(input) {
            Ok(Command::Nothing) => return Ok(()),
            Ok(Command::LsRefs(request)) => {
                let mut bytes = Vec::new();
                ls_refs::respond(&request, view, &mut bytes)?;
                return Ok(out.write_all(&bytes)?);
            }
            Ok(Command::Fetch(request)) => request,
            Err(error) => return refuse(&error, &note, out, work),
        }
    } else {
        match upload_pack::parse_v0(input) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(error) => return refuse(&error, &note, out, work),
        }
    };
    if work.caller.lists_only {
        work.measure.settle("denied");
        let line = authorize::operator_fetch(&work.config.path, &work.caller, &work.gateway.metrics);
        out.write_all(&pktline::error_line(&format!("{line} {note}")))?;
        return Ok(());
    }
    let outcome = upload_pack::respond(&request, view, out, &note, interrupt)?;
    if outcome.refused.is_some() {
        work.measure.settle("invalid");
    }
    tracing::info!(
        request.id = work.caller.request_id,
        repo.name = %work.config.path,
        fetch.objects = outcome.objects,
        fetch.bytes = outcome.bytes,
        fetch.route = ?outcome.route,
        fetch.refused = outcome.refused,
        "fetch answered"
    );
    Ok(())
}

fn refuse(error: &RequestError, note: &str, out: &mut dyn Write, work: &Work) -> Result<(), Box<dyn Error>> {
    work.measure.settle("invalid");
    out.write_all(&pktline::error_line(&format!("{error} {note}")))?;
    Err(error.to_string().into())
}

/// The label in metrics: a client that went away is no fault of ours.
fn outcome(error: &(dyn Error + 'static)) -> &'static str {
    let gone = error.is::<std::io::Error>()
        || matches!(error.downcast_ref(), Some(upload_pack::Error::Write(_) | upload_pack::Error::Interrupted));
    if gone { "aborted" } else { "error" }
}
