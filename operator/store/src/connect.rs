//! From a store URL to a store.

use std::sync::Arc;

use crate::file::FileStore;
use crate::metrics::StoreMetrics;
use crate::object::{ObjectStore, StoreError};
use crate::s3::S3Store;
use crate::url::StoreUrl;

/// Opens the store of a URL.
///
/// # Errors
/// When the folder or the certificate authority cannot be used; a bucket is first spoken to by [`crate::probe::prove`].
pub async fn connect(url: &StoreUrl, metrics: &StoreMetrics) -> Result<Arc<dyn ObjectStore>, StoreError> {
    Ok(match url {
        StoreUrl::File { folder } => Arc::new(FileStore::open(folder, metrics.clone()).await?),
        StoreUrl::S3(s3) => Arc::new(S3Store::open(s3, metrics.clone()).await?),
    })
}
