//! The data keys of a repository, and how they lie in the bucket: together, wrapped by a key that is somewhere else.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use model::RepositoryId;
use model::clock::Random;
use model::encryption::WrappingKey;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::format::DataKey;
use crate::sealed::{seal, unseal};

/// Bytes of a number and its key.
const KEY_BYTES: usize = 4 + 32;
/// AWS KMS encrypts no more than 4 KiB.
pub(crate) const MAX_KEYS: usize = 100;

/// Data keys by their numbers, from 1. The last one encrypts what is written.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Keyring(BTreeMap<u32, DataKey>);

impl std::fmt::Debug for Keyring {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_set().entries(self.0.keys()).finish()
    }
}

impl Keyring {
    /// One new key.
    pub(crate) fn new(random: &dyn Random) -> Self {
        let mut keyring = Self(BTreeMap::new());
        keyring.add(random);
        keyring
    }

    /// Adds a key, which becomes the one that encrypts.
    fn add(&mut self, random: &dyn Random) {
        let mut key = DataKey::new([0; 32]);
        random.fill(&mut *key);
        self.0.insert(self.current() + 1, key);
    }

    /// With new keys up to this number.
    pub(crate) fn with_keys_until(&self, number: u32, random: &dyn Random) -> Self {
        let mut keyring = self.clone();
        while keyring.current() < number && keyring.0.len() < MAX_KEYS {
            keyring.add(random);
        }
        keyring
    }

    /// Number of the key that encrypts.
    pub(crate) fn current(&self) -> u32 {
        self.0.last_key_value().map_or(0, |(number, _)| *number)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&DataKey> {
        self.0.get(&number)
    }

    /// To be wrapped.
    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.0.len() * KEY_BYTES));
        for (number, key) in &self.0 {
            bytes.extend_from_slice(&number.to_be_bytes());
            bytes.extend_from_slice(&**key);
        }
        bytes
    }

    /// What was wrapped; `None` when that is no keyring.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (keys, rest) = bytes.as_chunks::<KEY_BYTES>();
        let keys = keys.iter().filter_map(|bytes| {
            let (number, key) = bytes.split_first_chunk::<4>()?;
            Some((u32::from_be_bytes(*number), DataKey::new(key.try_into().ok()?)))
        });
        let keyring = Self(keys.collect());
        let is_sound = rest.is_empty() && !keyring.0.is_empty() && !keyring.0.contains_key(&0);
        is_sound.then_some(keyring)
    }
}

/// A keyring in the bucket. People can read it: it says which key they need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyringObject {
    /// Whose keys they are.
    pub(crate) repository_id: RepositoryId,
    /// The key that wraps them.
    pub(crate) wrapped_by: WrappingKey,
    /// Number of the newest of them.
    pub(crate) newest: u32,
    /// The wrapped keys, as base64.
    wrapped: String,
}

impl KeyringObject {
    pub(crate) fn new(repository_id: RepositoryId, wrapped_by: WrappingKey, newest: u32, wrapped: &[u8]) -> Self {
        Self { repository_id, wrapped_by, newest, wrapped: STANDARD.encode(wrapped) }
    }

    pub(crate) fn encode(&self) -> Result<Bytes, String> {
        seal(self).map_err(|error| error.to_string())
    }

    /// Reads the keyring of a repository, and what is to be unwrapped.
    pub(crate) fn decode(bytes: &[u8], id: &RepositoryId) -> Result<(Self, Vec<u8>), String> {
        let read: Self = unseal(bytes)?;
        if read.repository_id != *id {
            return Err(format!("it is the keyring of repository {}", read.repository_id));
        }
        let wrapped = STANDARD.decode(&read.wrapped).map_err(|error| error.to_string())?;
        Ok((read, wrapped))
    }
}

#[cfg(test)]
mod tests {
    use model::clock::SystemRandom;

    use super::*;

    #[test]
    fn keyrings_come_back_with_every_key_and_grow_at_the_end() {
        let first = Keyring::new(&SystemRandom);
        let grown = first.with_keys_until(3, &SystemRandom);
        assert_eq!((first.current(), grown.current()), (1, 3));
        assert_eq!(grown.get(1), first.get(1));
        assert_eq!(Keyring::from_bytes(&grown.to_bytes()), Some(grown.clone()));
        let all = grown.with_keys_until(u32::MAX, &SystemRandom);
        assert!(all.to_bytes().len() < 4_096, "AWS KMS encrypts no more");
        for broken in [&b""[..], &[1; 35], &[0; 36], &[1; 37]] {
            assert_eq!(Keyring::from_bytes(broken), None);
        }
    }

    #[test]
    fn a_keyring_is_one_repositorys() {
        let id = RepositoryId::random(&SystemRandom);
        let key = WrappingKey::Secret { fingerprint: "ab".to_owned() };
        let wrapped = KeyringObject::new(id.clone(), key, 2, b"secret");
        let bytes = wrapped.encode().expect("encoded");
        assert_eq!(KeyringObject::decode(&bytes, &id), Ok((wrapped, b"secret".to_vec())));
        assert!(KeyringObject::decode(&bytes, &RepositoryId::random(&SystemRandom)).is_err());
        assert!(KeyringObject::decode(&bytes[1..], &id).is_err());
    }
}
