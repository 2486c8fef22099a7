//! Small JSON objects that carry the SHA-256 of what they say: people can read them, and a byte that changed is noticed.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::digest::sha256;

/// What is stored: the content's own fields, and the digest of its shortest form.
#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    #[serde(flatten)]
    content: T,
    sha256: String,
}

/// The bytes of a content with its checksum.
///
/// # Errors
/// When it cannot be written as JSON.
pub(crate) fn seal<T: Serialize>(content: &T) -> Result<Bytes, serde_json::Error> {
    let sha256 = hex::encode(sha256(&serde_json::to_vec(content)?));
    serde_json::to_vec_pretty(&Sealed { content, sha256 }).map(Bytes::from)
}

/// Reads a content.
///
/// # Errors
/// Says what is wrong with the bytes.
pub(crate) fn unseal<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let read = |error: serde_json::Error| error.to_string();
    let Sealed { content, sha256: claimed } = serde_json::from_slice::<Sealed<T>>(bytes).map_err(read)?;
    let found = hex::encode(sha256(&serde_json::to_vec(&content).map_err(read)?));
    if found == claimed { Ok(content) } else { Err("the checksum does not match: its bytes have changed".to_owned()) }
}

#[cfg(test)]
mod tests;
