//! SSH public keys: as a person writes them (`ssh-ed25519 AAAA… comment`), and as they are compared, byte for byte ([RFC 4253] §6.6).
//!
//! What cannot prove anybody today does not parse: DSA, RSA below 2,048 bits, certificates, keys with options in front. Not here:
//! private keys and signatures.
//!
//! [RFC 4253]: https://www.rfc-editor.org/rfc/rfc4253

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use crate::name::Namespace;

/// Longest key: RSA of [`MAX_RSA_BITS`], with room.
const MAX_BYTES: usize = 4_096;
/// Smallest and largest RSA modulus.
const MIN_RSA_BITS: usize = 2_048;
const MAX_RSA_BITS: usize = 16_384;

/// Kinds of keys that are taken, as lines name them.
pub const KINDS: [&str; 7] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Why a line is no key that is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a kind and a key.
    #[error("is not a public key; write a line as in a .pub file, such as: ssh-ed25519 AAAA… alice@laptop")]
    Form,
    /// A private key.
    #[error("is a private key; replace it everywhere, and give the line of the .pub file instead")]
    Private,
    /// Options of `authorized_keys`.
    #[error(
        "has options before the key, which are not supported; give the key alone, and an AccessPolicy for what it may do"
    )]
    Options,
    /// A certificate.
    #[error("is a certificate, which is not supported; give the public key")]
    Certificate,
    /// Not one of [`KINDS`].
    #[error("is of a kind that is not supported; make one with ssh-keygen -t ed25519")]
    Kind,
    /// Not base64.
    #[error("is cut off or damaged; copy the whole line of the .pub file")]
    Damaged,
    /// RSA out of bounds.
    #[error("is an RSA key of {0} bits; use 2,048 to 16,384, or better ssh-keygen -t ed25519")]
    RsaBits(usize),
}

/// A public key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SshPublicKey(Box<[u8]>);

impl SshPublicKey {
    /// The key of a line as in a `.pub` file.
    ///
    /// # Errors
    /// When it is none, or one that is not taken.
    pub fn from_line(line: &str) -> Result<Self, KeyError> {
        let line = line.trim();
        if line.contains("PRIVATE KEY") {
            return Err(KeyError::Private);
        }
        let mut words = line.split_ascii_whitespace();
        let (Some(kind), encoded) = (words.next(), words.next()) else { return Err(KeyError::Form) };
        if kind.contains("-cert-v0") {
            return Err(KeyError::Certificate);
        }
        if !KINDS.contains(&kind) {
            let has_key = line.split([' ', '\t', '"']).any(|word| KINDS.contains(&word));
            return Err(match kind {
                _ if has_key => KeyError::Options,
                _ if kind.starts_with("ssh-") || kind.starts_with("ecdsa-") || kind.starts_with("sk-") => {
                    KeyError::Kind
                }
                _ => KeyError::Form,
            });
        }
        let encoded = encoded.ok_or(KeyError::Damaged)?;
        let blob = STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded));
        let blob = blob.map_err(|_| KeyError::Damaged)?;
        let key = Self::from_blob(&blob)?;
        if key.kind() == kind { Ok(key) } else { Err(KeyError::Damaged) }
    }

    /// The key of bytes as they are sent and hashed.
    ///
    /// # Errors
    /// When it is none, or one that is not taken.
    pub fn from_blob(blob: &[u8]) -> Result<Self, KeyError> {
        if blob.len() > MAX_BYTES {
            return Err(KeyError::Damaged);
        }
        let mut fields = Fields(blob);
        let kind = std::str::from_utf8(fields.next()?).map_err(|_| KeyError::Damaged)?;
        let well_formed = match kind {
            "ssh-ed25519" => fields.next()?.len() == 32,
            "sk-ssh-ed25519@openssh.com" => fields.next()?.len() == 32 && !fields.next()?.is_empty(),
            "ecdsa-sha2-nistp256" => fields.point(b"nistp256", 32)?,
            "ecdsa-sha2-nistp384" => fields.point(b"nistp384", 48)?,
            "ecdsa-sha2-nistp521" => fields.point(b"nistp521", 66)?,
            "sk-ecdsa-sha2-nistp256@openssh.com" => fields.point(b"nistp256", 32)? && !fields.next()?.is_empty(),
            "ssh-rsa" => fields.rsa()?,
            _ => return Err(KeyError::Kind),
        };
        if well_formed && fields.0.is_empty() { Ok(Self(blob.into())) } else { Err(KeyError::Damaged) }
    }

    /// The bytes as they are sent and hashed.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.0
    }

    /// Its kind, one of [`KINDS`].
    #[must_use]
    pub fn kind(&self) -> &str {
        Fields(&self.0).next().ok().and_then(|kind| std::str::from_utf8(kind).ok()).unwrap_or_default()
    }

    /// The fingerprint as `ssh-keygen -l` prints it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.0);
        format!("SHA256:{}", STANDARD_NO_PAD.encode(digest.as_ref()))
    }
}

impl fmt::Display for SshPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), STANDARD.encode(&self.0))
    }
}

impl fmt::Debug for SshPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint())
    }
}

/// What is left of a blob: fields with their length in front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<&'a [u8], KeyError> {
        let (head, rest) = self.0.split_first_chunk::<4>().ok_or(KeyError::Damaged)?;
        let length = u32::from_be_bytes(*head) as usize;
        let (field, rest) = rest.split_at_checked(length).ok_or(KeyError::Damaged)?;
        self.0 = rest;
        Ok(field)
    }

    /// A curve's name and an uncompressed point of it.
    fn point(&mut self, curve: &[u8], coordinate: usize) -> Result<bool, KeyError> {
        let (name, point) = (self.next()?, self.next()?);
        Ok(name == curve && point.len() == 1 + 2 * coordinate && point[0] == 4)
    }

    /// Exponent and modulus.
    fn rsa(&mut self) -> Result<bool, KeyError> {
        let (exponent, modulus) = (self.next()?, self.next()?);
        let is_number = |bytes: &[u8]| match bytes {
            [0, next, ..] => *next >= 0x80,
            [first, ..] => (1..0x80).contains(first),
            [] => false,
        };
        if !is_number(exponent) || !is_number(modulus) {
            return Ok(false);
        }
        let bytes = modulus.strip_prefix(&[0]).unwrap_or(modulus);
        let bits = bytes.len() * 8 - bytes.first().map_or(0, |first| first.leading_zeros() as usize);
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err(KeyError::RsaBits(bits));
        }
        Ok(exponent.last().is_some_and(|last| last % 2 == 1) && exponent.len() <= 8)
    }
}

/// Whose key it is: by key, the user of each namespace that knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SshKeys(HashMap<SshPublicKey, BTreeMap<Namespace, String>>);

impl SshKeys {
    /// Adds a key of a user. `Err` holds the user of that namespace who has it already.
    ///
    /// # Errors
    /// When it is the key of another user of the namespace.
    pub fn add(&mut self, key: &SshPublicKey, namespace: &Namespace, user: &str) -> Result<(), String> {
        let users = self.0.entry(key.clone()).or_default();
        match users.get(namespace) {
            Some(owner) if owner != user => Err(owner.clone()),
            _ => {
                users.insert(namespace.clone(), user.to_owned());
                Ok(())
            }
        }
    }

    /// The users of a key, by namespace; `None` when nobody has it.
    #[must_use]
    pub fn users(&self, key: &SshPublicKey) -> Option<&BTreeMap<Namespace, String>> {
        self.0.get(key)
    }
}

#[cfg(test)]
mod tests;
