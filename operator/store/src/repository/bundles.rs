//! The bundle of a repository, for clients that read it from the bucket themselves (ADR 0020).

use super::Repository;
use crate::error::Error;
use crate::keys;
use crate::state::Snapshot;

/// Where a client reads a bundle. Whoever has the address may do so, so it is never logged.
pub struct BundleLink {
    /// The address, signed.
    pub url: String,
    /// Higher than that of every older bundle of the repository.
    pub creation_token: u64,
    /// Size of the bundle.
    pub bytes: u64,
}

impl Repository {
    /// Whether clients reach what the bucket holds of the repository.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.shared.direct().is_some()
    }

    /// How clients read the bundle of a state; `None` when it has none, or none that they reach.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub async fn bundle_link(&self, snapshot: &Snapshot) -> Result<Option<BundleLink>, Error> {
        let Some((bundle, direct)) = snapshot.upkeep.bundle.as_ref().zip(self.shared.direct()) else { return Ok(None) };
        // A bundle that is given up goes after the grace period: no address outlives it.
        let key = keys::bundle(&self.id, &bundle.upload);
        let link = direct.download_within(&key, self.shared.policy.grace).await?;
        Ok(Some(BundleLink { url: link.url, creation_token: bundle.upload.generation, bytes: bundle.bytes }))
    }
}
