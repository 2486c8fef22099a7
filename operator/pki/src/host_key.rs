//! SSH host keys in the form of OpenSSH (`openssh-key-v1`): makes one, and reads the public half of any ([PROTOCOL.key]).
//!
//! [PROTOCOL.key]: https://cvsweb.openbsd.org/src/usr.bin/ssh/PROTOCOL.key

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";
const MAGIC: &[u8] = b"openssh-key-v1\0";
const KIND: &[u8] = b"ssh-ed25519";
/// The private half is padded to blocks of this size when it is not encrypted.
const BLOCK: usize = 8;
/// Characters of a line.
const LINE: usize = 70;

/// The key could not be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to make an SSH host key")]
pub struct HostKeyError;

/// Makes an Ed25519 key from 32 bytes that nobody can guess; the text of a file as `ssh-keygen` writes it.
///
/// # Errors
/// When the library refuses the bytes.
pub fn from_seed(seed: &[u8; 32]) -> Result<String, HostKeyError> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| HostKeyError)?;
    let public = pair.public_key().as_ref();
    let blob = fields(&[KIND, public]);
    // Two equal numbers, by which a wrong passphrase would show.
    let mut private =
        [[0; 8].as_slice(), &fields(&[KIND, public, &[seed.as_slice(), public].concat(), b"codekeep"])].concat();
    for byte in 1.. {
        if private.len() % BLOCK == 0 {
            break;
        }
        private.push(byte);
    }
    let bytes = [MAGIC, &fields(&[b"none", b"none", b""]), &1_u32.to_be_bytes(), &fields(&[&blob, &private])].concat();
    let encoded = STANDARD.encode(bytes);
    let mut text = format!("{BEGIN}\n");
    for line in encoded.as_bytes().chunks(LINE) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    Ok(text + END + "\n")
}

/// The public half of a private key, as it is sent and hashed; `None` when the text is no key in this form.
#[must_use]
pub fn public_blob(text: &str) -> Option<Vec<u8>> {
    let (_, body) = text.split_once(BEGIN)?;
    let (body, _) = body.split_once(END)?;
    let encoded: String = body.split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(encoded).ok()?;
    let mut rest = bytes.strip_prefix(MAGIC)?;
    for _ in 0..3 {
        (_, rest) = field(rest)?;
    }
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let (public, _) = field(rest)?;
    (u32::from_be_bytes(*count) == 1).then(|| public.to_vec())
}

/// Fields with their length in front.
fn fields(parts: &[&[u8]]) -> Vec<u8> {
    let length = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes();
    parts.iter().flat_map(|part| [length(part).as_slice(), part].concat()).collect()
}

fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests;
