//! Answers that are not git data. Bodies are `text/plain`, which git shows to its user.

use axum::body::Body;
use axum::response::Response;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, EXPIRES, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

/// A line for the client.
pub(crate) fn text(status: StatusCode, line: String) -> Response {
    let mut response = Response::new(Body::from(line));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, max-age=0, must-revalidate"));
    response
}

/// The same for everybody and every address.
pub(crate) fn unauthorized() -> Response {
    let line = "authentication is needed: use a git credential of the repository's namespace or, in a cluster, a token as the password\n".to_owned();
    let mut response = text(StatusCode::UNAUTHORIZED, line);
    response
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Codekeep\", charset=\"UTF-8\""));
    response
}

/// For addresses that no repository can have.
pub(crate) fn no_such_name() -> Response {
    text(StatusCode::NOT_FOUND, "there is no such repository: addresses look like /NAMESPACE/REPOSITORY\n".to_owned())
}

pub(crate) fn not_a_repository(path: &str) -> Response {
    if path == "/" {
        return text(StatusCode::OK, "Codekeep: git clone this address with /NAMESPACE/REPOSITORY\n".to_owned());
    }
    no_such_name()
}

pub(crate) fn method_not_allowed(allowed: &'static str) -> Response {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("use {allowed}\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The server is too busy, or what it needs is away for now.
pub(crate) fn unavailable(line: String) -> Response {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, line);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// Git data, never cached.
pub(crate) fn git(content_type: &str, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(content_type) {
        headers.insert(CONTENT_TYPE, value);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, max-age=0, must-revalidate"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert(EXPIRES, HeaderValue::from_static("Fri, 01 Jan 1980 00:00:00 GMT"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// The label of a status in metrics, unless the request went well so far.
pub(crate) fn failure(status: StatusCode) -> Option<&'static str> {
    match status.as_u16() {
        200..400 => None,
        401 => Some("unauthenticated"),
        403 | 404 => Some("denied"),
        400..500 => Some("invalid"),
        503 => Some("unavailable"),
        _ => Some("error"),
    }
}
