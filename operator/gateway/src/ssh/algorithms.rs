//! What the server speaks: nothing that is broken or doubted, and nothing with which a client makes it work for free.
//!
//! Left out, and why: Diffie-Hellman over finite fields (a client costs the server far more than itself: `DHEat`), the NIST curves for
//! the key exchange, SHA-1, CBC, MACs over plain text, compression (bombs).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey};
use russh::server::Config;
use russh::{MethodKind, MethodSet, Preferred, SshId, cipher, kex, mac};

const KEY_EXCHANGES: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// Of hosts and of clients; RSA with SHA-2 only.
const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::SkEd25519,
    Algorithm::SkEcdsaSha2NistP256,
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

const CIPHERS: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

const MACS: &[mac::Name] = &[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM];

/// Keys that a client may offer before it is sent away: agents hold several.
const MAX_OFFERS: usize = 10;
/// How long an answer to a key takes that is not accepted, whatever the reason.
const REJECTION: Duration = Duration::from_millis(50);
/// How often a silent client is asked whether it is still there, and how often it may leave that unanswered.
const KEEPALIVE: Duration = Duration::from_secs(15);
const UNANSWERED: usize = 3;
/// Packets of a channel that wait in the connection, at most 32 KiB each.
const PACKETS: usize = 32;

/// Whether a client may prove a key with this algorithm.
pub(super) fn is_accepted(algorithm: &Algorithm) -> bool {
    KEYS.contains(algorithm)
}

/// The configuration of connections with these host keys.
pub(super) fn config(keys: Vec<PrivateKey>) -> Arc<Config> {
    Arc::new(Config {
        server_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-Codekeep_", env!("CARGO_PKG_VERSION")))),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: REJECTION,
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: MAX_OFFERS,
        keys,
        preferred: Preferred {
            kex: Cow::Borrowed(KEY_EXCHANGES),
            key: Cow::Borrowed(KEYS),
            cipher: Cow::Borrowed(CIPHERS),
            mac: Cow::Borrowed(MACS),
            ..Preferred::DEFAULT
        },
        channel_buffer_size: PACKETS,
        // What is silent for a reason is not ended here; who does not read, or is not there, is found out in other ways.
        inactivity_timeout: None,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: UNANSWERED,
        ..Config::default()
    })
}
