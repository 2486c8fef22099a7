//! The signature of a delivery: HMAC-SHA256 over `timestamp.body`.

use aws_lc_rs::hmac;
use jiff::Timestamp;
use model::secret::SecretString;

/// Header with the seconds since 1970 at which the request was signed.
pub(crate) const TIMESTAMP: &str = "codekeep-timestamp";
/// Header with `sha256=` and the signature in hexadecimal.
pub(crate) const SIGNATURE: &str = "codekeep-signature";

/// The values of both headers.
pub(crate) fn sign(key: &SecretString, now: Timestamp, body: &[u8]) -> (String, String) {
    let timestamp = now.as_second().to_string();
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes()));
    context.update(timestamp.as_bytes());
    context.update(b".");
    context.update(body);
    let signature = format!("sha256={}", hex::encode(context.sign().as_ref()));
    (timestamp, signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected value was computed by Python's hmac module.
    #[test]
    fn the_signature_is_the_one_of_the_documentation() {
        let key = SecretString::new("key".to_owned());
        let (timestamp, signature) = sign(&key, Timestamp::from_second(1_700_000_000).unwrap(), b"{}");
        assert_eq!(timestamp, "1700000000");
        assert_eq!(signature, "sha256=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae");
    }
}
