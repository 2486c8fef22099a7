//! An object comes in: hashed while it streams to the cache folder, visible only when hash and size are right.

use std::io;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Query;
use futures::TryStreamExt as _;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use model::lfs::Oid;
use model::policy::Action;
use serde::Deserialize;
use store::{LfsObjects, ReceiveError};

use super::batch::too_large;
use super::{Outcome, Refusal, Work, json, linger, quota};
use crate::pipe;
use crate::service::Trouble;
use crate::turn::Turn;

/// What is read of an object for which the disk has no room, ...
const MAX_DRAINED: usize = 256 << 20;
/// ... and for how long.
const MAX_DRAINING: Duration = Duration::from_secs(5);

/// What the address of an upload says beside the object.
#[derive(Debug, Default, Deserialize)]
struct Announced {
    size: Option<u64>,
}

/// Takes an object.
pub(crate) async fn upload(work: &Work, oid: Option<Oid>, parts: &Parts, body: Body) -> Outcome {
    let (oid, size, objects, turn) = match admit(work, oid, parts).await {
        Ok(admitted) => admitted,
        Err(refusal) => {
            linger(Some(body));
            return Err(refusal);
        }
    };
    let (config, metrics) = (&work.gateway.config, &work.gateway.metrics);
    // One byte too many is noticed by whoever counts; this is the second lock on the door.
    let limit = size.saturating_add(1 << 20);
    let mut input = pipe::reader(
        body.into_data_stream().map_err(io::Error::other),
        config.idle_timeout,
        limit,
        metrics.received_bytes.clone(),
        turn.lender(),
    );
    let into = objects.clone();
    let received = tokio::task::spawn_blocking(move || {
        let received = into.receive(oid, size, &mut *input);
        if matches!(received, Err(ReceiveError::Write(_))) {
            drain(&mut *input);
        }
        received
    });
    let received = received.await;
    let received = received.map_err(|error| work.refusal(&Trouble::internal(&error, work)))?;
    let received = received.map_err(|error| refusal(work, &error))?;
    // A large object comes for a while, in which the grant or the credential may have been taken back.
    work.still_known().await.map_err(|line| Refusal::new(StatusCode::FORBIDDEN, line))?;
    work.may(Action::GitPush)?;
    // Goes on to its end even if the client goes away now.
    let keeping = tokio::spawn(async move {
        let _turn = turn;
        objects.keep(received).await
    });
    let kept = keeping.await.map_err(|error| work.refusal(&Trouble::internal(&error, work)))?;
    kept.map_err(|error| work.store_refusal(&error))?;
    tracing::info!(
        request.id = work.caller.request_id,
        repo.name = %work.config.path,
        lfs.oid = %oid,
        lfs.bytes = size,
        "lfs object stored"
    );
    Ok(json(StatusCode::OK, &serde_json::json!({"oid": oid.to_string(), "size": size})))
}

/// What is known before the first byte is read: the object, its size, and that it may come.
async fn admit(work: &Work, oid: Option<Oid>, parts: &Parts) -> Result<(Oid, u64, LfsObjects, Turn), Refusal> {
    let oid = oid.ok_or_else(|| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, model::lfs::OidError.to_string()))?;
    let size = size(parts)?;
    if let Some(line) = too_large(work, size) {
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, line));
    }
    let turn = work.transfer().await.map_err(|trouble| work.refusal(&trouble))?;
    let objects = work.lfs().await?;
    quota::admit(work, &objects, &oid, size).await?;
    Ok((oid, size, objects, turn))
}

/// Reads on, so that a client that sends without looking finds the answer behind what it sends, and not a closed connection.
fn drain(input: &mut dyn io::Read) {
    let began = Instant::now();
    let (mut buffer, mut seen) = (vec![0; 128 << 10], 0);
    while seen < MAX_DRAINED && began.elapsed() < MAX_DRAINING {
        match input.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => seen += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// The size that is announced: by the address, which a batch made, or by the request itself.
fn size(parts: &Parts) -> Result<u64, Refusal> {
    let Query(announced) = Query::<Announced>::try_from_uri(&parts.uri)
        .map_err(|_| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "size is a whole number of bytes"))?;
    let sent = content_length(&parts.headers);
    match (announced.size, sent) {
        (Some(size), Some(sent)) if size != sent => {
            let line = format!("{size} bytes were announced and {sent} are sent");
            Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, line))
        }
        (Some(size), _) | (None, Some(size)) => Ok(size),
        (None, None) => {
            Err(Refusal::new(StatusCode::LENGTH_REQUIRED, "send a Content-Length, or ?size= in the address"))
        }
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn refusal(work: &Work, error: &ReceiveError) -> Refusal {
    tracing::info!(request.id = work.caller.request_id, repo.name = %work.config.path, reason = %error, "lfs object refused");
    let (status, line) = match error {
        ReceiveError::Read(source) => {
            let status = match source.kind() {
                io::ErrorKind::TimedOut => StatusCode::REQUEST_TIMEOUT,
                io::ErrorKind::FileTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                _ => StatusCode::BAD_REQUEST,
            };
            (status, "the object did not arrive whole; send it again".to_owned())
        }
        ReceiveError::Write(source) => {
            let is_full = matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            let status = if is_full { StatusCode::INSUFFICIENT_STORAGE } else { StatusCode::SERVICE_UNAVAILABLE };
            tracing::warn!(request.id = work.caller.request_id, error = %source, "the cache folder cannot take an lfs object");
            (
                status,
                "the cache folder of the server has no room for the object; nothing was changed, try again".to_owned(),
            )
        }
        ReceiveError::TooLong(_) | ReceiveError::TooShort { .. } | ReceiveError::WrongHash(_) => {
            (StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
        }
    };
    Refusal::new(status, line)
}
