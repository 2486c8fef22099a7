//! Who wraps data keys: a Secret's key, here, or a service that never gives its keys away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use model::clock::Random;
use model::encryption::{Encryption, Envelope, SecretKey, WrappingKey};
use model::replication::Replication;
use model::{RepositoryId, RepositoryPath};
use zeroize::Zeroizing;

/// How long a key service may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The service says no, there is no such key, or it is not the key that wrapped.
    #[error("{0}")]
    Refused(String),
    /// The service does not answer.
    #[error("{0}")]
    Unavailable(String),
}

/// A service that keeps keys: AWS KMS, Vault or `OpenBao`. What is wrapped for one repository is not unwrapped for another.
#[async_trait]
pub trait KeyService: Send + Sync {
    /// Encrypts a few kilobytes with a key of the service.
    ///
    /// # Errors
    /// Says whether trying again may help.
    async fn wrap(&self, key_id: &str, id: &RepositoryId, plain: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// Decrypts what [`Self::wrap`] gave.
    ///
    /// # Errors
    /// Says whether trying again may help.
    async fn unwrap(&self, key_id: &str, id: &RepositoryId, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError>;
}

/// What the manifests say of encryption, at the moment.
pub trait Manifests: Send + Sync {
    /// How this repository is to be encrypted; `None` when nothing is known of it.
    fn encryption(&self, path: &RepositoryPath) -> Option<Encryption>;

    /// Where else a repository is kept; `None` when nowhere, or when no manifest speaks of it.
    fn replication(&self, _: &RepositoryPath) -> Option<Arc<Replication>> {
        None
    }
}

/// No manifest says anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoManifests;

impl Manifests for NoManifests {
    fn encryption(&self, _: &RepositoryPath) -> Option<Encryption> {
        None
    }
}

/// Where keys come from.
#[derive(Clone)]
pub struct KeySources {
    /// What is wished for.
    pub manifests: Arc<dyn Manifests>,
    /// Services by the names that the platform team gave them.
    pub services: BTreeMap<String, Arc<dyn KeyService>>,
}

impl Default for KeySources {
    fn default() -> Self {
        Self { manifests: Arc::new(NoManifests), services: BTreeMap::new() }
    }
}

impl KeySources {
    pub(super) async fn wrap(
        &self,
        envelope: &Envelope,
        id: &RepositoryId,
        plain: &[u8],
        random: &dyn Random,
    ) -> Result<Vec<u8>, KeyError> {
        match &envelope.wrap_with {
            key @ WrappingKey::Secret { fingerprint } => {
                Ok(wrap_here(envelope.secrets.get(fingerprint).ok_or_else(|| unknown(key))?, id, plain, random))
            }
            WrappingKey::Service { name, key_id } => in_time(self.service(name)?.wrap(key_id, id, plain)).await,
        }
    }

    pub(super) async fn unwrap(
        &self,
        envelope: &Envelope,
        key: &WrappingKey,
        id: &RepositoryId,
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        match key {
            WrappingKey::Secret { fingerprint } => {
                unwrap_here(envelope.secrets.get(fingerprint).ok_or_else(|| unknown(key))?, id, wrapped)
            }
            WrappingKey::Service { name, key_id } => in_time(self.service(name)?.unwrap(key_id, id, wrapped)).await,
        }
    }

    fn service(&self, name: &str) -> Result<&Arc<dyn KeyService>, KeyError> {
        let service = self.services.get(name);
        service.ok_or_else(|| KeyError::Refused(format!("this server has no key service '{name}'")))
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, KeyError>>) -> Result<T, KeyError> {
    let done = tokio::time::timeout(TIMEOUT, work).await;
    done.unwrap_or_else(|_| {
        Err(KeyError::Unavailable(format!("the key service did not answer in {} s", TIMEOUT.as_secs())))
    })
}

fn unknown(key: &WrappingKey) -> KeyError {
    if matches!(key, WrappingKey::Secret { fingerprint } if fingerprint.is_empty()) {
        return KeyError::Refused(
            "the key that spec.encryption.envelope.secretKeyRef names cannot be read; make the Secret with that entry, and let \
             the git servers read Secrets of its namespace (RoleBinding codekeep-credentials)"
                .to_owned(),
        );
    }
    KeyError::Refused(format!(
        "its data keys are wrapped by {key}, which the Repository's Secret does not have; put it back as another entry"
    ))
}

fn cipher(key: &SecretKey) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.bytes()).expect("because the key has 32 bytes"))
}

fn context(id: &RepositoryId) -> Vec<u8> {
    format!("codekeep keyring 1 {id}").into_bytes()
}

/// A nonce of 96 random bits: a key wraps once for each repository and rotation, which is far from the 2^32 times that are safe.
fn wrap_here(key: &SecretKey, id: &RepositoryId, plain: &[u8], random: &dyn Random) -> Vec<u8> {
    let mut nonce = [0; NONCE_LEN];
    random.fill(&mut nonce);
    let mut sealed = plain.to_vec();
    let aad = Aad::from(context(id));
    let done = cipher(key).seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed);
    done.expect("because a keyring is short");
    [&nonce[..], &sealed].concat()
}

pub(super) fn unwrap_here(key: &SecretKey, id: &RepositoryId, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let damaged = || KeyError::Refused("the wrapped data keys have changed in the bucket".to_owned());
    let (nonce, sealed) = wrapped.split_first_chunk().ok_or_else(damaged)?;
    let mut plain = Zeroizing::new(sealed.to_vec());
    let aad = Aad::from(context(id));
    let opened = cipher(key).open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut plain);
    let length = opened.map_err(|_| damaged())?.len();
    plain.truncate(length);
    Ok(plain)
}
