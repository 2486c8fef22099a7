use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use jiff::Timestamp;
use model::clock::SystemRandom;

use super::*;

/// A clock that a test moves.
#[derive(Default)]
struct Hand {
    seconds: AtomicU64,
    epoch: AtomicI64,
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        let seconds = i64::try_from(self.seconds.load(Ordering::SeqCst)).unwrap();
        Timestamp::from_second(self.epoch.load(Ordering::SeqCst) + seconds).unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.seconds.load(Ordering::SeqCst))
    }
}

#[derive(Default)]
struct Api {
    answer: Mutex<Option<Answer>>,
    asked: AtomicUsize,
}

#[async_trait]
impl TokenReviewer for Api {
    async fn review(&self, _: &SecretString) -> Answer {
        self.asked.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.answer.lock().unwrap().clone().unwrap()
    }
}

struct Setup {
    api: Arc<Api>,
    clock: Arc<Hand>,
    tokens: Arc<Tokens>,
}

fn setup(answer: Answer) -> Setup {
    let (api, clock) = (Arc::new(Api::default()), Arc::new(Hand::default()));
    *api.answer.lock().unwrap() = Some(answer);
    let tokens = Tokens::new(api.clone(), clock.clone(), &SystemRandom, &Registry::new()).unwrap();
    Setup { api, clock, tokens }
}

impl Setup {
    fn api_says(&self, answer: Answer) {
        *self.api.answer.lock().unwrap() = Some(answer);
    }

    fn pass(&self, seconds: u64) {
        self.clock.seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.api.asked.load(Ordering::SeqCst)
    }
}

fn builder() -> Answer {
    Ok(Some(TokenIdentity { username: "system:serviceaccount:team-a:builder".to_owned(), groups: vec![] }))
}

fn jwt(claims: &str) -> SecretString {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    SecretString::new(format!("{}.{}.c2ln", part(r#"{"alg":"RS256"}"#), part(claims)))
}

#[tokio::test]
async fn a_token_is_asked_about_once_a_minute() {
    let setup = setup(builder());
    let token = jwt("{}");
    for _ in 0..3 {
        assert_eq!(setup.tokens.review(&token).await, builder());
    }
    assert_eq!(setup.asked(), 1);
    setup.pass(61);
    setup.api_says(Ok(None));
    assert_eq!(setup.tokens.review(&token).await, Ok(None), "revoked");
    assert_eq!(setup.asked(), 2);
}

#[tokio::test]
async fn many_requests_with_one_token_ask_together() {
    let setup = setup(builder());
    let token = jwt("{}");
    let all = futures::future::join_all((0..50).map(|_| setup.tokens.review(&token))).await;
    assert!(all.iter().all(|answer| *answer == builder()));
    assert_eq!(setup.asked(), 1);
}

#[tokio::test]
async fn a_refused_token_is_asked_about_again_after_seconds() {
    let setup = setup(Ok(None));
    let token = jwt("{}");
    assert_eq!(setup.tokens.review(&token).await, Ok(None));
    setup.api_says(builder());
    assert_eq!(setup.tokens.review(&token).await, Ok(None));
    setup.pass(6);
    assert_eq!(setup.tokens.review(&token).await, builder());
}

#[tokio::test]
async fn known_tokens_work_ten_minutes_without_the_api_server_and_unknown_ones_do_not() {
    let setup = setup(builder());
    let token = jwt("{}");
    setup.tokens.review(&token).await.unwrap();
    setup.api_says(Err(ReviewUnavailable));
    setup.pass(300);
    assert_eq!(setup.tokens.review(&token).await, builder());
    assert_eq!(setup.tokens.review(&jwt(r#"{"sub":"x"}"#)).await, Err(ReviewUnavailable));
    setup.pass(301);
    assert_eq!(setup.tokens.review(&token).await, Err(ReviewUnavailable));
}

#[tokio::test]
async fn no_token_outlives_its_own_end() {
    let setup = setup(builder());
    let token = jwt(r#"{"exp":30}"#);
    setup.tokens.review(&token).await.unwrap();
    setup.api_says(Err(ReviewUnavailable));
    setup.pass(31);
    assert_eq!(setup.tokens.review(&token).await, Err(ReviewUnavailable));
}

#[test]
fn only_tokens_look_like_tokens() {
    assert!(is_token(jwt("{}").expose()));
    for text in ["", "a.b.c", "hunter2", "e30.e30.", "e30.e30", "e30.e30.c2ln.c2ln", "W10.e30.c2ln"] {
        assert!(!is_token(text), "{text}");
    }
}
