//! From a store URL to a store.

use std::path::Path;
use std::sync::Arc;

use crate::file::FileStore;
use crate::metrics::StoreMetrics;
use crate::object::{ObjectStore, StoreError};
use crate::s3::S3Store;
use crate::url::StoreUrl;

/// Opens the store of a URL. `credentials` is a folder with the files `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, which are read
/// again each half minute; what it has not comes from the standard chain.
///
/// # Errors
/// When the folder or the certificate authority cannot be used; a bucket is first spoken to by [`crate::probe::prove`].
pub async fn connect(
    url: &StoreUrl,
    credentials: Option<&Path>,
    metrics: &StoreMetrics,
) -> Result<Arc<dyn ObjectStore>, StoreError> {
    Ok(match url {
        StoreUrl::File { folder } => Arc::new(FileStore::open(folder, metrics.clone()).await?),
        StoreUrl::S3(s3) => Arc::new(S3Store::open(s3, credentials, metrics.clone()).await?),
    })
}
