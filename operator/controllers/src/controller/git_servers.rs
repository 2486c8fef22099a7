//! Talks to git servers: proves that a Repository answers through its Service, and asks what the servers know.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;

use crate::control::{
    DeletionQuestion, PREFIX, PromotionAnswer, PromotionQuestion, Pushes, RepositorySummary, ServerState,
};
use crate::workload::{CONTROL_PORT, METRICS_PORT};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Deleting a large repository takes a request per thousand objects.
const DELETE_TIMEOUT: Duration = Duration::from_mins(5);
/// Longest reason of a server that gets into a condition.
const MAX_REASON: usize = 512;
/// `ls-refs` of protocol version 2, for HEAD only.
const LS_REFS: &str = "0014command=ls-refs\n0001001bref-prefix refs/heads/\n0000";

/// Why a git server did not do as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitServerError {
    #[error("failed to read the token for git servers: {0}")]
    Token(std::io::Error),
    #[error("failed to reach {host}: {reason}")]
    Unreachable { host: String, reason: String },
    #[error("{host} answered {status}: {reason}")]
    Refused { host: String, status: u16, reason: String },
    #[error("{host} gave an answer that is none: {reason}")]
    Nonsense { host: String, reason: String },
    #[error("no git server is ready: {0}")]
    NotReady(String),
}

impl GitServerError {
    /// Whether the Repository's encryption key cannot be had.
    pub(crate) fn is_key(&self) -> bool {
        matches!(self, Self::Refused { status: 423, .. })
    }

    /// Whether pushes could be lost, and nobody has accepted that.
    pub(crate) fn is_unsafe(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }

    /// Whether a store is meant that is none of the repository's.
    pub(crate) fn is_unknown_store(&self) -> bool {
        matches!(self, Self::Refused { status: 422, .. })
    }

    /// Whether the server is there but its store is not.
    pub(crate) fn is_storage(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status, 503 | 507),
            // They wait for nothing longer than for their store.
            Self::NotReady(reason) => reason.contains("the store '"),
            _ => false,
        }
    }
}

/// Where servers are asked.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The name in the certificate and the `Host` header.
    pub(crate) host: String,
    /// The address that is connected to.
    pub(crate) address: IpAddr,
}

/// A client of git servers.
pub(crate) struct GitServers {
    /// File with a token that the servers accept; the kubelet renews it.
    token: PathBuf,
}

impl GitServers {
    pub(crate) fn new(token: PathBuf) -> Self {
        Self { token }
    }

    /// A real `ls-refs` through the Service.
    pub(crate) async fn ls_refs(&self, place: &Place, authority: &[u8], path: &str) -> Result<(), GitServerError> {
        let (client, host) = (client(place, 443, authority)?, &place.host);
        let url = format!("https://{host}/{path}/info/refs?service=git-upload-pack");
        let request = client.get(url).header("git-protocol", "version=2");
        let text = body(host, self.send(host, request).await?).await?;
        if !text.windows(9).any(|window| window == b"version 2") {
            return Err(nonsense(host, "it is no advertisement of git's protocol version 2"));
        }
        let url = format!("https://{host}/{path}/git-upload-pack");
        let request = client
            .post(url)
            .header("git-protocol", "version=2")
            .header("content-type", "application/x-git-upload-pack-request")
            .body(LS_REFS);
        let text = body(host, self.send(host, request).await?).await?;
        if text.ends_with(b"0000") { Ok(()) } else { Err(nonsense(host, "its list of references has no end")) }
    }

    /// What the store says of a Repository; makes it there if it is new.
    pub(crate) async fn summary(
        &self,
        place: &Place,
        authority: &[u8],
        namespace: &str,
        name: &str,
    ) -> Result<RepositorySummary, GitServerError> {
        self.get(place, authority, &format!("/repositories/{namespace}/{name}")).await
    }

    /// Deletes the data of a Repository that is not served any more.
    pub(crate) async fn delete(
        &self,
        place: &Place,
        authority: &[u8],
        deletion: &DeletionQuestion,
    ) -> Result<(), GitServerError> {
        let client = client(place, CONTROL_PORT, authority)?;
        let request = client.post(control_url(place, "/deletions")).timeout(DELETE_TIMEOUT).json(deletion);
        self.send(&place.host, request).await.map(drop)
    }

    /// Makes another store the primary of a Repository; `None` while that is under way.
    pub(crate) async fn promote(
        &self,
        place: &Place,
        authority: &[u8],
        promotion: &PromotionQuestion,
    ) -> Result<Option<PromotionAnswer>, GitServerError> {
        let client = client(place, CONTROL_PORT, authority)?;
        match self.send(&place.host, client.post(control_url(place, "/promotions")).json(promotion)).await {
            Ok(answer) => read(&place.host, answer).await.map(Some),
            Err(GitServerError::Refused { status: 202, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a server knows about a namespace.
    pub(crate) async fn state(
        &self,
        place: &Place,
        authority: &[u8],
        namespace: &str,
    ) -> Result<ServerState, GitServerError> {
        self.get(place, authority, &format!("/state?namespace={namespace}")).await
    }

    /// What was pushed to since.
    pub(crate) async fn pushes(&self, place: &Place, authority: &[u8], after: u64) -> Result<Pushes, GitServerError> {
        self.get(place, authority, &format!("/pushes?after={after}")).await
    }

    /// What a pod that is not ready waits for, by its own word.
    pub(crate) async fn waits_for(&self, pod: IpAddr) -> Option<String> {
        let client = Client::builder().no_proxy().timeout(CONNECT_TIMEOUT).build().ok()?;
        let url = format!("http://{}/readyz", SocketAddr::new(pod, METRICS_PORT));
        let answer = client.get(url).send().await.ok().filter(|answer| answer.status() != StatusCode::OK)?;
        let text = answer.text().await.ok()?;
        text.lines().next().map(|line| line.chars().take(MAX_REASON).collect())
    }

    async fn get<T: DeserializeOwned>(&self, place: &Place, authority: &[u8], path: &str) -> Result<T, GitServerError> {
        let client = client(place, CONTROL_PORT, authority)?;
        read(&place.host, self.send(&place.host, client.get(control_url(place, path))).await?).await
    }

    async fn send(&self, host: &str, request: RequestBuilder) -> Result<Response, GitServerError> {
        let token = tokio::fs::read_to_string(&self.token).await.map_err(GitServerError::Token)?;
        let answer = request.bearer_auth(token.trim()).send().await.map_err(|error| unreachable(host, error))?;
        let status = answer.status();
        if status == StatusCode::OK {
            return Ok(answer);
        }
        let text = answer.text().await.unwrap_or_default();
        let reason = text.lines().next().unwrap_or_default().chars().take(MAX_REASON).collect();
        Err(GitServerError::Refused { host: host.to_owned(), status: status.as_u16(), reason })
    }
}

fn control_url(place: &Place, path: &str) -> String {
    format!("https://{}:{CONTROL_PORT}{PREFIX}{path}", place.host)
}

/// A client that finds one host at one address, so that no name needs to be resolved.
fn client(place: &Place, port: u16, authority: &[u8]) -> Result<Client, GitServerError> {
    let roots = Certificate::from_pem_bundle(authority).map_err(|error| unreachable(&place.host, error))?;
    Client::builder()
        .tls_certs_only(roots)
        .resolve(&place.host, SocketAddr::new(place.address, port))
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .build()
        .map_err(|error| unreachable(&place.host, error))
}

async fn read<T: DeserializeOwned>(host: &str, answer: Response) -> Result<T, GitServerError> {
    let bytes = body(host, answer).await?;
    serde_json::from_slice(&bytes).map_err(|error| nonsense(host, &error.to_string()))
}

async fn body(host: &str, answer: Response) -> Result<Vec<u8>, GitServerError> {
    answer.bytes().await.map(|bytes| bytes.to_vec()).map_err(|error| unreachable(host, error))
}

fn unreachable(host: &str, error: reqwest::Error) -> GitServerError {
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        reason = inner.to_string();
        cause = inner.source();
    }
    GitServerError::Unreachable { host: host.to_owned(), reason }
}

fn nonsense(host: &str, reason: &str) -> GitServerError {
    GitServerError::Nonsense { host: host.to_owned(), reason: reason.to_owned() }
}
