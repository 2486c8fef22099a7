//! Tokens of the cluster: who they are is asked of the API server, seldom, and remembered for a moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::clock::{Clock, Random};
use model::secret::SecretString;
use prometheus::{IntCounterVec, Opts, Registry};
use tokio::sync::{OnceCell, Semaphore};

/// How long a token that holds is believed without asking again: a revoked one works this much longer.
const BELIEVED: Duration = Duration::from_secs(60);
/// How much longer while the API server does not answer.
const BELIEVED_ALONE: Duration = Duration::from_secs(600);
/// How long a token that does not hold is refused without asking again.
const REFUSED: Duration = Duration::from_secs(5);
/// Tokens that are remembered.
const REMEMBERED: usize = 10_000;
/// Reviews that are asked for at once.
const REVIEWS: usize = 16;
/// How long a review may take, waiting for its turn included.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest token that is looked at.
const MAX_TOKEN: usize = 16 << 10;

/// Who a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenIdentity {
    /// The user, as the API server names them.
    pub username: String,
    /// Their groups.
    pub groups: Vec<String>,
}

/// Whether a token holds cannot be told now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failed to have a token reviewed")]
pub struct ReviewUnavailable;

/// Asks who a token is.
#[async_trait]
pub trait TokenReviewer: Send + Sync {
    /// The identity of a token that holds and is meant for us; none when it does not hold.
    async fn review(&self, token: &SecretString) -> Result<Option<TokenIdentity>, ReviewUnavailable>;
}

/// Reviews with their memory.
pub struct Tokens {
    reviewer: Arc<dyn TokenReviewer>,
    clock: Arc<dyn Clock>,
    key: hmac::Key,
    turns: Semaphore,
    known: Mutex<HashMap<[u8; 32], Known>>,
    asking: Mutex<HashMap<[u8; 32], Asking>>,
    outcomes: IntCounterVec,
}

/// What was said of a token, and when.
#[derive(Clone)]
struct Known {
    identity: Option<TokenIdentity>,
    at: Duration,
    /// The token's own end, in seconds since 1970.
    expires: Option<i64>,
}

type Answer = Result<Option<TokenIdentity>, ReviewUnavailable>;
type Asking = Arc<OnceCell<Answer>>;

impl Tokens {
    /// Tokens that `reviewer` knows.
    ///
    /// # Errors
    /// When the metrics are registered already.
    pub fn new(
        reviewer: Arc<dyn TokenReviewer>,
        clock: Arc<dyn Clock>,
        random: &dyn Random,
        registry: &Registry,
    ) -> Result<Arc<Self>, prometheus::Error> {
        let mut key = [0; 32];
        random.fill(&mut key);
        let help = "Tokens that clients showed, by what became of them: remembered, accepted, refused, unavailable.";
        let outcomes = IntCounterVec::new(Opts::new("codekeep_token_reviews_total", help), &["outcome"])?;
        registry.register(Box::new(outcomes.clone()))?;
        Ok(Arc::new(Self {
            reviewer,
            clock,
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            turns: Semaphore::new(REVIEWS),
            known: Mutex::default(),
            asking: Mutex::default(),
            outcomes,
        }))
    }

    /// Who a token is.
    ///
    /// # Errors
    /// When it cannot be told now.
    pub async fn review(&self, token: &SecretString) -> Answer {
        if token.expose().len() > MAX_TOKEN {
            return Ok(None);
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(hmac::sign(&self.key, token.expose().as_bytes()).as_ref());
        if let Some(known) = self.recall(&tag, BELIEVED) {
            self.count("remembered");
            return Ok(known);
        }
        let asking = Arc::clone(self.asking.lock().unwrap_or_else(PoisonError::into_inner).entry(tag).or_default());
        let answer = asking.get_or_init(|| self.ask(token)).await.clone();
        self.asking.lock().unwrap_or_else(PoisonError::into_inner).remove(&tag);
        match answer {
            Ok(identity) => {
                self.count(if identity.is_some() { "accepted" } else { "refused" });
                self.remember(tag, Known { identity: identity.clone(), at: self.clock.monotonic(), expires: expiry(token.expose()) });
                Ok(identity)
            }
            Err(ReviewUnavailable) => {
                self.count("unavailable");
                self.recall(&tag, BELIEVED_ALONE).filter(Option::is_some).ok_or(ReviewUnavailable)
            }
        }
    }

    async fn ask(&self, token: &SecretString) -> Answer {
        let review = async {
            let _turn = self.turns.acquire().await.map_err(|_| ReviewUnavailable)?;
            self.reviewer.review(token).await
        };
        tokio::time::timeout(TIMEOUT, review).await.unwrap_or(Err(ReviewUnavailable))
    }

    /// What is remembered of a token, when that is not older than `believed`.
    fn recall(&self, tag: &[u8; 32], believed: Duration) -> Option<Option<TokenIdentity>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(tag).cloned()?;
        let age = self.clock.monotonic().saturating_sub(known.at);
        let has_ended = known.expires.is_some_and(|end| end <= self.clock.now().as_second());
        let limit = if known.identity.is_some() { believed } else { REFUSED };
        (age < limit && !has_ended).then_some(known.identity)
    }

    fn remember(&self, tag: [u8; 32], known: Known) {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED {
            let now = self.clock.monotonic();
            all.retain(|_, known| now.saturating_sub(known.at) < BELIEVED);
            if all.len() >= REMEMBERED {
                all.clear();
            }
        }
        all.insert(tag, known);
    }

    fn count(&self, outcome: &str) {
        self.outcomes.with_label_values(&[outcome]).inc();
    }
}

/// Whether a text looks like a JSON Web Token: nobody has such a password by accident.
pub(crate) fn is_token(text: &str) -> bool {
    claims(text).is_some()
}

/// The token's own end, read without proof: it only shortens how long a review is believed.
fn expiry(text: &str) -> Option<i64> {
    claims(text)?["exp"].as_i64()
}

/// The claims of a token, without proof that they are true.
#[must_use]
pub fn claims(text: &str) -> Option<serde_json::Value> {
    if text.len() > MAX_TOKEN {
        return None;
    }
    let mut parts = text.split('.');
    let (header, body, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let is_whole = parts.next().is_none() && !signature.is_empty();
    let json = |part: &str| serde_json::from_slice::<serde_json::Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    (is_whole && json(header)?.is_object()).then(|| json(body)).flatten().filter(serde_json::Value::is_object)
}

#[cfg(test)]
mod tests;
