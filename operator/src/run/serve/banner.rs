//! What `codekeep serve` prints when it is ready: what it serves, and one line to paste.
//!
//! The line holds a credential only when the server listens on loopback, where the reader already has the manifests.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::Context as _;
use model::desired::{Credential, CredentialSecret, DesiredState, RepositoryConfig};
use model::policy::{AccessRequest, Action, Decision, Principal, ReferenceScope};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::args::ServeArgs;

/// Repositories that are listed one by one.
const MAX_SHOWN: usize = 20;

/// The URL that clients use: what the operator says, else the listening address.
pub(crate) fn external_url(args: &ServeArgs, address: SocketAddr) -> anyhow::Result<Url> {
    if let Some(url) = &args.external_url {
        Ok(url.clone())
    } else {
        let scheme = if args.tls_cert.is_some() { "https" } else { "http" };
        Url::parse(&format!("{scheme}://{address}")).context("failed to make a URL of the listening address")
    }
}

/// Prints the repositories and, on loopback, a clone command that works as it stands.
pub(crate) fn print(args: &ServeArgs, external_url: &Url, desired: &DesiredState) -> anyhow::Result<()> {
    let mut text = format!("codekeep {} serves\n", env!("CARGO_PKG_VERSION"));
    let base = external_url.as_str().trim_end_matches('/');
    for path in desired.repositories.keys().take(MAX_SHOWN) {
        let _ = writeln!(text, "  {base}/{path}");
    }
    if let Some(more) = desired.repositories.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "  … and {more} more");
    }
    if desired.repositories.is_empty() {
        let place = args.manifests.as_ref().map_or_else(|| "the cluster".to_owned(), |dir| dir.display().to_string());
        let _ = writeln!(text, "  nothing yet: {place} holds no valid Repository");
    }
    if args.listen.ip().is_loopback()
        && let Some(line) = clone_line(external_url, desired)
    {
        let _ = writeln!(text, "Try it in a second terminal:\n  {line}");
    }
    std::io::stdout().write_all(text.as_bytes()).context("failed to print")
}

/// `git clone URL` with the first plain credential that may push to some repository.
fn clone_line(external_url: &Url, desired: &DesiredState) -> Option<String> {
    desired.repositories.values().find_map(|repository| {
        let credentials = desired.credentials.get(&repository.path.namespace)?;
        let (credential, password) = credentials.iter().find_map(|credential| {
            let CredentialSecret::Password(password) = &credential.secret else { return None };
            may_push(desired, repository, credential).then_some((credential, password))
        })?;
        let userinfo = format!("{}:{}@", encode(&credential.username), encode(password.expose()));
        let url = format!("{}/{}", external_url.as_str().trim_end_matches('/'), repository.path);
        Some(format!("git clone {}", url.replacen("://", &format!("://{userinfo}"), 1)))
    })
}

fn may_push(desired: &DesiredState, repository: &RepositoryConfig, credential: &Credential) -> bool {
    let principal = Principal::LocalUser { namespace: credential.namespace.clone(), name: credential.user.clone() };
    let allowed = |action, reference| {
        let request = AccessRequest {
            principal: &principal,
            action,
            repository: &repository.path,
            labels: &repository.labels,
            reference,
            source: std::net::Ipv4Addr::LOCALHOST.into(),
        };
        matches!(desired.policies.evaluate(&request), Decision::Allowed { .. })
    };
    allowed(Action::GitPull, ReferenceScope::Whole) && allowed(Action::GitPush, ReferenceScope::Any)
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
