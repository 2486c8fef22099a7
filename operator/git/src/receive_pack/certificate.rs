//! The certificate of a signed push ([gitprotocol-pack], "Push Certificate"): what the client says that it pushes, in a text that it
//! has signed.
//!
//! It is read and compared with what is pushed. Whose signature it is, is not asked: that is for those who have keys.
//!
//! [gitprotocol-pack]: https://git-scm.com/docs/gitprotocol-pack#_push_certificate

use gix::bstr::{BString, ByteSlice as _};

/// Largest certificate: it is kept in the log.
pub(super) const MAX_BYTES: usize = 64 << 10;

/// Longest nonce.
const MAX_NONCE: usize = 256;

/// The first line.
const VERSION: &[u8] = b"certificate version 0.1";

/// What the signature begins with, in git's order, and what git calls it.
const SIGNATURES: [(&str, &str); 4] = [
    ("-----BEGIN PGP SIGNATURE-----", "openpgp"),
    ("-----BEGIN PGP MESSAGE-----", "openpgp"),
    ("-----BEGIN SIGNED MESSAGE-----", "x509"),
    ("-----BEGIN SSH SIGNATURE-----", "ssh"),
];

/// What a client has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// All of it as it was sent, with its signature.
    pub text: BString,
    /// Who pushes and when, as they say.
    pub pusher: BString,
    /// What the server gave to be signed.
    pub nonce: String,
    /// What was given with `--push-option`.
    pub push_options: Vec<BString>,
    /// What kind of signature it is: `gpg.format` of the client.
    pub format: &'static str,
}

/// Why a certificate is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It would not fit into the log.
    #[error("the push certificate is larger than {MAX_BYTES} bytes: push fewer references at once")]
    Long,
    /// Its form is another.
    #[error("the push certificate is not one of version 0.1")]
    Version,
    /// Something is not there, or is there twice.
    #[error("the push certificate has no {0}, or several")]
    Lacks(&'static str),
    /// What is pushed is not what was signed.
    #[error("the push certificate does not name what is pushed: {0} differ")]
    Differs(&'static str),
}

impl Certificate {
    /// Reads a certificate; the commands are the lines beside it.
    pub(super) fn parse(text: Vec<u8>) -> Result<(Self, Vec<Vec<u8>>), CertificateError> {
        let (head, body) = text.split_once_str("\n\n").ok_or(CertificateError::Lacks("commands"))?;
        let mut lines = head.split_str("\n");
        if lines.next() != Some(VERSION) {
            return Err(CertificateError::Version);
        }
        let (mut pushers, mut nonces, mut push_options) = (Vec::new(), Vec::new(), Vec::new());
        for (key, value) in lines.filter_map(|line| line.split_once_str(" ")) {
            match key {
                b"pusher" => pushers.push(BString::from(value)),
                b"nonce" => nonces.push(value),
                b"push-option" => push_options.push(BString::from(value)),
                // Such as `pushee`, where the client thinks that it pushes to: names of a server are many.
                _ => {}
            }
        }
        let [pusher] = pushers.try_into().map_err(|_| CertificateError::Lacks("pusher"))?;
        let nonce = match *nonces {
            [nonce] if nonce.len() <= MAX_NONCE && nonce.iter().all(u8::is_ascii_graphic) => {
                nonce.to_str_lossy().into()
            }
            _ => return Err(CertificateError::Lacks("nonce")),
        };
        let (mut commands, mut format) = (Vec::new(), None);
        for line in body.split_str("\n") {
            format = SIGNATURES.iter().find(|(begin, _)| line == begin.as_bytes()).map(|(_, format)| *format);
            if format.is_some() {
                break;
            }
            commands.push(line.to_vec());
        }
        let format = format.ok_or(CertificateError::Lacks("signature"))?;
        if commands.is_empty() {
            return Err(CertificateError::Lacks("commands"));
        }
        Ok((Self { pusher, nonce, push_options, format, text: text.into() }, commands))
    }
}
