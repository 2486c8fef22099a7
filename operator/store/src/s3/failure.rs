//! What an error of the SDK means, and what to do about it.

use std::error::Error;
use std::fmt::Write as _;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::object::StoreError;

/// An SDK error, boiled down.
pub(super) struct Failure {
    /// HTTP status, when the store answered.
    pub(super) status: Option<u16>,
    pub(super) code: String,
    pub(super) reason: String,
    /// The request never left: nothing can have happened.
    never_sent: bool,
    /// A success whose body is not what S3 answers: it will not be at the next attempt either.
    unreadable: bool,
}

impl Failure {
    pub(super) fn of<E: ProvideErrorMetadata + Error + Send + Sync + 'static>(
        error: &SdkError<E, HttpResponse>,
    ) -> Self {
        let status = error.raw_response().map(|raw| raw.status().as_u16());
        let code = error.code().unwrap_or_default().to_owned();
        let never_sent = matches!(error, SdkError::ConstructionFailure(_));
        let unreadable =
            matches!(error, SdkError::ServiceError(_)) && code.is_empty() && status.is_some_and(|status| status < 300);
        let region = error.raw_response().and_then(|raw| raw.headers().get("x-amz-bucket-region"));
        let mut reason = match error {
            SdkError::ServiceError(service) if unreadable => {
                format!("{} with a body that is not S3's: {}", status.unwrap_or(0), chain(service.err()))
            }
            SdkError::ServiceError(service) => {
                let message = service.err().message().unwrap_or("no message");
                format!("{} {code}: {message}", status.unwrap_or(0))
            }
            other => chain(other),
        };
        if is_elsewhere(status, &code) {
            let region = region.unwrap_or_default();
            let _ = write!(reason, "; the bucket is in another region: set region={region} in the store URL");
        } else if let Some(advice) = advice(status, &code, &reason) {
            let _ = write!(reason, "; {advice}");
        }
        Self { status, code, reason, never_sent, unreadable }
    }

    pub(super) fn is_missing_bucket(&self) -> bool {
        self.code == "NoSuchBucket"
    }

    /// As the outcome of a create: whatever does not prove that nothing happened is unknown.
    pub(super) fn of_create(self, key: &str) -> StoreError {
        if self.never_sent || self.is_refusal() {
            return self.during("create", key);
        }
        StoreError::Unknown { operation: "create", key: key.to_owned(), reason: self.reason }
    }

    pub(super) fn during(self, operation: &'static str, key: &str) -> StoreError {
        let key = key.to_owned();
        match self.status {
            Some(507) => StoreError::Full { operation, key },
            _ if self.is_refusal() || self.never_sent || self.unreadable => {
                StoreError::Refused { operation, key, reason: self.reason }
            }
            _ => StoreError::Unavailable { operation, key, reason: self.reason },
        }
    }

    /// 4xx but for those that ask to come back: 408 time-out, 409 concurrent, 425 too early, 429 slow down; and 501, which stays so.
    fn is_refusal(&self) -> bool {
        // S3 says that it waited in vain for the rest of a request with 400.
        let later = self.code == "RequestTimeout";
        let refuses = |status| match status {
            408 | 409 | 425 | 429 => false,
            300..=499 | 501 => true,
            _ => false,
        };
        !later && self.status.is_some_and(refuses)
    }
}

fn advice(status: Option<u16>, code: &str, reason: &str) -> Option<&'static str> {
    match (status, code) {
        (_, "NoSuchBucket") => Some("create the bucket, or correct the store URL"),
        (_, "RequestTimeTooSkewed") => {
            Some("the clocks of this machine and of the store differ too much: synchronise them")
        }
        (_, "SignatureDoesNotMatch" | "InvalidAccessKeyId") => Some("check the access key and its secret"),
        (_, "AccessDenied") | (Some(403), _) => {
            Some("grant s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket on this bucket and prefix")
        }
        (Some(501), _) => Some("the store does not implement what Codekeep needs"),
        (None, _) if reason.contains("credentials") => Some("provide credentials by environment, profile or role"),
        _ => None,
    }
}

/// The bucket is in another region than the one that was asked.
fn is_elsewhere(status: Option<u16>, code: &str) -> bool {
    matches!(code, "PermanentRedirect" | "AuthorizationHeaderMalformed") || status == Some(301)
}

/// An error and its causes in one line: the SDK's own message says next to nothing.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            let _ = write!(text, ": {more}");
        }
        cause = inner.source();
    }
    text
}
