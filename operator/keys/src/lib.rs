//! Services that keep the keys of encrypted repositories and never give them away: AWS KMS, and the transit engine of Vault and `OpenBao`
//! (ADR 0016).
//!
//! They wrap and unwrap the data keys of a repository, a few kilobytes when it is opened and every five minutes. What is wrapped names
//! the repository as its context: for another one the service does not unwrap it.

mod address;
mod kms;
mod transit;

use std::path::Path;
use std::sync::Arc;

use store::{KeyError, KeyService};

pub use address::{KeyServiceUrl, UrlError};

/// The service of an address. `credentials` is a folder with what proves us to it: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or
/// `VAULT_TOKEN`; files are read again when they change. Nothing is asked of the service yet.
///
/// # Errors
/// When the certificate authority cannot be used.
pub async fn connect(url: &KeyServiceUrl, credentials: Option<&Path>) -> Result<Arc<dyn KeyService>, KeyError> {
    Ok(match url {
        KeyServiceUrl::AwsKms(url) => Arc::new(kms::Kms::open(url, credentials).await),
        KeyServiceUrl::Transit(url) => Arc::new(transit::Transit::open(url, credentials).await?),
    })
}
