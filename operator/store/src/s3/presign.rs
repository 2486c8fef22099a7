//! Requests of clients to the bucket itself, signed here and sent there (ADR 0017).

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::lfs::Oid;

use super::{Failure, S3Store};
use crate::object::StoreError;

/// How long a client may wait before it begins with what it was given.
pub(crate) const HOLDS: Duration = Duration::from_mins(15);

/// A request that a client may make of the bucket. Whoever has it may do what it says, so it is never logged.
pub struct DirectLink {
    /// The address, signed.
    pub url: String,
    /// Headers that are part of what was signed.
    pub headers: Vec<(String, String)>,
    /// How long it may be used.
    pub holds: Duration,
}

impl DirectLink {
    fn new(signed: &PresignedRequest, holds: Duration) -> Self {
        let headers = signed.headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { url: signed.uri().to_owned(), headers: headers.collect(), holds }
    }
}

impl S3Store {
    /// Lets a client read an object, whole or in ranges, if it begins within some time.
    pub(crate) async fn sign_get(&self, key: &str, within: Duration) -> Result<DirectLink, StoreError> {
        let get = self.client.get_object().bucket(&self.bucket).key(self.key(key));
        signed(get.presigned(holds(key, within)?).await, key, within)
    }

    /// Lets a client create an object of this content and size.
    pub(crate) async fn sign_put(&self, key: &str, oid: &Oid, size: u64) -> Result<DirectLink, StoreError> {
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.key(key))
            .if_none_match("*")
            .checksum_sha256(STANDARD.encode(oid.as_bytes()))
            .content_length(i64::try_from(size).unwrap_or(i64::MAX));
        signed(put.presigned(holds(key, HOLDS)?).await, key, HOLDS)
    }
}

fn holds(key: &str, within: Duration) -> Result<PresigningConfig, StoreError> {
    PresigningConfig::expires_in(within).map_err(|error| StoreError::Refused {
        operation: "sign",
        key: key.to_owned(),
        reason: error.to_string(),
    })
}

fn signed<E: ProvideErrorMetadata + Error + Send + Sync + 'static>(
    outcome: Result<PresignedRequest, SdkError<E, HttpResponse>>,
    key: &str,
    within: Duration,
) -> Result<DirectLink, StoreError> {
    outcome.map(|signed| DirectLink::new(&signed, within)).map_err(|error| Failure::of(&error).during("sign", key))
}
