//! The life of our own certificate authority: made once, renewed in two steps so that no client meets a certificate that it does
//! not trust yet. Pure.
//!
//! The next authority's certificate is published long before it signs; the last one's stays published long after.

use jiff::{SignedDuration, Timestamp};
use pki::{Authority, PkiError};

/// How long an authority is valid.
const VALIDITY: SignedDuration = SignedDuration::from_hours(24 * 730);
/// Remaining validity at which the next one is made and published.
const PREPARE: SignedDuration = SignedDuration::from_hours(24 * 180);
/// Remaining validity at which the next one takes over.
const PROMOTE: SignedDuration = SignedDuration::from_hours(24 * 120);

/// What the Secret holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuthorityData {
    /// Certificate and key (PEM) of the one that signs.
    current: (String, String),
    /// Certificate and key of the one that will sign next.
    next: Option<(String, String)>,
    /// Certificate of the one that signed before.
    previous: Option<String>,
}

impl AuthorityData {
    /// Reads the entries of the Secret; nothing when they are not there or not text.
    pub(crate) fn read(entry: impl Fn(&str) -> Option<Vec<u8>>) -> Option<Self> {
        let text =
            |key: &str| entry(key).and_then(|bytes| String::from_utf8(bytes).ok()).filter(|text| !text.is_empty());
        Some(Self {
            current: (text("tls.crt")?, text("tls.key")?),
            next: text("next.crt").zip(text("next.key")),
            previous: text("previous.crt"),
        })
    }

    /// The entries of the Secret.
    pub(crate) fn entries(&self) -> [(String, String); 5] {
        let (next_certificate, next_key) = self.next.clone().unwrap_or_default();
        [
            ("tls.crt", self.current.0.clone()),
            ("tls.key", self.current.1.clone()),
            ("next.crt", next_certificate),
            ("next.key", next_key),
            ("previous.crt", self.previous.clone().unwrap_or_default()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
    }

    /// What clients trust (PEM): the one that signs, the next and the last.
    pub(crate) fn bundle(&self) -> String {
        let next = self.next.as_ref().map(|(certificate, _)| certificate.as_str());
        let all = [Some(self.current.0.as_str()), next, self.previous.as_deref()];
        all.into_iter().flatten().flat_map(|pem| [pem.trim_end(), "\n"]).collect()
    }
}

/// What the Secret should hold now, and whether that is new.
pub(crate) fn plan(known: Option<AuthorityData>, now: Timestamp) -> Result<(AuthorityData, bool), PkiError> {
    let usable = known.filter(|known| Authority::load(&known.current.0, &known.current.1).is_ok());
    let Some(mut data) = usable else {
        let current = generate(now)?;
        return Ok((AuthorityData { current, next: None, previous: None }, true));
    };
    let left = Authority::load(&data.current.0, &data.current.1)?.not_after().duration_since(now);
    if left > PREPARE {
        return Ok((data, false));
    }
    let Some(next) = data.next.take() else {
        data.next = Some(generate(now)?);
        return Ok((data, true));
    };
    if left > PROMOTE {
        data.next = Some(next);
        return Ok((data, false));
    }
    let previous = Some(std::mem::replace(&mut data.current, next).0);
    Ok((AuthorityData { previous, ..data }, true))
}

fn generate(now: Timestamp) -> Result<(String, String), PkiError> {
    let authority = Authority::generate(now, VALIDITY)?;
    Ok((authority.certificate_pem().to_owned(), authority.key_pem().to_owned()))
}

#[cfg(test)]
mod tests;
