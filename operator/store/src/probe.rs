//! What a bucket must do to be served from: the proof at start-up, and the report of `codekeep store check`, by the same checks.
//!
//! Many stores say that they are S3 and ignore `If-None-Match`, or check it without a lock. Serving from one of those would lose
//! pushes, so it is refused, in words. Everything is asked with the client that serves, under a random prefix that is removed
//! afterwards.

mod contact;
mod creation;
mod direct;
mod examination;
mod files;
mod reading;
mod report;
mod secrecy;
mod site;
mod speed;
mod subject;

use std::time::Duration;

use model::clock::Random;

use crate::object::{ObjectStore, StoreError};
use crate::s3::S3Store;
pub use examination::{Examination, Listener, Progress};
pub use report::{Check, Measure, Outcome, Report, Verdict};
use site::Site;
pub use subject::Subject;

/// A store that does not answer within this time cannot be served from.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Why a bucket is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It does not do what is needed.
    #[error("the bucket cannot be used: {0}")]
    Unfit(String),
    /// It cannot be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not there, or does not let us in.
    #[error("it does not answer as a bucket of ours would: {0}")]
    Unreached(String),
    /// It takes too long.
    #[error("the bucket did not answer within {} seconds", .0.as_secs())]
    Timeout(Duration),
}

/// What a check found that did not fail.
type Checked = Result<report::Finding, Refusal>;

fn unfit<T>(what: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Unfit(what.into()))
}

/// Proves a bucket: the checks that commits rest on, those of them that take no time.
///
/// # Errors
/// The first thing that it does wrong.
pub async fn prove(store: &dyn ObjectStore, random: &dyn Random) -> Result<(), Refusal> {
    let site = Site::new(store, random);
    let proof = async {
        // First: some stores make a bucket that is missing at the first write.
        reading::missing(&site).await?;
        let creation = async {
            creation::create_if_absent(&site).await?;
            reading::read_after_write(&site, 1).await?;
            files::small(&site).await
        };
        let (clients, race) = ([store], creation::Race { writers: 8, keys: 8 });
        let (creation, race) = tokio::join!(creation, creation::race(&site, &clients, race));
        creation?;
        race.map(drop)
    };
    let outcome = tokio::time::timeout(TIMEOUT, proof).await.unwrap_or(Err(Refusal::Timeout(TIMEOUT)));
    clean(&site).await;
    outcome
}

/// Proves that a bucket holds clients to what was signed for them: what LFS uploads straight to it rest on.
///
/// # Errors
/// The first thing that it does wrong.
pub(crate) async fn prove_direct(bucket: &S3Store, random: &dyn Random) -> Result<(), Refusal> {
    let site = Site::new(bucket, random);
    let proof = direct::uploads(&site, bucket, "direct");
    let outcome = tokio::time::timeout(TIMEOUT, proof).await.unwrap_or(Err(Refusal::Timeout(TIMEOUT)));
    clean(&site).await;
    outcome.map(drop)
}

async fn clean(site: &Site<'_>) {
    for (key, error) in site.clean_up().await {
        tracing::warn!(object.key = key, %error, "failed to remove an object of the start-up proof");
    }
}

#[cfg(test)]
mod tests;
