//! Who asks: HTTP Basic with a git credential, or a token that the API server reviews, as password or bearer.
//!
//! Hashes are checked off the async threads, a few at a time, and a check that succeeded is remembered under a key that lives
//! only in this process. Every check that fails costs one hash, whether the user exists or not.

#[cfg(test)]
mod late;
pub(crate) mod nonce;
pub(crate) mod pass;
mod proof;
pub(crate) mod token;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use model::clock::Random;
use model::desired::{Credential, CredentialSecret, DesiredState};
use model::policy::Principal;
use model::secret::SecretString;
use model::{AccountId, Namespace};
use tokio::sync::Semaphore;

pub(crate) use proof::Proof;
use token::{ReviewUnavailable, Tokens};

/// Hashes that are computed at once; each takes some 19 MiB.
const HASHES: usize = 4;
/// Successful checks that are remembered.
const REMEMBERED: usize = 10_000;
/// Longest header that is looked at: a token with its user, in base64.
const MAX_HEADER: usize = 24 << 10;
/// Longest password that is hashed.
const MAX_PASSWORD: usize = 3_072;

/// What a client says of itself.
pub(crate) enum Claim {
    /// A user name and a password, which may be a token.
    Password {
        /// What the person typed.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// A token that says by itself who it is.
    Bearer(SecretString),
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// No claim was made.
    Anonymous,
    /// The claim holds, and by what; the namespace is the credential's.
    Known(Principal, Proof),
    /// The claim does not hold.
    Refused,
    /// Whether the claim holds cannot be told now.
    Unavailable,
}

/// Checks claims.
pub(crate) struct Authenticator {
    key: hmac::Key,
    remembered: Mutex<HashSet<[u8; 32]>>,
    hashes: Arc<Semaphore>,
    /// A hash that no password has, for users that do not exist.
    decoy: Option<Arc<str>>,
    tokens: Option<Arc<Tokens>>,
}

impl Claim {
    /// Reads an `Authorization` header. `Ok(None)`: there is none; `Err`: it is not ours to understand.
    pub(crate) fn parse(header: Option<&HeaderValue>) -> Result<Option<Self>, ()> {
        let Some(header) = header else { return Ok(None) };
        let text = header.to_str().ok().filter(|text| text.len() <= MAX_HEADER).ok_or(())?;
        let (scheme, encoded) = text.split_once(' ').ok_or(())?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Some(Self::Bearer(SecretString::new(encoded.trim().to_owned()))));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(());
        }
        let decoded = STANDARD.decode(encoded.trim()).map_err(|_| ())?;
        let decoded = String::from_utf8(decoded).map_err(|_| ())?;
        let (username, password) = decoded.split_once(':').ok_or(())?;
        let password = SecretString::new(password.to_owned());
        Ok(Some(Self::Password { username: username.to_owned(), password }))
    }
}

impl Authenticator {
    pub(crate) fn new(random: &dyn Random, tokens: Option<Arc<Tokens>>) -> Self {
        let (mut key, mut decoy) = ([0; 32], [0; 32]);
        random.fill(&mut key);
        random.fill(&mut decoy);
        let decoy = Argon2::default().hash_password(&decoy).ok().map(|hash| Arc::from(hash.to_string()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Self { key, remembered: Mutex::default(), hashes: Arc::new(Semaphore::new(HASHES)), decoy, tokens }
    }

    /// Checks a claim against the credentials of the namespace that the request is about, if that is known.
    pub(crate) async fn check(
        &self,
        claim: Option<Claim>,
        about: Option<&Namespace>,
        desired: &DesiredState,
    ) -> Identity {
        let (username, password) = match claim {
            None => return Identity::Anonymous,
            Some(Claim::Bearer(token)) => return self.review(&token).await,
            // Whatever the user name: git asks for one, and the token says it better.
            Some(Claim::Password { password, .. }) if self.tokens.is_some() && token::is_token(password.expose()) => {
                return self.review(&password).await;
            }
            Some(Claim::Password { password, .. }) if password.expose().len() > MAX_PASSWORD => {
                return Identity::Refused;
            }
            Some(Claim::Password { username, password }) => (username, password),
        };
        let Some(credential) = find(&username, about, &desired.credentials) else {
            self.spend_one_hash(&password).await;
            return Identity::Refused;
        };
        if self.holds(credential, &password).await {
            let principal =
                Principal::LocalUser { namespace: credential.namespace.clone(), name: credential.user.clone() };
            return Identity::Known(principal, Proof::Password(Arc::clone(credential)));
        }
        Identity::Refused
    }

    async fn review(&self, token: &SecretString) -> Identity {
        let Some(tokens) = &self.tokens else { return Identity::Refused };
        match tokens.review(token).await {
            Ok(Some(identity)) => {
                let principal = Principal::authenticated(&identity.username, identity.groups);
                Identity::Known(principal, Proof::Token(token.clone()))
            }
            Ok(None) => Identity::Refused,
            Err(ReviewUnavailable) => Identity::Unavailable,
        }
    }

    async fn holds(&self, credential: &Credential, password: &SecretString) -> bool {
        match &credential.secret {
            CredentialSecret::Password(expected) => {
                let (given, wanted) = (self.tag("", password.expose()), self.tag("", expected.expose()));
                let equal = constant_time::verify_slices_are_equal(&given, &wanted).is_ok();
                if !equal {
                    self.spend_one_hash(password).await;
                }
                equal
            }
            CredentialSecret::Hash(hash) => {
                // The hash is part of the tag: a changed Secret is checked anew.
                let tag = self.tag(hash.expose(), password.expose());
                if self.remembered.lock().unwrap_or_else(PoisonError::into_inner).contains(&tag) {
                    return true;
                }
                let holds = self.verify(Arc::from(hash.expose()), password).await;
                if holds {
                    let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
                    if remembered.len() >= REMEMBERED {
                        remembered.clear();
                    }
                    remembered.insert(tag);
                }
                holds
            }
        }
    }

    async fn spend_one_hash(&self, password: &SecretString) {
        if let Some(decoy) = &self.decoy {
            self.verify(Arc::clone(decoy), password).await;
        }
    }

    async fn verify(&self, hash: Arc<str>, password: &SecretString) -> bool {
        let Ok(_permit) = self.hashes.acquire().await else { return false };
        let password = password.clone();
        let check = move || Argon2::default().verify_password(password.expose().as_bytes(), &*hash).is_ok();
        tokio::task::spawn_blocking(check).await.unwrap_or(false)
    }

    fn tag(&self, hash: &str, password: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&(hash.len() as u64).to_be_bytes());
        context.update(hash.as_bytes());
        context.update(password.as_bytes());
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }
}

/// The credential that a user name means: by the account id in it, by the request's namespace, or the only one of that name.
fn find<'a>(
    username: &str,
    about: Option<&Namespace>,
    credentials: &'a BTreeMap<Namespace, Vec<Arc<Credential>>>,
) -> Option<&'a Arc<Credential>> {
    let named = |namespace: &Namespace, wanted: &str| {
        let all = credentials.get(namespace)?;
        all.iter().find(|credential| credential.username == wanted)
    };
    if let Some((user, account)) = username.rsplit_once("-at-")
        && let Ok(account) = account.parse::<AccountId>()
        && let Some(namespace) = credentials.keys().find(|namespace| AccountId::of(namespace) == account)
    {
        return named(namespace, user);
    }
    if let Some(namespace) = about {
        return named(namespace, username);
    }
    let mut matching = credentials.keys().filter_map(|namespace| named(namespace, username));
    matching.next().filter(|_| matching.next().is_none())
}

#[cfg(test)]
mod tests;
