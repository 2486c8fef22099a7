//! The bucket as clients reach it (ADR 0017): which of its requests may be theirs.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use model::clock::Random;
use model::lfs::Oid;

use crate::metrics::StoreMetrics;
use crate::object::StoreError;
use crate::probe::{self, Refusal};
use crate::s3::{DirectLink, HOLDS, S3Store};
use crate::url::StoreUrl;

/// What goes to the bucket in one request: S3 takes no more. What is smaller costs us the same either way, since it is looked at
/// afterwards.
const SIZES: RangeInclusive<u64> = 1 << 20..=5 << 30;

/// A bucket that clients reach.
pub struct Direct {
    /// It signs and sends nothing.
    signer: S3Store,
    /// Why clients may not send anything there: the bucket does not hold them to what was signed.
    flaw: Option<String>,
}

impl Direct {
    /// The bucket, if its URL says that clients reach it. What it makes of their uploads is proven.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn open(
        url: &StoreUrl,
        credentials: Option<&Path>,
        metrics: &StoreMetrics,
        random: &dyn Random,
    ) -> Result<Option<Self>, Refusal> {
        let StoreUrl::S3(ours) = url else { return Ok(None) };
        let Some(theirs) = ours.for_clients() else { return Ok(None) };
        let signer = S3Store::open(&theirs, credentials, metrics.clone()).await?;
        let asked = S3Store::open(ours, credentials, metrics.clone()).await?;
        let flaw = match probe::prove_direct(&asked, random).await {
            Ok(()) => None,
            Err(Refusal::Unfit(flaw)) => Some(flaw),
            Err(refusal) => return Err(refusal),
        };
        Ok(Some(Self { signer, flaw }))
    }

    /// Why uploads have to come through us, if they have to.
    #[must_use]
    pub fn flaw(&self) -> Option<&str> {
        self.flaw.as_deref()
    }

    pub(crate) async fn download(&self, key: &str) -> Result<DirectLink, StoreError> {
        self.download_within(key, HOLDS).await
    }

    /// The same for what may be deleted after some time.
    pub(crate) async fn download_within(&self, key: &str, most: Duration) -> Result<DirectLink, StoreError> {
        self.signer.sign_get(key, most.min(HOLDS)).await
    }

    /// None when it has to come through us.
    pub(crate) async fn upload(&self, key: &str, oid: &Oid, size: u64) -> Result<Option<DirectLink>, StoreError> {
        if self.flaw.is_some() || !SIZES.contains(&size) {
            return Ok(None);
        }
        self.signer.sign_put(key, oid, size).await.map(Some)
    }
}
