//! Passes: what `git-lfs-authenticate` gives somebody who came by SSH, so that git-lfs may speak HTTP as the same user for a while.
//!
//! A pass says who, which repository and until when, sealed with a key that follows from the SSH host keys, which all
//! servers of a pool share. It permits nothing: every request is authorized as if the user had sent a password. It ends at once when
//! the SSH key is taken back.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use model::clock::Clock;
use model::desired::DesiredState;
use model::policy::Principal;
use model::{Namespace, RepositoryName, RepositoryPath, SshPublicKey};
use serde::{Deserialize, Serialize};

use super::Proof;
use crate::ssh::HostKeys;

/// The authentication scheme of passes.
const SCHEME: &str = "CodekeepPass";
/// How long a pass holds: the objects of one batch are sent with it.
pub(crate) const LIFETIME: Duration = Duration::from_hours(1);
/// Longest pass: the largest SSH key in base64, twice.
const MAX_BYTES: usize = 10 << 10;

/// Makes and checks passes.
pub(crate) struct Passes {
    host_keys: HostKeys,
    clock: Arc<dyn Clock>,
}

/// Who came by SSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bearer {
    /// The key that they have proven.
    pub(crate) key: SshPublicKey,
    /// The namespace that they are a user of.
    pub(crate) home: Namespace,
    /// Their name there.
    pub(crate) user: String,
    /// The repository that the pass is for.
    pub(crate) path: RepositoryPath,
}

/// What is sealed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    key: String,
    home: String,
    user: String,
    repository: String,
    /// Seconds since 1970.
    expires: i64,
}

impl Passes {
    pub(crate) fn new(host_keys: HostKeys, clock: Arc<dyn Clock>) -> Self {
        Self { host_keys, clock }
    }

    /// The value of an `Authorization` header, and when it ends; `None` without a host key.
    pub(crate) fn issue(&self, bearer: &Bearer) -> Option<(String, jiff::Timestamp)> {
        let lifetime = jiff::SignedDuration::try_from(LIFETIME).ok()?;
        let expires = self.clock.now().checked_add(lifetime).ok()?;
        let text = Text {
            key: bearer.key.to_string(),
            home: bearer.home.to_string(),
            user: bearer.user.clone(),
            repository: bearer.path.to_string(),
            expires: expires.as_second(),
        };
        let text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&text).ok()?);
        let seal = hmac::sign(self.host_keys.seals().first()?, text.as_bytes());
        Some((format!("{SCHEME} {text}.{}", URL_SAFE_NO_PAD.encode(seal)), expires))
    }

    /// Who shows a pass for a repository, if it holds. Without a namespace it is that of the user.
    pub(crate) fn check(
        &self,
        pass: &str,
        (about, name): (Option<&Namespace>, &RepositoryName),
        desired: &DesiredState,
    ) -> Option<(Principal, Proof)> {
        let (text, seal) = pass.split_once('.').filter(|_| pass.len() <= MAX_BYTES)?;
        let seal = URL_SAFE_NO_PAD.decode(seal).ok()?;
        let is_ours = |key| hmac::verify(key, text.as_bytes(), &seal).is_ok();
        if !self.host_keys.seals().iter().any(is_ours) {
            return None;
        }
        let text: Text = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let home: Namespace = text.home.parse().ok()?;
        let path = RepositoryPath { namespace: about.unwrap_or(&home).clone(), name: name.clone() };
        if text.repository != path.to_string() || text.expires <= self.clock.now().as_second() {
            return None;
        }
        let key = SshPublicKey::from_line(&text.key).ok()?;
        // The key may have been taken back, or be somebody else's now.
        let user = desired.ssh_keys.users(&key)?.get(&home).filter(|user| **user == text.user)?;
        Some((Principal::LocalUser { name: user.clone(), namespace: home }, Proof::Key(key)))
    }
}

/// The pass in an `Authorization` header, if it holds one.
pub(crate) fn parse(header: &HeaderValue) -> Option<&str> {
    let (scheme, pass) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case(SCHEME).then_some(pass.trim())
}

#[cfg(test)]
mod tests;
