//! Our own certificate authority (ADR 0005): makes one, and certificates for names from it. And SSH host keys (ADR 0012), in
//! [`host_key`]. No I/O; the time is passed in.
//!
//! Keys are ECDSA P-256, which every git client of the last ten years verifies.

pub mod host_key;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType,
};
use time::OffsetDateTime;

/// Certificates are valid from a little earlier than now: clocks differ.
const BACKDATE: SignedDuration = SignedDuration::from_hours(1);
/// Most names of one certificate.
const MAX_NAMES: usize = 32;

/// Why there is no authority or certificate.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// Making or reading a key or certificate failed.
    #[error("failed to make or read a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The certificate and the key are not of one authority.
    #[error("the key is not the key of the authority's certificate")]
    WrongKey,
    /// The time cannot be written into a certificate.
    #[error("failed to write the time {0} into a certificate")]
    Time(Timestamp),
    /// A signing request asks for a name that is not the requester's.
    #[error("the signing request names '{0}', which is not for the requester")]
    ForeignName(String),
    /// A signing request asks for too many names, or none.
    #[error("a certificate has 1 to {MAX_NAMES} names, and {0} were asked for")]
    Names(usize),
}

/// A certificate and its key.
pub struct Leaf {
    /// The certificate (PEM).
    pub certificate_pem: String,
    /// The certificate (DER).
    pub certificate_der: Vec<u8>,
    /// The key (PKCS #8, PEM).
    pub key_pem: String,
    /// The key (PKCS #8, DER).
    pub key_der: Vec<u8>,
}

/// An authority: a certificate that clients trust, and the key that signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    key_pem: String,
    not_after: Timestamp,
}

impl Authority {
    /// A new authority, valid for `validity` from now.
    ///
    /// # Errors
    /// When the time is beyond what certificates can say.
    pub fn generate(now: Timestamp, validity: SignedDuration) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Codekeep certificate authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid(&mut params, now, validity)?;
        let certificate = params.self_signed(&key)?;
        Self::load(&certificate.pem(), &key.serialize_pem())
    }

    /// An authority from its certificate and key (PEM).
    ///
    /// # Errors
    /// When one of them cannot be read, or they do not belong together.
    pub fn load(certificate_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(key_pem)?;
        let (not_after, public_key) = facts(certificate_pem)?;
        if public_key != key.subject_public_key_info() {
            return Err(PkiError::WrongKey);
        }
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key)?;
        Ok(Self { issuer, certificate_pem: certificate_pem.to_owned(), key_pem: key_pem.to_owned(), not_after })
    }

    /// What clients trust (PEM).
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The key (PKCS #8, PEM).
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// When it ends.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// A certificate with a new key for a server of these DNS names.
    ///
    /// # Errors
    /// When a name is none, or there are too many.
    pub fn issue(&self, names: &[String], now: Timestamp, validity: SignedDuration) -> Result<Leaf, PkiError> {
        let key = KeyPair::generate()?;
        let certificate = server_params(names, now, validity)?.signed_by(&key, &self.issuer)?;
        Ok(Leaf {
            certificate_pem: certificate.pem(),
            certificate_der: certificate.der().to_vec(),
            key_pem: key.serialize_pem(),
            key_der: key.serialize_der(),
        })
    }

    /// A certificate for the key of a signing request (PEM), whose names must all be among `allowed`.
    ///
    /// # Errors
    /// When the request is damaged, its signature does not hold, or it names something else.
    pub fn sign_request(
        &self,
        request_pem: &str,
        allowed: &[String],
        now: Timestamp,
        validity: SignedDuration,
    ) -> Result<String, PkiError> {
        let mut request = CertificateSigningRequestParams::from_pem(request_pem)?;
        let mut names = Vec::new();
        for name in &request.params.subject_alt_names {
            match name {
                SanType::DnsName(name) if allowed.iter().any(|allowed| allowed == name.as_str()) => {
                    names.push(name.as_str().to_owned());
                }
                other => return Err(PkiError::ForeignName(format!("{other:?}").chars().take(100).collect())),
            }
        }
        // Nothing else of what the requester wrote gets into the certificate.
        request.params = server_params(&names, now, validity)?;
        Ok(request.signed_by(&self.issuer)?.pem())
    }
}

/// A key (PEM) and a signing request (PEM) for these DNS names.
///
/// # Errors
/// When a name is none.
pub fn new_request(names: &[String]) -> Result<(String, String), PkiError> {
    let key = KeyPair::generate()?;
    let request = CertificateParams::new(names.to_vec())?.serialize_request(&key)?;
    Ok((key.serialize_pem(), request.pem()?))
}

/// When a certificate (PEM) ends.
///
/// # Errors
/// When it is none.
pub fn not_after(certificate_pem: &str) -> Result<Timestamp, PkiError> {
    facts(certificate_pem).map(|(not_after, _)| not_after)
}

fn server_params(names: &[String], now: Timestamp, validity: SignedDuration) -> Result<CertificateParams, PkiError> {
    if names.is_empty() || names.len() > MAX_NAMES {
        return Err(PkiError::Names(names.len()));
    }
    let mut params = CertificateParams::new(names.to_vec())?;
    // A common name has at most 64 characters, and clients look at the alternative names.
    params.distinguished_name.push(DnType::CommonName, "Codekeep git server");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params, now, validity)?;
    Ok(params)
}

fn valid(params: &mut CertificateParams, now: Timestamp, validity: SignedDuration) -> Result<(), PkiError> {
    params.not_before = at(now - BACKDATE)?;
    params.not_after = at(now + validity)?;
    Ok(())
}

fn at(time: Timestamp) -> Result<OffsetDateTime, PkiError> {
    OffsetDateTime::from_unix_timestamp(time.as_second()).map_err(|_| PkiError::Time(time))
}

/// The end of a certificate and its public key (DER).
fn facts(certificate_pem: &str) -> Result<(Timestamp, Vec<u8>), PkiError> {
    use x509_parser::prelude::{FromDer as _, X509Certificate, parse_x509_pem};
    let unreadable = |_| PkiError::Certificate(rcgen::Error::CouldNotParseCertificate);
    let (_, pem) = parse_x509_pem(certificate_pem.as_bytes())
        .map_err(|_| PkiError::Certificate(rcgen::Error::CouldNotParseCertificate))?;
    let (_, certificate) = X509Certificate::from_der(&pem.contents).map_err(unreadable)?;
    let seconds = certificate.validity().not_after.timestamp();
    let end =
        Timestamp::from_second(seconds).map_err(|_| PkiError::Certificate(rcgen::Error::CouldNotParseCertificate))?;
    Ok((end, certificate.public_key().raw.to_vec()))
}

#[cfg(test)]
mod tests;
