//! AWS KMS: `Encrypt` and `Decrypt`, with the repository as encryption context, so that both are in `CloudTrail` by its name.

use std::error::Error;
use std::path::Path;

use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kms::Client;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use model::RepositoryId;
use store::{KeyError, KeyService};
use zeroize::Zeroizing;

use crate::address::KmsUrl;

/// The name of the encryption context. Part of what is wrapped: never to be changed.
const CONTEXT: &str = "codekeep:repository-id";
const ATTEMPTS: u32 = 3;
/// Errors that go by themselves.
const TRANSIENT: [&str; 6] = [
    "ThrottlingException",
    "KMSInternalException",
    "DependencyTimeoutException",
    "KeyUnavailableException",
    "LimitExceededException",
    "RequestTimeout",
];

/// A region's KMS.
pub(crate) struct Kms {
    client: Client,
}

impl Kms {
    pub(crate) async fn open(url: &KmsUrl, credentials: Option<&Path>) -> Self {
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http)
            .region(Region::new(url.region.clone()))
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS));
        if let Some(folder) = credentials {
            loader = loader.credentials_provider(store::folder_credentials(folder).await);
        }
        if let Some(endpoint) = &url.endpoint {
            loader = loader.endpoint_url(endpoint.as_str().trim_end_matches('/'));
        }
        Self { client: Client::new(&loader.load().await) }
    }
}

#[async_trait]
impl KeyService for Kms {
    async fn wrap(&self, key_id: &str, id: &RepositoryId, plain: &[u8]) -> Result<Vec<u8>, KeyError> {
        let encrypt = self.client.encrypt().key_id(key_id).plaintext(Blob::new(plain));
        let encrypted = encrypt.encryption_context(CONTEXT, id.as_str()).send().await;
        let encrypted = encrypted.map_err(|error| failure(&error, "encrypt with", key_id))?;
        let wrapped = encrypted.ciphertext_blob.map(Blob::into_inner);
        wrapped.ok_or_else(|| KeyError::Unavailable("AWS KMS answered without a ciphertext".to_owned()))
    }

    async fn unwrap(&self, key_id: &str, id: &RepositoryId, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let decrypt = self.client.decrypt().key_id(key_id).ciphertext_blob(Blob::new(wrapped));
        let decrypted = decrypt.encryption_context(CONTEXT, id.as_str()).send().await;
        let decrypted = decrypted.map_err(|error| failure(&error, "decrypt with", key_id))?;
        let plain = decrypted.plaintext.map(|plain| Zeroizing::new(plain.into_inner()));
        plain.ok_or_else(|| KeyError::Unavailable("AWS KMS answered without a plaintext".to_owned()))
    }
}

/// Whether somebody has to change something, and what.
fn failure<E>(error: &SdkError<E>, what: &str, key_id: &str) -> KeyError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error.code() {
        Some(code) if !TRANSIENT.contains(&code) => {
            let message = error.message().unwrap_or("it gives no reason");
            KeyError::Refused(format!("AWS KMS refuses to {what} key '{key_id}': {code}: {message}"))
        }
        code => {
            let reason = code.map_or_else(|| chain(error), str::to_owned);
            KeyError::Unavailable(format!("failed to {what} key '{key_id}' of AWS KMS: {reason}"))
        }
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
