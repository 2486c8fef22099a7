//! Git LFS, which is a protocol of HTTP: batches, transfers through this server, locks.
//!
//! A batch answers with addresses of this server, or of the bucket itself where clients reach it (`direct.rs`): a client follows whatever it
//! finds there.
//!
//! A batch says in its body what it wants to do, so bodies, bounded, are read before the decision; nothing is done before it.

mod batch;
mod call;
mod direct;
mod download;
mod locks;
pub(crate) mod message;
mod origin;
mod quota;
mod range;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures::StreamExt as _;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use model::RepositoryPath;
use model::error::Kind;
use model::policy::Action;
use serde::Serialize;
use store::LfsObjects;

use super::{admit, respond};
use crate::authorize::{self, Caller};
use crate::gateway::Gateway;
use crate::metrics::Measure;
use crate::service::{Trouble, Work};
pub(crate) use call::Call;
pub(crate) use message::Operation;
pub(crate) use origin::Encrypted;
use origin::Links;

/// The content type of everything that is not an object.
const JSON: &str = "application/vnd.git-lfs+json";
/// Bytes of a request in JSON: a batch of a thousand objects takes a tenth.
const MAX_JSON: u64 = 1 << 20;
/// How long an object is read that is not wanted, ...
const LINGER: Duration = Duration::from_secs(1);
/// ... and how many bytes of it.
const MAX_LINGER: usize = 8 << 20;
/// Bytes of an answer of ours that becomes JSON.
const MAX_LINE: usize = 64 << 10;

/// A request of somebody who is known, about a repository that they may not know.
pub(crate) struct Asked {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) path: RepositoryPath,
    pub(crate) caller: Caller,
    pub(crate) measure: Arc<Measure>,
}

/// Why a call was refused, as the client reads it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) line: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, line: impl Into<String>) -> Self {
        Self { status, line: line.into() }
    }

    pub(crate) fn response(self) -> Response {
        respond::text(self.status, self.line)
    }
}

type Outcome = Result<Response, Refusal>;

impl Work {
    /// The LFS objects of the repository; nothing is read for it but its name.
    async fn lfs(&self) -> Result<LfsObjects, Refusal> {
        let store = self.store().map_err(|trouble| self.refusal(&trouble))?;
        let id = store.find_or_create(&self.config.path).await.map_err(|error| self.store_refusal(&error))?;
        Ok(store.lfs(&id))
    }

    /// Whether the caller may do something by the policies as they are now.
    fn may(&self, action: Action) -> Result<(), Refusal> {
        let (desired, metrics) = (self.gateway.desired(), &self.gateway.metrics);
        let decided = authorize::admit(action, &self.config.path, &self.caller, &desired, metrics);
        decided.map(drop).map_err(|denial| Refusal::new(StatusCode::FORBIDDEN, denial.text()))
    }

    fn refusal(&self, trouble: &Trouble) -> Refusal {
        let status = match trouble.kind() {
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal::new(status, trouble.line(self))
    }

    fn store_refusal(&self, error: &store::Error) -> Refusal {
        self.refusal(&Trouble::of_store(error, self))
    }
}

/// Answers a call. Errors are lines of text, which [`dress`] turns into what LFS clients expect.
pub(crate) async fn answer(asked: Asked, call: Call, parts: &Parts, body: Body) -> Response {
    let Some(expected) = call.methods() else {
        return respond::text(StatusCode::NOT_FOUND, "there is no such LFS address\n".to_owned());
    };
    // The answer to a stranger does not depend on what else is wrong with the request.
    let mut body = Some(body);
    let json = if call.has_json(&parts.method) {
        Some(read(&asked, &parts.headers, body.take().unwrap_or_default()).await)
    } else {
        None
    };
    let batch = match (&call, &json) {
        (Call::Batch, Some(Ok(json))) => Some(message::BatchRequest::parse(json)),
        _ => None,
    };
    let action = match &batch {
        Some(Ok(batch)) => batch.operation.action(),
        _ => call.action(&parts.method),
    };
    let work = match permit(asked, action) {
        Ok(work) => work,
        Err(response) => {
            linger(body);
            return *response;
        }
    };
    if !expected.split(", ").any(|method| method == parts.method.as_str()) {
        return respond::method_not_allowed(expected);
    }
    let json = match json.transpose() {
        Ok(json) => json.unwrap_or_default(),
        Err(refusal) => return refusal.response(),
    };
    let outcome = match (call, batch) {
        (Call::Batch, Some(Ok(batch))) => batch::batch(&work, batch, &Links::of(parts, &work.gateway.config)).await,
        (Call::Batch, Some(Err(refusal))) => Err(refusal),
        (Call::Batch | Call::Unknown, _) => Err(Refusal::new(StatusCode::NOT_FOUND, "there is no such LFS address")),
        (Call::Object(oid), _) if parts.method == Method::PUT => {
            upload::upload(&work, oid, parts, body.unwrap_or_default()).await
        }
        (Call::Object(oid), _) => download::download(&work, oid, parts).await,
        (Call::Verify, _) => batch::verify(&work, &json).await,
        (Call::Locks, _) if parts.method == Method::POST => locks::lock(&work, &json).await,
        (Call::Locks, _) => locks::locks(&work, &parts.uri).await,
        (Call::VerifyLocks, _) => locks::verify_locks(&work, &json).await,
        (Call::Unlock(id), _) => locks::unlock(&work, id, &json).await,
    };
    outcome.unwrap_or_else(Refusal::response)
}

/// Goes on reading a little of an object that is not wanted: the answer would be lost if the connection closed under a client that
/// sends. git-lfs sends its first object without a credential and waits for the refusal.
fn linger(body: Option<Body>) {
    let Some(body) = body else { return };
    tokio::spawn(tokio::time::timeout(LINGER, async move {
        let (mut pieces, mut seen) = (body.into_data_stream(), 0);
        while let Some(Ok(piece)) = pieces.next().await {
            seen += piece.len();
            if seen > MAX_LINGER {
                return;
            }
        }
    }));
}

/// Authorizes. The operator, which may list references and nothing else, is refused here.
fn permit(asked: Asked, action: Action) -> Result<Work, Box<Response>> {
    let Asked { gateway, path, caller, measure } = asked;
    let config = admit(&gateway, action, &path, &caller)?;
    if caller.lists_only {
        let line = authorize::operator_fetch(&path, &caller, &gateway.metrics);
        return Err(respond::text(StatusCode::FORBIDDEN, format!("{line}\n")).into());
    }
    Ok(Work { gateway, config, caller, measure })
}

async fn read(asked: &Asked, headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Refusal> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(JSON) {
        let line = format!("the content type of this request must be {JSON}");
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, line));
    }
    let config = &asked.gateway.config;
    let limit = usize::try_from(config.max_request_bytes.min(MAX_JSON)).unwrap_or(usize::MAX);
    match tokio::time::timeout(config.idle_timeout, axum::body::to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => {
            asked.gateway.metrics.received_bytes.inc_by(bytes.len() as u64);
            Ok(bytes.into())
        }
        Ok(Err(_)) => Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("this request may have {limit} bytes"))),
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the client stopped sending")),
    }
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            let mut response = Response::new(Body::from(bytes));
            *response.status_mut() = status;
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
            headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error) => respond::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

/// What LFS clients read of an error. There is no `documentation_url`: the documentation has no address that holds everywhere.
#[derive(Serialize)]
struct Failure<'a> {
    message: &'a str,
    request_id: &'a str,
}

/// Turns a line of text into the JSON that LFS clients show, and says to those who are not known how they may be.
pub(crate) async fn dress(response: Response, request_id: &str) -> Response {
    let is_text = |value: &HeaderValue| value.as_bytes().starts_with(b"text/plain");
    if response.status().is_success() || !response.headers().get(CONTENT_TYPE).is_some_and(is_text) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let line = axum::body::to_bytes(body, MAX_LINE).await.unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    let failure = Failure { message: line.trim_end(), request_id };
    let (_, body) = json(parts.status, &failure).into_parts();
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    if let Some(how) = parts.headers.get(WWW_AUTHENTICATE).cloned() {
        parts.headers.insert("lfs-authenticate", how);
    }
    Response::from_parts(parts, body)
}
