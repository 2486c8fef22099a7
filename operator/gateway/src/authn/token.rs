//! Tokens of the cluster: who they are is asked of the API server, seldom, and remembered for a moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
const BELIEVED: Duration = Duration::from_mins(1);
/// How long in all while the API server does not answer.
const BELIEVED_ALONE: Duration = Duration::from_mins(10);
/// How long after an answer that did not come nobody asks again about a token that was good: no request waits for each of them.
const IN_VAIN: Duration = Duration::from_secs(5);
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
/// Most groups of a token.
const MAX_GROUPS: usize = 1_000;
/// Most bytes of a token's user and groups together.
const MAX_IDENTITY: usize = 16 << 10;

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
    known: Mutex<HashMap<Tag, Known>>,
    asking: Mutex<HashMap<Tag, Asking>>,
    outcomes: IntCounterVec,
}

/// Stands for a token in memory, under a key that lives only in this process.
type Tag = [u8; 32];

/// What was said of a token, and when.
#[derive(Clone)]
struct Known {
    identity: Option<TokenIdentity>,
    at: Duration,
    /// When it was last asked about without an answer.
    in_vain_at: Option<Duration>,
    /// The token's own end, in seconds since 1970.
    expires: Option<i64>,
}

type Answer = Result<Option<TokenIdentity>, ReviewUnavailable>;

/// A question under way.
struct Asking {
    answer: Arc<OnceCell<Answer>>,
    /// Requests that wait for the answer.
    waiting: usize,
}

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
        if token.expose().is_empty() || token.expose().len() > MAX_TOKEN {
            return Ok(None);
        }
        let tag = self.tag(token);
        if let Some(known) = self.recall(&tag) {
            self.count("remembered");
            return Ok(known.identity);
        }
        let question = Question::join(self, tag);
        let answer = question.answer.get_or_init(|| self.ask_and_remember(token, tag)).await.clone();
        self.count(match &answer {
            Ok(Some(_)) => "accepted",
            Ok(None) => "refused",
            Err(ReviewUnavailable) => "unavailable",
        });
        // Nobody answers: what was said last holds a while longer.
        answer.or_else(|error| self.recall(&tag).map(|known| known.identity).ok_or(error))
    }

    async fn ask_and_remember(&self, token: &SecretString, tag: Tag) -> Answer {
        let answer = self.ask(token).await.map(|found| found.filter(is_of_bearable_size));
        match &answer {
            Ok(identity) => self.remember(tag, identity.clone(), expiry(token.expose())),
            Err(ReviewUnavailable) => self.asked_in_vain(&tag),
        }
        // Whoever comes from now on finds it remembered, or asks anew.
        locked(&self.asking).remove(&tag);
        answer
    }

    async fn ask(&self, token: &SecretString) -> Answer {
        let review = async {
            let _turn = self.turns.acquire().await.map_err(|_| ReviewUnavailable)?;
            self.reviewer.review(token).await
        };
        tokio::time::timeout(TIMEOUT, review).await.unwrap_or(Err(ReviewUnavailable))
    }

    fn tag(&self, token: &SecretString) -> Tag {
        let mut tag = [0; 32];
        tag.copy_from_slice(hmac::sign(&self.key, token.expose().as_bytes()).as_ref());
        tag
    }

    /// What is remembered of a token, if that is to be believed still.
    fn recall(&self, tag: &Tag) -> Option<Known> {
        let known = locked(&self.known).get(tag).cloned()?;
        let now = self.clock.monotonic();
        let is_alone = known.in_vain_at.is_some_and(|at| now.saturating_sub(at) < IN_VAIN);
        let believed = match (&known.identity, is_alone) {
            (None, _) => REFUSED,
            (Some(_), false) => BELIEVED,
            (Some(_), true) => BELIEVED_ALONE,
        };
        let has_ended = known.expires.is_some_and(|end| end <= self.clock.now().as_second());
        (known.is_younger(believed, now) && !has_ended).then_some(known)
    }

    fn remember(&self, tag: Tag, identity: Option<TokenIdentity>, expires: Option<i64>) {
        let now = self.clock.monotonic();
        let mut all = locked(&self.known);
        if all.len() >= REMEMBERED {
            all.retain(|_, known| {
                known.is_younger(if known.identity.is_some() { BELIEVED_ALONE } else { REFUSED }, now)
            });
        }
        if all.len() >= REMEMBERED {
            // Made-up tokens do not drive out good ones.
            all.retain(|_, known| known.identity.is_some());
        }
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(tag, Known { identity, at: now, in_vain_at: None, expires });
    }

    fn asked_in_vain(&self, tag: &Tag) {
        let now = self.clock.monotonic();
        if let Some(known) = locked(&self.known).get_mut(tag) {
            known.in_vain_at = Some(now);
        }
    }

    fn count(&self, outcome: &str) {
        self.outcomes.with_label_values(&[outcome]).inc();
    }
}

impl Known {
    fn is_younger(&self, limit: Duration, now: Duration) -> bool {
        now.saturating_sub(self.at) < limit
    }
}

/// One request's part in a question; the last one who gives up takes the question away.
struct Question<'a> {
    tokens: &'a Tokens,
    tag: Tag,
    answer: Arc<OnceCell<Answer>>,
}

impl<'a> Question<'a> {
    fn join(tokens: &'a Tokens, tag: Tag) -> Self {
        let mut asking = locked(&tokens.asking);
        let entry = asking.entry(tag).or_insert_with(|| Asking { answer: Arc::default(), waiting: 0 });
        entry.waiting += 1;
        Self { tokens, tag, answer: Arc::clone(&entry.answer) }
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        let mut asking = locked(&self.tokens.asking);
        // It may be another question by now.
        if let Some(entry) = asking.get_mut(&self.tag).filter(|entry| Arc::ptr_eq(&entry.answer, &self.answer)) {
            entry.waiting -= 1;
            if entry.waiting == 0 {
                asking.remove(&self.tag);
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether an identity may be kept. Leaving groups out could leave out the one that a `Deny` is about, so it is all or nothing.
fn is_of_bearable_size(identity: &TokenIdentity) -> bool {
    let bytes = identity.groups.iter().map(String::len).sum::<usize>() + identity.username.len();
    let good = !identity.username.is_empty() && identity.groups.len() <= MAX_GROUPS && bytes <= MAX_IDENTITY;
    if !good {
        tracing::warn!(
            groups = identity.groups.len(),
            bytes,
            "a token was refused: its user has no name, or too many groups"
        );
    }
    good
}

/// Whether a text looks like a JSON Web Token: nobody has such a password by accident.
pub(crate) fn is_token(text: &str) -> bool {
    claims(text).is_some()
}

/// The token's own end, read without proof: it only shortens how long a review is believed.
fn expiry(text: &str) -> Option<i64> {
    let claims = claims(text)?;
    let end = &claims["exp"];
    // A number of seconds, which may have a fraction; one that is no number ends it at once.
    #[expect(clippy::cast_possible_truncation, reason = "a float that is out of range becomes the nearest end")]
    let seconds = end.as_i64().or_else(|| end.as_f64().map(|seconds| seconds as i64));
    if end.is_null() { None } else { Some(seconds.unwrap_or_default()) }
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
