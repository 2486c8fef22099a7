//! A service's answer as an HTTP response.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::body::Body;
use axum::response::Response;
use git::pktline;
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use model::error::Kind;

use super::respond;
use crate::pipe;
use crate::service::{Answer, Trouble, Work, write};

/// The response. What goes wrong while it is written is told in-band: the status line is gone by then.
pub(crate) fn response(answer: Result<Answer, Trouble>, content_type: &str, work: &Work) -> Response {
    match answer {
        Ok(Answer::Whole(bytes)) => {
            work.gateway.metrics.sent_bytes.inc_by(bytes.len() as u64);
            respond::git(content_type, Body::from(bytes))
        }
        Ok(Answer::Parts(first, second)) => {
            let length = (first.len() + second.len()) as u64;
            work.gateway.metrics.sent_bytes.inc_by(length);
            let parts = [first, second].map(Ok::<_, Infallible>);
            let mut response = respond::git(content_type, Body::from_stream(futures::stream::iter(parts)));
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
            response
        }
        Ok(Answer::Written(writing)) => {
            let interrupt = Arc::new(AtomicBool::new(false));
            let sent = work.gateway.metrics.sent_bytes.clone();
            let (writer, chunks) = pipe::channel(Arc::clone(&interrupt), pipe::CHUNKS, sent);
            tokio::task::spawn_blocking(move || write(writing, writer, &interrupt));
            respond::git(content_type, Body::from_stream(chunks))
        }
        // A git client shows a line of the protocol, and nothing of an answer that is an error of HTTP.
        Err(trouble) if content_type == "application/x-git-upload-pack-result" => {
            respond::git(content_type, Body::from(pktline::error_line(&trouble.line(work))))
        }
        Err(trouble) => {
            let line = format!("{}\n", trouble.line(work));
            match trouble.kind() {
                Kind::Unavailable => respond::unavailable(line),
                _ => respond::text(StatusCode::INTERNAL_SERVER_ERROR, line),
            }
        }
    }
}
