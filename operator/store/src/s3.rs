//! The backend `s3://`: any bucket that speaks S3, by the AWS SDK.
//!
//! The commit is one attempt, always: a retry below us could meet its own success. Everything else is idempotent and retried by
//! the SDK. Time-outs and the number of connections are ours.

mod address;
mod credentials;
mod failure;
mod inspect;
mod presign;
mod transfer;

use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Builder, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::metrics::StoreMetrics;
use crate::object::{Create, ObjectBytes, ObjectMeta, ObjectStore, StoreError};
use crate::url::S3Url;
pub use credentials::folder_credentials;
use failure::Failure;
pub(crate) use inspect::{Contact, Description, Ranged, Signed, Way};
pub use presign::DirectLink;
pub(crate) use presign::HOLDS;
pub(crate) use transfer::PART_BYTES;
use transfer::downloaded;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For one attempt of a small request. Some stores let losers of a race wait for many seconds.
const ATTEMPT_TIMEOUT: Duration = Duration::from_mins(1);
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const ATTEMPTS: u32 = 4;
/// Requests to the bucket at the same time.
const CONCURRENCY: usize = 128;

/// A bucket.
#[derive(Clone)]
pub struct S3Store {
    client: Client,
    bucket: String,
    prefix: String,
    permits: Arc<Semaphore>,
    metrics: StoreMetrics,
    /// The key that the bucket encrypts with what is written (SSE-KMS); without it the bucket does what it does by default.
    kms_key_id: Option<String>,
}

impl S3Store {
    /// A client for the bucket; when the first request needs them, credentials come from a folder that has them (see
    /// [`crate::connect()`]), or else from the standard chain.
    ///
    /// # Errors
    /// When the certificate authority cannot be read.
    pub async fn open(url: &S3Url, credentials: Option<&Path>, metrics: StoreMetrics) -> Result<Self, StoreError> {
        Self::open_at(url, credentials, metrics, None).await
    }

    /// As [`Self::open`], by way of this address of the endpoint only.
    pub(crate) async fn open_at(
        url: &S3Url,
        credentials: Option<&Path>,
        metrics: StoreMetrics,
        address: Option<IpAddr>,
    ) -> Result<Self, StoreError> {
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12());
        if let Some(folder) = credentials {
            loader = loader.credentials_provider(folder_credentials(folder).await);
        }
        Self::load(loader, url, metrics, address).await
    }

    /// As [`Self::open`], with this access key and secret: a test cannot set its own environment.
    ///
    /// # Errors
    /// When the certificate authority cannot be read.
    #[cfg(feature = "testing")]
    pub async fn open_as(url: &S3Url, key: (&str, &str), metrics: StoreMetrics) -> Result<Self, StoreError> {
        let credentials = aws_sdk_s3::config::Credentials::new(key.0, key.1, None, None, "test");
        let loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).credentials_provider(credentials);
        Self::load(loader, url, metrics, None).await
    }

    async fn load(
        loader: aws_config::ConfigLoader,
        url: &S3Url,
        metrics: StoreMetrics,
        address: Option<IpAddr>,
    ) -> Result<Self, StoreError> {
        let mut loader = loader.http_client(http_client(url, address).await?);
        if let Some(region) = &url.region {
            loader = loader.region(Region::new(region.clone()));
        } else if url.endpoint.is_some() {
            // Stores of one's own seldom care, but the signature needs some region.
            loader = loader.region(Region::new("us-east-1"));
        }
        if let Ok(name) = AppName::new("codekeep") {
            loader = loader.app_name(name);
        }
        let config = client_config(&loader.load().await, url);
        let prefix = if url.prefix.is_empty() { String::new() } else { format!("{}/", url.prefix) };
        let permits = Arc::new(Semaphore::new(CONCURRENCY));
        Ok(Self {
            client: Client::from_conf(config),
            bucket: url.bucket.clone(),
            prefix,
            permits,
            metrics,
            kms_key_id: None,
        })
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        self.permits.acquire().await.ok()
    }
}

async fn http_client(url: &S3Url, address: Option<IpAddr>) -> Result<aws_sdk_s3::config::SharedHttpClient, StoreError> {
    let mut builder = aws_smithy_http_client::Builder::new()
        .pool_idle_timeout(Duration::from_mins(1))
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    if let Some(file) = &url.ca_file {
        let refused =
            |reason: String| StoreError::Refused { operation: "open", key: file.display().to_string(), reason };
        let pem = tokio::fs::read(file).await.map_err(|error| refused(error.to_string()))?;
        let context = TlsContext::builder()
            .with_trust_store(TrustStore::empty().with_pem_certificate(pem))
            .build()
            .map_err(|error| refused(error.to_string()))?;
        builder = builder.tls_context(context);
    }
    Ok(match address {
        Some(address) => builder.build_with_resolver(address::Pinned(address)),
        None => builder.build_https(),
    })
}

fn client_config(shared: &SdkConfig, url: &S3Url) -> aws_sdk_s3::Config {
    let (request, response) = if url.checksum_always {
        (RequestChecksumCalculation::WhenSupported, ResponseChecksumValidation::WhenSupported)
    } else {
        (RequestChecksumCalculation::WhenRequired, ResponseChecksumValidation::WhenRequired)
    };
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build();
    let mut config = Builder::from(shared)
        .force_path_style(url.path_style)
        .request_checksum_calculation(request)
        .response_checksum_validation(response)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(timeouts);
    if let Some(endpoint) = &url.endpoint {
        config = config.endpoint_url(endpoint.as_str().trim_end_matches('/'));
    }
    config.build()
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn create(&self, key: &str, body: Bytes) -> Result<Create, StoreError> {
        let _permit = self.permit().await;
        let timer = self.metrics.start("create");
        let put = self.put_object(key).if_none_match("*").body(ByteStream::from(body));
        let once = put.customize().config_override(Builder::new().retry_config(RetryConfig::disabled()));
        match once.send().await {
            Ok(_) => {
                timer.finish("ok");
                Ok(Create::Created)
            }
            Err(error) => {
                let failure = Failure::of(&error);
                if failure.status == Some(412) {
                    timer.finish("exists");
                    return Ok(Create::Exists);
                }
                timer.finish("error");
                Err(failure.of_create(key))
            }
        }
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        let _permit = self.permit().await;
        let timer = self.metrics.start("put");
        let outcome = self.put_object(key).body(ByteStream::from(body)).send().await;
        timer.finish(if outcome.is_ok() { "ok" } else { "error" });
        outcome.map(drop).map_err(|error| Failure::of(&error).during("put", key))
    }

    async fn upload(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        self.upload_file(key, file).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let _permit = self.permit().await;
        let timer = self.metrics.start("get");
        let outcome = self.get_whole(key).await;
        timer.finish(match &outcome {
            Ok(Some(_)) => "ok",
            Ok(None) => "missing",
            Err(_) => "error",
        });
        outcome
    }

    async fn download(&self, key: &str, file: &Path, size: u64) -> Result<bool, StoreError> {
        self.download_file(key, file, size).await
    }

    async fn download_range(&self, key: &str, file: &Path, range: Range<u64>, size: u64) -> Result<bool, StoreError> {
        let timer = self.metrics.start("download");
        let outcome = self.download_part(key, file, (range.start, range.end - range.start, size)).await;
        timer.finish(downloaded(&outcome));
        outcome
    }

    async fn stream(&self, key: &str, range: Range<u64>, size: u64) -> Result<Option<ObjectBytes>, StoreError> {
        let timer = self.metrics.start("stream");
        let outcome = self.stream_range(key, range, size).await;
        timer.finish(match &outcome {
            Ok(Some(_)) => "ok",
            Ok(None) => "missing",
            Err(_) => "error",
        });
        outcome
    }

    fn encrypting_with(&self, kms_key_id: &str) -> Option<Arc<dyn ObjectStore>> {
        Some(Arc::new(Self { kms_key_id: Some(kms_key_id.to_owned()), ..self.clone() }))
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let _permit = self.permit().await;
        let timer = self.metrics.start("delete");
        let outcome = self.client.delete_object().bucket(&self.bucket).key(self.key(key)).send().await;
        timer.finish(if outcome.is_ok() { "ok" } else { "error" });
        match outcome {
            Ok(_) => Ok(()),
            Err(error) => match Failure::of(&error) {
                failure if failure.status == Some(404) && !failure.is_missing_bucket() => Ok(()),
                failure => Err(failure.during("delete", key)),
            },
        }
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        let mut objects = Vec::new();
        let mut after = start_after.map(|after| self.key(after));
        while objects.len() < limit {
            let _permit = self.permit().await;
            let timer = self.metrics.start("list");
            let wanted = i32::try_from((limit - objects.len()).min(1_000)).unwrap_or(1_000);
            let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(self.key(prefix)).max_keys(wanted);
            let outcome = list.set_start_after(after.take()).send().await;
            timer.finish(if outcome.is_ok() { "ok" } else { "error" });
            let page = outcome.map_err(|error| Failure::of(&error).during("list", prefix))?;
            for object in page.contents() {
                let Some(key) = object.key().and_then(|key| key.strip_prefix(&self.prefix)) else { continue };
                let size = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
                let modified = object.last_modified().and_then(|time| Timestamp::from_second(time.secs()).ok());
                objects.push(ObjectMeta { key: key.to_owned(), size, modified });
            }
            after = page.contents().last().and_then(|object| object.key()).map(str::to_owned);
            // A page that is cut short but empty would be asked for again for ever.
            if page.is_truncated() != Some(true) || after.is_none() {
                break;
            }
        }
        Ok(objects)
    }
}
