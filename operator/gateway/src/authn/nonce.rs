//! Nonces for signed pushes: what a client signs is for this repository, and from now.
//!
//! A nonce is a time and its seal, so that no server remembers any, and any server of a pool knows those of the others. The keys
//! follow from the SSH host keys, which all of them share (ADR 0014).

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use model::RepositoryPath;
use model::clock::Clock;

use crate::ssh::HostKeys;

/// How old a nonce may be that was given in another request: hooks run and packs are made before a push is sent.
const LIFETIME: Duration = Duration::from_mins(10);
/// How much the clocks of two servers may differ.
const SKEW: Duration = Duration::from_mins(1);

/// Makes and checks nonces.
pub(crate) struct Nonces {
    host_keys: HostKeys,
    clock: Arc<dyn Clock>,
}

/// Why a nonce is refused. The text is for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NonceError {
    /// Nobody here gave it, or for another repository.
    #[error("the nonce of the push certificate was not given by this server for this repository: push again")]
    Foreign,
    /// It was given in another connection.
    #[error("the nonce of the push certificate is not the one that was given in this connection: push again")]
    Other,
    /// It is too old.
    #[error("the nonce of the push certificate was given more than 10 minutes ago: push again")]
    Stale,
    /// There are no keys.
    #[error("this server does not take signed pushes, because it has no SSH host keys: push without --signed")]
    Keyless,
}

impl NonceError {
    /// What git calls it in `GIT_PUSH_CERT_NONCE_STATUS`.
    pub(crate) fn status(self) -> &'static str {
        match self {
            Self::Foreign | Self::Other => "BAD",
            Self::Stale => "SLOP",
            Self::Keyless => "UNSOLICITED",
        }
    }
}

impl Nonces {
    pub(crate) fn new(host_keys: HostKeys, clock: Arc<dyn Clock>) -> Self {
        Self { host_keys, clock }
    }

    /// A nonce for a push to a repository; `None` without a host key.
    pub(crate) fn issue(&self, path: &RepositoryPath) -> Option<String> {
        let seconds = self.clock.now().as_second();
        let seal = hmac::sign(self.host_keys.nonces().first()?, sealed(path, seconds).as_bytes());
        Some(format!("{seconds}-{}", hex::encode(seal)))
    }

    /// Whether a nonce is good for a push to a repository; `given` is the one that was given in the same connection, where there is one.
    pub(crate) fn check(&self, nonce: &str, path: &RepositoryPath, given: Option<&str>) -> Result<(), NonceError> {
        let (seconds, seal) = nonce.split_once('-').ok_or(NonceError::Foreign)?;
        let seconds: i64 = seconds.parse().map_err(|_| NonceError::Foreign)?;
        let seal = hex::decode(seal).map_err(|_| NonceError::Foreign)?;
        let text = sealed(path, seconds);
        let is_ours = |key| hmac::verify(key, text.as_bytes(), &seal).is_ok();
        if !self.host_keys.nonces().iter().any(is_ours) {
            return Err(NonceError::Foreign);
        }
        if let Some(given) = given {
            // However long its client has thought meanwhile.
            return if given == nonce { Ok(()) } else { Err(NonceError::Other) };
        }
        let age = self.clock.now().as_second().saturating_sub(seconds);
        let within = |limit: Duration, age: i64| age <= i64::try_from(limit.as_secs()).unwrap_or(i64::MAX);
        if within(LIFETIME, age) && within(SKEW, age.saturating_neg()) { Ok(()) } else { Err(NonceError::Stale) }
    }
}

fn sealed(path: &RepositoryPath, seconds: i64) -> String {
    format!("{path} {seconds}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::authn::late::{Late, host_keys};

    async fn nonces(folder: &Path, late: i64) -> Nonces {
        Nonces::new(host_keys(folder).await, Arc::new(Late(late)))
    }

    #[tokio::test]
    async fn a_nonce_is_good_for_one_repository_on_every_server_for_ten_minutes() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |text: &str| text.parse::<RepositoryPath>().unwrap();
        let here = nonces(folder.path(), 0).await;
        let nonce = here.issue(&path("team-a/hello")).unwrap();
        let there = nonces(folder.path(), 9 * 60).await;
        assert_eq!(there.check(&nonce, &path("team-a/hello"), None), Ok(()));
        assert_eq!(there.check(&nonce, &path("team-a/other"), None), Err(NonceError::Foreign));
        let late = nonces(folder.path(), 11 * 60).await;
        assert_eq!(late.check(&nonce, &path("team-a/hello"), None), Err(NonceError::Stale));
        let early = nonces(folder.path(), -5 * 60).await;
        assert_eq!(early.check(&nonce, &path("team-a/hello"), None), Err(NonceError::Stale), "from the future");
        let foreign = nonces(other.path(), 0).await;
        assert_eq!(foreign.check(&nonce, &path("team-a/hello"), None), Err(NonceError::Foreign));
        let (seconds, seal) = nonce.split_once('-').unwrap();
        let later = format!("{}-{seal}", seconds.parse::<i64>().unwrap() + 1);
        for bad in ["", "-", "x", &later, seconds, &format!("{seconds}-"), &nonce[..nonce.len() - 2]] {
            assert_eq!(here.check(bad, &path("team-a/hello"), None), Err(NonceError::Foreign), "{bad}");
        }
    }

    #[tokio::test]
    async fn in_one_connection_only_its_own_nonce_is_good_and_does_not_age() {
        let folder = tempfile::tempdir().unwrap();
        let path: RepositoryPath = "team-a/hello".parse().unwrap();
        let nonce = nonces(folder.path(), -7_200).await.issue(&path).unwrap();
        let here = nonces(folder.path(), 0).await;
        assert_eq!(here.check(&nonce, &path, Some(&nonce)), Ok(()));
        let other = here.issue(&path).unwrap();
        assert_eq!(here.check(&other, &path, Some(&nonce)), Err(NonceError::Other));
        assert_eq!(here.check("1-00", &path, Some("1-00")), Err(NonceError::Foreign));
    }
}
