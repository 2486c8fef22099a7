//! The keys by which clients know this server: every private key of a folder, read again when the folder changes.
//!
//! Of several keys of one kind the first by file name signs, so a key that is to come can be made known before it counts: it gets a
//! later name. Connections that are open keep the key that they began with.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use model::SshPublicKey;
use model::clock::Random;
use russh::keys::{Algorithm, PrivateKey, PublicKeyBase64 as _, decode_secret_key};
use russh::server::Config;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::algorithms;

/// How often the folder is looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// Largest file that is read.
const MAX_BYTES: u64 = 64 << 10;
/// Most files that are looked at.
const MAX_FILES: usize = 64;
/// What keys of [`HostKeys::seals`] are derived for.
const SEALS: &[u8] = b"codekeep seals 1";
/// What keys of [`HostKeys::nonces`] are derived for.
const NONCES: &[u8] = b"codekeep push nonces 1";
/// The file of the key that is made.
const MADE: &str = "ssh_host_ed25519_key";

/// Why there are no host keys.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// The folder or a file in it cannot be read.
    #[error("failed to read the SSH host keys in {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds no private key that can be used.
    #[error("failed to use the SSH host key {}: {reason}", path.display())]
    Unusable {
        /// Which one.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// There is none.
    #[error("there is no SSH host key in {}; make one with: ssh-keygen -t ed25519 -N '' -f {}/{MADE}", .0.display(), .0.display())]
    Nothing(PathBuf),
    /// None could be made.
    #[error("failed to make an SSH host key in {}; give a folder with one by --ssh-host-keys", path.display())]
    Make {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Host keys, as they are now.
#[derive(Debug, Clone)]
pub struct HostKeys {
    loaded: watch::Receiver<Arc<Loaded>>,
}

/// What the folder held.
#[derive(Debug)]
struct Loaded {
    config: Arc<Config>,
    public: Vec<SshPublicKey>,
    seals: Arc<[hmac::Key]>,
    nonces: Arc<[hmac::Key]>,
}

/// A file as it was, to see that it changed.
type Seen = Vec<(PathBuf, SystemTime, u64)>;

impl HostKeys {
    /// Reads the keys of a folder, and reads them again when they change, until `stop`. With `make`, a folder without keys gets one.
    ///
    /// # Errors
    /// When the folder cannot be read, or holds something that is no key.
    pub async fn open(folder: &Path, make: Option<&dyn Random>, stop: CancellationToken) -> Result<Self, HostKeyError> {
        let seed = make.map(|random| {
            let mut seed = [0; 32];
            random.fill(&mut seed);
            seed
        });
        let folder = folder.to_owned();
        let first = folder.clone();
        let (files_seen, loaded) = blocking(move || {
            let files = files(&first);
            if let Some(seed) = seed
                && files.as_ref().map_or_else(|error| error.kind() == io::ErrorKind::NotFound, Vec::is_empty)
            {
                generate(&first, &seed).map_err(|source| HostKeyError::Make { path: first.clone(), source })?;
            }
            load(&first)
        })
        .await?;
        loaded.announce();
        let (sender, receiver) = watch::channel(Arc::new(loaded));
        tokio::spawn(follow(folder, files_seen, sender, stop));
        Ok(Self { loaded: receiver })
    }

    /// The configuration of connections that begin now.
    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.loaded.borrow().config)
    }

    /// Keys for what one server of a pool gives and another has to know again. The first seals.
    pub(crate) fn seals(&self) -> Arc<[hmac::Key]> {
        Arc::clone(&self.loaded.borrow().seals)
    }

    /// Keys for nonces of signed pushes, in the same order.
    pub(crate) fn nonces(&self) -> Arc<[hmac::Key]> {
        Arc::clone(&self.loaded.borrow().nonces)
    }

    /// The public keys, for `known_hosts`.
    #[must_use]
    pub fn public(&self) -> Vec<SshPublicKey> {
        self.loaded.borrow().public.clone()
    }
}

impl Loaded {
    fn announce(&self) {
        for key in &self.public {
            tracing::info!(kind = key.kind(), fingerprint = key.fingerprint(), "SSH host key");
        }
    }
}

/// Looks at the folder until `stop`; what cannot be used leaves what was there in place.
async fn follow(folder: PathBuf, mut seen: Seen, loaded: watch::Sender<Arc<Loaded>>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
        let (looked, before) = (folder.clone(), seen.clone());
        let changed = blocking(move || {
            let now = files(&looked).unwrap_or_default();
            if now == before { Ok(None) } else { Ok(Some((now, load(&looked)))) }
        });
        match changed.await {
            Ok(None) => {}
            // Also when they cannot be used: that is said once, and they are read again when they change again.
            Ok(Some((now, outcome))) => {
                seen = now;
                match outcome {
                    Ok((_, fresh)) => {
                        fresh.announce();
                        loaded.send_replace(Arc::new(fresh));
                    }
                    Err(error) => {
                        let error = crate::service::chain(&error);
                        tracing::warn!(error, "the new SSH host keys cannot be used; the old ones stay");
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "the SSH host keys cannot be looked at"),
        }
    }
}

async fn blocking<T: Send + 'static>(
    task: impl FnOnce() -> Result<T, HostKeyError> + Send + 'static,
) -> Result<T, HostKeyError> {
    let failed = |error| HostKeyError::Read { path: PathBuf::new(), source: io::Error::other(error) };
    tokio::task::spawn_blocking(task).await.map_err(failed)?
}

/// The files that may hold keys, by name. Hidden ones are the inner life of a mounted Secret.
fn files(folder: &Path) -> io::Result<Seen> {
    let mut files = Seen::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let is_key = !name.starts_with(b".") && !name.ends_with(b".pub") && name != b"known_hosts";
        // Through links: a mounted Secret is made of them.
        let metadata = std::fs::metadata(&path)?;
        if is_key && metadata.is_file() && files.len() < MAX_FILES {
            files.push((path, metadata.modified()?, metadata.len()));
        }
    }
    files.sort();
    Ok(files)
}

fn load(folder: &Path) -> Result<(Seen, Loaded), HostKeyError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| HostKeyError::Read { path, source }
    };
    let seen = files(folder).map_err(unreadable(folder))?;
    let (mut keys, mut public) = (Vec::new(), Vec::new());
    let (mut seals, mut nonces) = (Vec::new(), Vec::new());
    for (path, _, length) in &seen {
        let unusable = |reason: String| HostKeyError::Unusable { path: path.clone(), reason };
        if *length > MAX_BYTES {
            return Err(unusable("it is too large for a key; move it elsewhere".to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable(path))?;
        let key = decode(&text).map_err(unusable)?;
        if matches!(key.algorithm(), Algorithm::Rsa { .. }) {
            // The library's RSA takes a time that depends on the key (RUSTSEC-2023-0071); checking signatures has no secret.
            return Err(unusable(
                "it is an RSA key, with which this server does not sign; use ssh-keygen -t ed25519".to_owned(),
            ));
        }
        public.push(SshPublicKey::from_blob(&key.public_key_bytes()).map_err(|error| unusable(format!("it {error}")))?);
        keys.push(key);
        for (list, label) in [(&mut seals, SEALS), (&mut nonces, NONCES)] {
            let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()), label);
            list.push(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()));
        }
    }
    if keys.is_empty() {
        return Err(HostKeyError::Nothing(folder.to_owned()));
    }
    Ok((seen, Loaded { config: algorithms::config(keys), public, seals: seals.into(), nonces: nonces.into() }))
}

fn decode(text: &str) -> Result<PrivateKey, String> {
    match decode_secret_key(text, None) {
        Ok(key) if key.is_encrypted() => Err("it is encrypted; give one without a passphrase".to_owned()),
        Ok(key) => Ok(key),
        Err(russh::keys::Error::KeyIsEncrypted) => Err("it is encrypted; give one without a passphrase".to_owned()),
        Err(_) => Err("it is no private key in the form of OpenSSH or PKCS#8".to_owned()),
    }
}

/// Makes a key, unless somebody else is faster.
fn generate(folder: &Path, seed: &[u8; 32]) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let text = pki::host_key::from_seed(seed).map_err(io::Error::other)?;
    let blob = pki::host_key::public_blob(&text).unwrap_or_default();
    let public = SshPublicKey::from_blob(&blob).map_err(io::Error::other)?;
    // Readable for its owner only, and never half there.
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(folder.join(MADE)) {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error.error),
    }
    std::fs::write(folder.join(format!("{MADE}.pub")), format!("{public} codekeep\n"))
}

#[cfg(test)]
mod tests;
