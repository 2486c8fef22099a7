//! How a Repository is encrypted at rest: by the bucket, by us before anything leaves the server, or both.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What a Repository asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encryption {
    /// The key of the bucket's own encryption (SSE-KMS); without it the bucket does what it does by default.
    pub kms_key_id: Option<String>,
    /// Encryption by us.
    pub envelope: Option<Arc<Envelope>>,
}

/// Envelope encryption: data keys of the repository encrypt its objects, a key from somewhere else wraps the data keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// What wraps the data keys from now on.
    pub wrap_with: WrappingKey,
    /// The keys of the Secret that the Repository names, by fingerprint.
    pub secrets: BTreeMap<String, SecretKey>,
    /// Number of the data key that encrypts from now on; the store makes those that are missing.
    pub data_key: u32,
}

/// Names a key that wraps data keys; this name is kept beside what it has wrapped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum WrappingKey {
    /// An entry of a Secret. Its name does not matter: a key is known by its fingerprint.
    Secret {
        /// See [`SecretKey::fingerprint`].
        fingerprint: String,
    },
    /// A key that never leaves its service.
    Service {
        /// The service, as the platform team named it.
        name: String,
        /// The key, as the service names it.
        key_id: String,
    },
}

impl std::fmt::Display for WrappingKey {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Secret { fingerprint } => write!(to, "the Secret's key with the fingerprint {fingerprint}"),
            Self::Service { name, key_id } => write!(to, "key '{key_id}' of the key service '{name}'"),
        }
    }
}

/// A wrapping key from a Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "SecretKey({})", self.fingerprint())
    }
}

impl SecretKey {
    /// Reads 32 bytes as base64, which is what `openssl rand -base64 32` prints.
    ///
    /// # Errors
    /// Says what is wrong, without saying what was read.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let bytes = STANDARD.decode(text.trim()).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| "is not base64; put there what `openssl rand -base64 32` prints")?;
        let key: [u8; 32] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| "does not have 32 bytes when decoded; put there what `openssl rand -base64 32` prints")?;
        if key == [key[0]; 32] {
            return Err("is not random; put there what `openssl rand -base64 32` prints");
        }
        Ok(Self(Zeroizing::new(key)))
    }

    /// The key itself.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Tells keys apart without telling them: 16 hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let tagged = Zeroizing::new([&b"codekeep wrapping key 1"[..], &self.0[..]].concat());
        hex::encode(&digest(&SHA256, &tagged).as_ref()[..8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_and_never_shown() {
        let text = STANDARD.encode((0..32).collect::<Vec<u8>>());
        let key = SecretKey::parse(&format!("{text}\n")).expect("a key");
        assert_eq!(key.bytes()[31], 31);
        assert_eq!(key.fingerprint().len(), 16);
        let other = SecretKey::parse(&STANDARD.encode((1..33).collect::<Vec<u8>>())).expect("a key");
        assert_ne!(key.fingerprint(), other.fingerprint());
        assert!(!format!("{key:?}").contains(&hex::encode(key.bytes())));
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_repeated() {
        for text in ["", "hunter2", "aGVsbG8=", &STANDARD.encode([7; 32]), &STANDARD.encode([1; 64])] {
            let refused = SecretKey::parse(text).expect_err(text);
            assert!(text.is_empty() || !refused.contains(text), "{refused}");
        }
    }
}
