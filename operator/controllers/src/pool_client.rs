//! A dedicated git server's side of the control port: it follows the pool instead of the API server.

use std::path::PathBuf;
use std::time::Duration;

use model::secret::SecretString;
use reqwest::{Certificate, Client, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::cluster::Feeder;
use crate::control::{
    CertificateAnswer, CertificateQuestion, PREFIX, ServiceAnswer, SnapshotAnswer, TokenReviewAnswer,
    TokenReviewQuestion,
};

/// The pool answers a question for a snapshot within half of this.
const TIMEOUT: Duration = Duration::from_mins(1);
/// When the pool is asked again that did not answer.
const RETRY: Duration = Duration::from_secs(1);
/// Tries before a server starts from its last snapshot.
const PATIENCE: u32 = 5;

/// Why the pool does not help.
#[derive(Debug, thiserror::Error)]
pub enum PoolClientError {
    /// A file is missing.
    #[error("failed to read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The pool cannot be reached, or says nothing of use.
    #[error("failed to ask the pool: {0}")]
    Http(#[from] reqwest::Error),
    /// The pool refuses.
    #[error("the pool answered {status}: {reason}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its first line.
        reason: String,
    },
}

/// A client of the pool.
pub struct PoolClient {
    /// `https://HOST:PORT`
    pub url: String,
    /// Certificates (PEM) that prove the pool; read for each question, because they are renewed.
    pub authority: PathBuf,
    /// The token that the pool accepts; the kubelet renews it.
    pub token: PathBuf,
    /// The Repository that is served.
    pub repository: String,
}

impl PoolClient {
    /// Feeds what the pool says until `stop`.
    pub async fn follow(&self, mut feeder: Feeder, stop: CancellationToken) {
        let (mut version, mut failures) = (String::new(), 0_u32);
        loop {
            match stop.run_until_cancelled(self.snapshot(&version)).await {
                None => return,
                Some(Ok(answer)) => {
                    failures = 0;
                    if answer.version != version {
                        version = answer.version;
                        feeder.feed(answer.documents).await;
                    }
                }
                Some(Err(error)) => {
                    failures += 1;
                    if failures == 1 {
                        tracing::warn!(%error, "failed to follow the pool; what it said before stays in effect");
                    }
                    if failures == PATIENCE && version.is_empty() {
                        feeder.restore().await;
                    }
                    if stop.run_until_cancelled(tokio::time::sleep(RETRY)).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    /// The next snapshot.
    ///
    /// # Errors
    /// When the pool does not answer or refuses.
    pub async fn snapshot(&self, after: &str) -> Result<SnapshotAnswer, PoolClientError> {
        let request = self.client().await?.get(format!("{}{PREFIX}/snapshot", self.url));
        self.ask(request.query(&[("repository", self.repository.as_str()), ("after", after)])).await
    }

    /// Where a Service of the Repository's namespace is.
    ///
    /// # Errors
    /// When there is none, or the pool does not answer.
    pub async fn service(&self, name: &str) -> Result<ServiceAnswer, PoolClientError> {
        let request = self.client().await?.get(format!("{}{PREFIX}/services/{name}", self.url));
        self.ask(request.query(&[("repository", self.repository.as_str())])).await
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// When the pool does not answer or refuses.
    pub async fn review(&self, token: &SecretString) -> Result<TokenReviewAnswer, PoolClientError> {
        let request = self.client().await?.post(format!("{}{PREFIX}/token-reviews", self.url));
        self.ask(request.json(&TokenReviewQuestion { token: token.expose().to_owned() })).await
    }

    /// A certificate for the key of a signing request (PEM).
    ///
    /// # Errors
    /// When the pool does not answer or refuses.
    pub async fn certificate(&self, csr: String) -> Result<CertificateAnswer, PoolClientError> {
        let request = self.client().await?.post(format!("{}{PREFIX}/certificates", self.url));
        self.ask(request.json(&CertificateQuestion { repository: self.repository.clone(), csr })).await
    }

    async fn client(&self) -> Result<Client, PoolClientError> {
        let pem = self.read(&self.authority).await?;
        let client = Client::builder().tls_certs_only(Certificate::from_pem_bundle(pem.as_bytes())?);
        Ok(client.no_proxy().timeout(TIMEOUT).connect_timeout(Duration::from_secs(5)).build()?)
    }

    async fn read(&self, path: &PathBuf) -> Result<String, PoolClientError> {
        let read = tokio::fs::read_to_string(path).await;
        read.map_err(|source| PoolClientError::File { path: path.clone(), source })
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, PoolClientError> {
        let token = self.read(&self.token).await?;
        let answer = request.bearer_auth(token.trim()).send().await?;
        let status = answer.status();
        if status == StatusCode::OK {
            return Ok(answer.json().await?);
        }
        let text = answer.text().await.unwrap_or_default();
        let reason = text.lines().next().unwrap_or_default().chars().take(200).collect();
        Err(PoolClientError::Refused { status: status.as_u16(), reason })
    }
}
