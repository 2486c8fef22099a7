//! Names of Git LFS: what an object is called, and which paths may be locked. Pure; the protocol is in the gateway.

use std::fmt;
use std::str::FromStr;

/// Longest path that may be locked, in bytes: what file systems of clients can hold.
const MAX_PATH: usize = 4_096;

/// The name of an LFS object: the SHA-256 of its content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid([u8; 32]);

/// Why a text is not the name of an LFS object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the oid of an LFS object is its SHA-256, 64 hexadecimal digits in lower case")]
pub struct OidError;

impl Oid {
    /// The name of what has this SHA-256.
    #[must_use]
    pub fn of(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }

    /// The SHA-256.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Oid {
    type Err = OidError;

    fn from_str(text: &str) -> Result<Self, OidError> {
        let mut bytes = [0; 32];
        // Upper case would be a second name of the same object.
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(OidError);
        }
        hex::decode_to_slice(text, &mut bytes).map_err(|_| OidError)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The random name of a lock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockId(pub [u8; 16]);

impl LockId {
    /// From its hexadecimal form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for LockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for LockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A path that may be locked: relative to the root of the work tree, in one spelling only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockPath(String);

/// Why a text is not a path that may be locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the path of a lock is relative to the root of the work tree, with segments separated by single '/', none of them '.' or '..', \
     without control characters, of at most {MAX_PATH} bytes"
)]
pub struct LockPathError;

impl LockPath {
    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LockPath {
    type Err = LockPathError;

    fn from_str(text: &str) -> Result<Self, LockPathError> {
        let is_segment = |segment: &str| !matches!(segment, "" | "." | "..");
        let sound = text.len() <= MAX_PATH && !text.chars().any(char::is_control) && text.split('/').all(is_segment);
        if sound { Ok(Self(text.to_owned())) } else { Err(LockPathError) }
    }
}

impl fmt::Display for LockPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
