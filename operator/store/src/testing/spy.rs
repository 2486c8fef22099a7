//! Looks into an encrypted repository from outside, with the key of its Secret.

use bytes::Bytes;
use model::RepositoryId;
use model::encryption::SecretKey;

use crate::envelope::reveal;
use crate::keys;

/// Names what is encrypted under one series of nonces: two different objects must never have the same; `None` of what is not encrypted.
#[must_use]
pub fn nonces(key: &str, body: &[u8]) -> Option<String> {
    crate::envelope::nonces(key, body)
}

/// What an object of a bucket says to who has the wrapping key; as it is where it is not encrypted. `get` reads the bucket.
///
/// # Errors
/// When it does not decrypt.
pub fn revealed(
    get: &dyn Fn(&str) -> Option<Bytes>,
    key: &str,
    body: &Bytes,
    secret: &SecretKey,
) -> Result<Bytes, String> {
    let id: RepositoryId = match key.split_once('/').map(|(id, _)| id.parse()) {
        Some(Ok(id)) => id,
        _ => return Ok(body.clone()),
    };
    // In the order of age: what was rewritten meanwhile has the same keys and more.
    let keyring = (1..=8).rev().find_map(|number| get(&keys::keyring(&id, number)));
    match keyring {
        Some(keyring) if !key.contains("/keys/") => reveal(&keyring, &id, key, body, secret),
        _ => Ok(body.clone()),
    }
}
