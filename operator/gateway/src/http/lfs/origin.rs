//! The address under which a client reaches the LFS API, which the answer to a batch has to spell out.

use std::collections::BTreeMap;

use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::uri::Scheme;

use super::message::Link;
use crate::authn::pass;
use crate::gateway::GatewayConfig;

/// Whether this server speaks TLS itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encrypted(pub(crate) bool);

/// Links to this server for the client of one request.
pub(super) struct Links {
    base: String,
    header: BTreeMap<String, String>,
}

impl Links {
    pub(super) fn of(request: &Parts, config: &GatewayConfig) -> Self {
        // A client with a password finds it by itself; one with a pass has it for this request only.
        let authorization = request.headers.get(AUTHORIZATION).filter(|value| pass::parse(value).is_some());
        let authorization = authorization.and_then(|value| value.to_str().ok());
        let header = authorization.map(|value| ("Authorization".to_owned(), value.to_owned()));
        Self { base: base(request, config), header: header.into_iter().collect() }
    }

    /// A link to an address below `…/info/lfs/`.
    pub(super) fn to(&self, suffix: &str) -> Link {
        Link { href: format!("{}/{suffix}", self.base), header: self.header.clone(), expires_in: None }
    }
}

/// `https://HOST/…/info/lfs`, as the client of this request wrote it: only that client reads the answer.
fn base(request: &Parts, config: &GatewayConfig) -> String {
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri.authority().map(http::uri::Authority::as_str)).unwrap_or("localhost");
    let path = request.uri.path();
    let repository = path.rsplit_once("/info/lfs/").map_or(path, |(repository, _)| repository);
    // What a proxy in front may take away from the address, the platform team has said.
    let external =
        config.external_url.as_deref().map(|url| url.trim_end_matches('/')).filter(|url| is_under(url, host));
    let base = external.map_or_else(|| format!("{}://{host}", scheme(request)), str::to_owned);
    format!("{base}{repository}/info/lfs")
}

fn is_under(url: &str, host: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest.split('/').next().unwrap_or_default());
    authority.eq_ignore_ascii_case(host)
}

fn scheme(request: &Parts) -> &'static str {
    let is_https = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"https");
    let here = request.extensions.get::<Encrypted>().is_some_and(|encrypted| encrypted.0);
    let in_front = request.headers.get("x-forwarded-proto").is_some_and(is_https);
    let said = request.uri.scheme() == Some(&Scheme::HTTPS);
    if here || in_front || said { "https" } else { "http" }
}
