//! The transit engine of Vault and `OpenBao`: `encrypt` and `decrypt` with the repository as associated data.
//!
//! Two requests of its HTTP API and a sign-in. The crates for Vault bring a second HTTP client with them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::RepositoryId;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Certificate, Client, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{KeyError, KeyService};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::address::TransitUrl;

const TIMEOUT: Duration = Duration::from_secs(5);
/// The pod's own token, which the kubelet renews.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// A token is asked for again when less than this part of its life is left.
const RENEW_PART: u32 = 3;

/// A transit engine.
pub(crate) struct Transit {
    client: Client,
    url: TransitUrl,
    /// Folder with the file `VAULT_TOKEN`.
    credentials: Option<PathBuf>,
    /// The token of the last sign-in, and when it is to be renewed.
    signed_in: tokio::sync::Mutex<Option<(Zeroizing<String>, Instant)>>,
}

#[derive(Deserialize)]
struct Login {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
    lease_duration: u64,
}

impl Transit {
    pub(crate) async fn open(url: &TransitUrl, credentials: Option<&Path>) -> Result<Self, KeyError> {
        let mut client = Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
        if let Some(file) = &url.ca_file {
            let refused = |error: &dyn std::fmt::Display| KeyError::Refused(format!("{}: {error}", file.display()));
            let pem = tokio::fs::read(file).await.map_err(|error| refused(&error))?;
            client = client.tls_certs_only(Certificate::from_pem_bundle(&pem).map_err(|error| refused(&error))?);
        }
        let client = client.build().map_err(|error| KeyError::Refused(error.to_string()))?;
        let credentials = credentials.map(Path::to_owned);
        Ok(Self { client, url: url.clone(), credentials, signed_in: tokio::sync::Mutex::default() })
    }

    async fn token(&self) -> Result<Zeroizing<String>, KeyError> {
        if let Some(role) = &self.url.role {
            return self.sign_in(role).await;
        }
        let file = self.credentials.as_ref().map(|folder| folder.join("VAULT_TOKEN"));
        let file = file.ok_or_else(|| {
            KeyError::Refused(
                "the key service has neither a role nor a folder of credentials with VAULT_TOKEN".to_owned(),
            )
        })?;
        read_secret(&file).await
    }

    /// Signs in by the pod's `ServiceAccount`, unless it is signed in.
    async fn sign_in(&self, role: &str) -> Result<Zeroizing<String>, KeyError> {
        let mut signed_in = self.signed_in.lock().await;
        if let Some((token, until)) = &*signed_in
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        let jwt = read_secret(Path::new(SERVICE_ACCOUNT_TOKEN)).await?;
        let body = json!({"role": role, "jwt": &*jwt});
        let answer: Login = self.ask(&format!("auth/{}/login", self.url.auth), &body, None).await?;
        let life = Duration::from_secs(answer.auth.lease_duration.max(u64::from(RENEW_PART)));
        let token = Zeroizing::new(answer.auth.client_token);
        *signed_in = Some((token.clone(), Instant::now() + life - life / RENEW_PART));
        Ok(token)
    }

    /// Uses a key, and gives the field of the answer.
    async fn apply(
        &self,
        action: &str,
        key_id: &str,
        body: &Value,
        field: &str,
    ) -> Result<Zeroizing<String>, KeyError> {
        #[derive(Deserialize)]
        struct Answer {
            data: Value,
        }
        let token = self.token().await?;
        let key = utf8_percent_encode(key_id, NON_ALPHANUMERIC);
        let answer: Answer = self.ask(&format!("{}/{action}/{key}", self.url.mount), body, Some(&token)).await?;
        let text = answer.data.get(field).and_then(Value::as_str).map(|text| Zeroizing::new(text.to_owned()));
        text.ok_or_else(|| KeyError::Unavailable(format!("the key service answered without {field}")))
    }

    async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        path: &str,
        body: &Value,
        token: Option<&str>,
    ) -> Result<T, KeyError> {
        let server = self.url.server.as_str().trim_end_matches('/');
        let mut request = self.client.post(format!("{server}/v1/{path}")).json(body).header("X-Vault-Request", "true");
        if let Some(namespace) = &self.url.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if let Some(token) = token {
            request = request.header("X-Vault-Token", token);
        }
        let unreachable = |error: reqwest::Error| {
            KeyError::Unavailable(format!("failed to ask the key service {server}: {}", error.without_url()))
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let bytes = Zeroizing::new(answer.bytes().await.map_err(unreachable)?.to_vec());
        if status.is_success() {
            let nonsense = |error| KeyError::Unavailable(format!("the key service {server} gave no answer: {error}"));
            return serde_json::from_slice(&bytes).map_err(nonsense);
        }
        if status == StatusCode::FORBIDDEN {
            *self.signed_in.lock().await = None;
        }
        Err(refusal(server, status, &bytes))
    }
}

/// What the server says is wrong: `{"errors": ["…"]}`.
fn refusal(server: &str, status: StatusCode, body: &[u8]) -> KeyError {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<String>,
    }
    let errors = serde_json::from_slice::<Errors>(body).map(|errors| errors.errors.join("; ")).unwrap_or_default();
    let line = format!("the key service {server} answered {status}: {}", errors.trim().replace('\n', " "));
    let passes = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    if passes { KeyError::Unavailable(line) } else { KeyError::Refused(line) }
}

async fn read_secret(file: &Path) -> Result<Zeroizing<String>, KeyError> {
    let read = tokio::fs::read_to_string(file).await.map(Zeroizing::new);
    let text = read.map_err(|error| {
        let reason = format!("failed to read {}: {error}", file.display());
        if error.kind() == ErrorKind::NotFound { KeyError::Refused(reason) } else { KeyError::Unavailable(reason) }
    })?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

fn associated_data(id: &RepositoryId) -> String {
    STANDARD.encode(format!("codekeep keyring 1 {id}"))
}

#[async_trait]
impl KeyService for Transit {
    async fn wrap(&self, key_id: &str, id: &RepositoryId, plain: &[u8]) -> Result<Vec<u8>, KeyError> {
        let body = json!({"plaintext": STANDARD.encode(plain), "associated_data": associated_data(id)});
        let ciphertext = self.apply("encrypt", key_id, &body, "ciphertext").await?;
        Ok(ciphertext.as_bytes().to_vec())
    }

    async fn unwrap(&self, key_id: &str, id: &RepositoryId, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let damaged = || KeyError::Refused("the wrapped data keys have changed in the bucket".to_owned());
        let ciphertext = std::str::from_utf8(wrapped).map_err(|_| damaged())?;
        let body = json!({"ciphertext": ciphertext, "associated_data": associated_data(id)});
        let plaintext = self.apply("decrypt", key_id, &body, "plaintext").await?;
        STANDARD.decode(plaintext.as_bytes()).map(Zeroizing::new).map_err(|_| damaged())
    }
}

#[cfg(test)]
mod tests;
