//! Certificates by the name that a client asks for: from files, read again when they change, or from our own authority, minted
//! when they are asked for and kept in memory only (ADR 0005).

mod names;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use model::clock::Clock;
use model::desired::DesiredState;
use pki::Authority;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::ServeError;
pub use names::ServiceName;

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a minted certificate is valid; another one takes its place at half of that.
const VALIDITY: SignedDuration = SignedDuration::from_hours(24);
/// Minted certificates that are kept.
const MAX_MINTED: usize = 10_000;

/// A certificate chain and its key, both PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// A certificate chain and its key, PEM, as somebody else keeps them.
pub type TlsPair = Arc<(String, String)>;

/// Where certificates come from.
#[derive(Debug, Default)]
pub struct TlsConfig {
    /// For the names in it, and for every name that no other certificate is for.
    pub given: Option<TlsFiles>,
    /// Our own authority: a folder with `tls.crt` and `tls.key`.
    pub authority: Option<PathBuf>,
    /// The Service and namespace of this server.
    pub own: Option<(String, String)>,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// For all names, in place of `authority`: a certificate that somebody else signs.
    pub signed: Option<watch::Receiver<Option<TlsPair>>>,
}

/// Certificates for any number of listeners.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
}

impl Tls {
    /// Reads the files, and reads them again when they change, until `stop`.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub async fn new(
        config: TlsConfig,
        desired: watch::Receiver<Arc<DesiredState>>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> Result<Self, ServeError> {
        let files = config.files();
        // Before they are read: a change between the two is seen later.
        let seen = changed_at(&files).await;
        let loaded = Loaded::load(&config).await?;
        let resolver = Arc::new(Resolver {
            loaded: ArcSwap::from_pointee(loaded),
            minted: Mutex::default(),
            signed: config.signed.clone().map(Signed::new),
            own: config.own.clone().map(|(service, namespace)| ServiceName { service, namespace }),
            cluster_domain: config.cluster_domain.clone(),
            desired,
            clock,
        });
        let mut server = ServerConfig::builder()
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&resolver) as Arc<dyn ResolvesServerCert>);
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if !files.is_empty() {
            tokio::spawn(reload_when_changed(config, files, seen, resolver, stop));
        }
        Ok(Self { config: Arc::new(server) })
    }

    /// For a listener.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

impl TlsConfig {
    fn files(&self) -> Vec<PathBuf> {
        let given = self.given.iter().flat_map(|files| [files.certificate.clone(), files.key.clone()]);
        given
            .chain(self.authority.iter().flat_map(|folder| ["tls.crt", "tls.key"].map(|name| folder.join(name))))
            .collect()
    }
}

/// What the files held.
#[derive(Default)]
struct Loaded {
    given: Option<Arc<CertifiedKey>>,
    authority: Option<Authority>,
}

impl Loaded {
    async fn load(config: &TlsConfig) -> Result<Self, ServeError> {
        let (given, authority) = (config.given.clone(), config.authority.clone());
        let load = move || {
            let given = given.as_ref().map(certified).transpose()?;
            let authority = authority.as_ref().map(|folder| load_authority(folder)).transpose()?;
            Ok(Self { given, authority })
        };
        tokio::task::spawn_blocking(load).await.map_err(|error| ServeError::Io(std::io::Error::other(error)))?
    }
}

fn unusable(file: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ServeError {
    ServeError::Tls { certificate: file.display().to_string(), source: std::io::Error::other(source) }
}

fn certified(files: &TlsFiles) -> Result<Arc<CertifiedKey>, ServeError> {
    let read = |file: &Path| std::fs::read_to_string(file).map_err(|error| unusable(file, error));
    let (certificate, key) = (read(&files.certificate)?, read(&files.key)?);
    certified_key(&certificate, &key).map_err(|error| unusable(&files.certificate, error))
}

fn certified_key(certificate: &str, key: &str) -> Result<Arc<CertifiedKey>, String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificate cannot be read: {error}"))?;
    if chain.is_empty() {
        return Err("the file holds no certificate".to_owned());
    }
    let key =
        PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| format!("the key cannot be read: {error}"))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map(Arc::new).map_err(|error| error.to_string())
}

fn load_authority(folder: &Path) -> Result<Authority, ServeError> {
    let certificate = folder.join("tls.crt");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).map_err(|error| unusable(&certificate, error));
    Authority::load(&read("tls.crt")?, &read("tls.key")?).map_err(|error| unusable(&certificate, error))
}

/// Looks at the files until `stop`; what cannot be used leaves what was there in place.
async fn reload_when_changed(
    config: TlsConfig,
    files: Vec<PathBuf>,
    mut seen: Vec<Option<SystemTime>>,
    resolver: Arc<Resolver>,
    stop: CancellationToken,
) {
    while stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
        let now = changed_at(&files).await;
        if now == seen {
            continue;
        }
        // Also when they cannot be used: that is said once, and they are read again when they change again.
        seen = now;
        match Loaded::load(&config).await {
            Ok(loaded) => {
                tracing::info!(file = %files[0].display(), "certificate reloaded");
                resolver.loaded.store(Arc::new(loaded));
                resolver.minted.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
            Err(error) => tracing::warn!(%error, "the new certificate cannot be used; the old one stays"),
        }
    }
}

async fn changed_at(files: &[PathBuf]) -> Vec<Option<SystemTime>> {
    let modified = files.iter().map(async |path| tokio::fs::metadata(path).await.and_then(|file| file.modified()).ok());
    futures::future::join_all(modified).await
}

/// Chooses by name.
struct Resolver {
    loaded: ArcSwap<Loaded>,
    minted: Mutex<HashMap<ServiceName, Minted>>,
    signed: Option<Signed>,
    own: Option<ServiceName>,
    cluster_domain: String,
    desired: watch::Receiver<Arc<DesiredState>>,
    clock: Arc<dyn Clock>,
}

/// A certificate of our own authority.
struct Minted {
    key: Arc<CertifiedKey>,
    renew_at: Timestamp,
    ends_at: Timestamp,
}

/// The certificate that somebody else keeps, read once each time that it changes.
struct Signed {
    pairs: watch::Receiver<Option<TlsPair>>,
    read: Mutex<Option<(TlsPair, Arc<CertifiedKey>)>>,
}

impl Signed {
    fn new(pairs: watch::Receiver<Option<TlsPair>>) -> Self {
        Self { pairs, read: Mutex::default() }
    }

    fn newest(&self) -> Option<Arc<CertifiedKey>> {
        let pair = self.pairs.borrow().clone();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let is_read = matches!((&pair, &*read), (Some(pair), Some((known, _))) if Arc::ptr_eq(pair, known));
        if let Some(pair) = pair.filter(|_| !is_read) {
            match certified_key(&pair.0, &pair.1) {
                Ok(key) => *read = Some((pair, key)),
                Err(error) => tracing::error!(error, "the signed certificate cannot be used; the old one stays"),
            }
        }
        read.as_ref().map(|(_, key)| Arc::clone(key))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name())
    }
}

impl Resolver {
    fn choose(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let loaded = self.loaded.load();
        if let Some(given) = loaded.given.as_ref().filter(|given| name.is_some_and(|name| is_for(given, name))) {
            return Some(Arc::clone(given));
        }
        if let Some(signed) = &self.signed {
            return signed.newest().or_else(|| loaded.given.clone());
        }
        let service = match name {
            Some(name) => ServiceName::parse(name, &self.cluster_domain).filter(|service| self.is_ours(service)),
            // A client that goes by address.
            None if loaded.given.is_none() => self.own.clone(),
            None => None,
        };
        match (service, &loaded.authority) {
            (Some(service), Some(authority)) => self.mint(&service, authority),
            _ => loaded.given.clone(),
        }
    }

    fn is_ours(&self, name: &ServiceName) -> bool {
        if self.own.as_ref() == Some(name) {
            return true;
        }
        let Ok(namespace) = name.namespace.parse() else { return false };
        let desired = Arc::clone(&self.desired.borrow());
        desired.in_namespace(&namespace).any(|config| config.resource_name == name.service)
    }

    fn mint(&self, service: &ServiceName, authority: &Authority) -> Option<Arc<CertifiedKey>> {
        let now = self.clock.now();
        let mut minted = self.minted.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = minted.get(service);
        if let Some(kept) = kept.filter(|kept| now < kept.renew_at) {
            return Some(Arc::clone(&kept.key));
        }
        let leaf = authority.issue(&service.forms(&self.cluster_domain), now, VALIDITY);
        let made = leaf
            .map_err(|error| error.to_string())
            .and_then(|leaf| certified_key(&leaf.certificate_pem, &leaf.key_pem));
        match made {
            Ok(key) => {
                if minted.len() >= MAX_MINTED {
                    minted.clear();
                }
                let kept = Minted { key: Arc::clone(&key), renew_at: now + VALIDITY / 2, ends_at: now + VALIDITY };
                minted.insert(service.clone(), kept);
                Some(key)
            }
            Err(error) => {
                tracing::error!(%error, "failed to make a certificate");
                kept.filter(|kept| now < kept.ends_at).map(|kept| Arc::clone(&kept.key))
            }
        }
    }
}

fn is_for(key: &CertifiedKey, name: &str) -> bool {
    let (Ok(name), Ok(certificate)) = (ServerName::try_from(name), key.end_entity_cert()) else { return false };
    webpki::EndEntityCert::try_from(certificate).is_ok_and(|cert| cert.verify_is_valid_for_subject_name(&name).is_ok())
}

#[cfg(test)]
mod tests;
