//! An object goes out, or the rest of one: verified chunk by chunk, from the bucket to the client without touching the disk.

use std::io;
use std::ops::Range;
use std::pin::pin;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, IF_RANGE, RANGE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use model::lfs::Oid;
use store::{LfsObject, LfsObjects};
use tokio::sync::mpsc;

use super::range::{Asked, parse};
use super::{Outcome, Refusal, Work};
use crate::http::respond;
use crate::turn::Turn;

/// What is handed over at once: a slow client has the idle time-out for this much.
const PIECE: usize = 64 << 10;
/// Pieces that are read ahead: the bucket sends the next chunk while the client takes this one.
const AHEAD: usize = 16;

/// Sends an object.
pub(crate) async fn download(work: &Work, oid: Option<Oid>, parts: &Parts) -> Outcome {
    let missing = || Refusal::new(StatusCode::NOT_FOUND, "the object is not there");
    let oid = oid.ok_or_else(missing)?;
    let turn = work.transfer().await.map_err(|trouble| work.refusal(&trouble))?;
    let objects = work.lfs().await?;
    let found = objects.find(&oid).await.map_err(|error| work.store_refusal(&error))?;
    let object = found.ok_or_else(missing)?;
    let (size, tag) = (object.size(), format!("\"{oid}\""));
    let (status, range) = match asked(&parts.headers, size, &tag) {
        Asked::Whole => (StatusCode::OK, 0..size),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Unsatisfiable => {
            let mut response = respond::text(
                StatusCode::RANGE_NOT_SATISFIABLE,
                format!("the object has {size} bytes: there is nothing in this range"),
            );
            set(response.headers_mut(), CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(response);
        }
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    set(headers, CONTENT_LENGTH, &(range.end - range.start).to_string());
    set(headers, ETAG, &tag);
    if status == StatusCode::PARTIAL_CONTENT {
        set(headers, CONTENT_RANGE, &format!("bytes {}-{}/{size}", range.start, range.end - 1));
    }
    for (name, value) in [
        (CONTENT_TYPE, "application/octet-stream"),
        (ACCEPT_RANGES, "bytes"),
        (CACHE_CONTROL, "private, no-transform"),
        // Somebody's bytes under our address: no browser is to take them for a page of ours.
        (CONTENT_DISPOSITION, "attachment"),
        (CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if parts.method != Method::HEAD {
        *response.body_mut() = send(work, objects, object, range, turn);
    }
    Ok(response)
}

/// A part of what the client has not seen is no use to it.
fn asked(headers: &HeaderMap, size: u64, tag: &str) -> Asked {
    if headers.get(IF_RANGE).is_some_and(|seen| seen.as_bytes() != tag.as_bytes()) {
        return Asked::Whole;
    }
    // Two `Range` headers are none.
    let mut ranges = headers.get_all(RANGE).iter();
    let range = ranges.next().filter(|_| ranges.next().is_none());
    parse(range.and_then(|range| range.to_str().ok()), size)
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn send(work: &Work, objects: LfsObjects, object: LfsObject, range: Range<u64>, turn: Turn) -> Body {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(AHEAD);
    let work = work.clone();
    tokio::spawn(async move {
        let lender = turn.lender();
        let _turn = turn;
        let (oid, mut chunks) = (*object.oid(), pin!(objects.read(object, range)));
        while let Some(chunk) = chunks.next().await {
            let mut chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    work.measure.settle("error");
                    tracing::error!(request.id = work.caller.request_id, repo.name = %work.config.path, lfs.oid = %oid, %error, "lfs download failed");
                    // The answer ends before its announced length: no client takes it for whole.
                    let _ = sender.send(Err(io::Error::other("the object cannot be read"))).await;
                    return;
                }
            };
            while !chunk.is_empty() {
                let piece = chunk.split_to(chunk.len().min(PIECE));
                let length = piece.len() as u64;
                let sent = tokio::time::timeout(work.gateway.config.idle_timeout, sender.send(Ok(piece)));
                let sent = lender.wait(sent).await;
                if !matches!(sent, Ok(Ok(()))) {
                    work.measure.settle("aborted");
                    return;
                }
                work.gateway.metrics.sent_bytes.inc_by(length);
            }
        }
    });
    Body::from_stream(futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    }))
}
