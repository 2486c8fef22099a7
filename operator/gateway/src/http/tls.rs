//! Certificates from files, read again when they change.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use axum_server::tls_rustls::RustlsConfig;
use tokio_util::sync::CancellationToken;

use super::ServeError;

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// A certificate chain and its key, both PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

pub(super) async fn load(files: &TlsFiles) -> Result<RustlsConfig, ServeError> {
    RustlsConfig::from_pem_file(&files.certificate, &files.key)
        .await
        .map_err(|source| ServeError::Tls { certificate: files.certificate.display().to_string(), source })
}

/// Looks at the files until `stop`; a pair that cannot be used leaves the old one in place.
pub(super) fn reload_when_changed(files: TlsFiles, config: RustlsConfig, stop: CancellationToken) {
    tokio::spawn(async move {
        let mut seen = changed_at(&files).await;
        while stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
            let now = changed_at(&files).await;
            if now == seen {
                continue;
            }
            match config.reload_from_pem_file(&files.certificate, &files.key).await {
                Ok(()) => {
                    tracing::info!(file = %files.certificate.display(), "certificate reloaded");
                    seen = now;
                }
                Err(error) => {
                    tracing::warn!(file = %files.certificate.display(), %error, "the new certificate cannot be used; the old one stays");
                }
            }
        }
    });
}

async fn changed_at(files: &TlsFiles) -> (Option<SystemTime>, Option<SystemTime>) {
    let modified = async |path: &PathBuf| tokio::fs::metadata(path).await.and_then(|metadata| metadata.modified()).ok();
    (modified(&files.certificate).await, modified(&files.key).await)
}
