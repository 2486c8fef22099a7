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

/// An API server that counts who asks at once, and never answers.
#[derive(Default)]
struct Silent {
    asked: AtomicUsize,
    asking: AtomicUsize,
    most: AtomicUsize,
}

struct Unanswered<'a>(&'a Silent);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl TokenReviewer for Silent {
    async fn review(&self, _: &SecretString) -> Answer {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.most.fetch_max(self.asking.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let _unanswered = Unanswered(self);
        std::future::pending().await
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

#[expect(clippy::unnecessary_wraps, reason = "it is what the API server answers")]
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
async fn while_the_api_server_is_away_a_good_token_waits_for_it_seldom() {
    let setup = setup(builder());
    let token = jwt("{}");
    setup.tokens.review(&token).await.unwrap();
    setup.api_says(Err(ReviewUnavailable));
    setup.pass(61);
    for _ in 0..10 {
        assert_eq!(setup.tokens.review(&token).await, builder());
    }
    assert_eq!(setup.asked(), 2);
    setup.pass(6);
    setup.api_says(Ok(None));
    assert_eq!(setup.tokens.review(&token).await, Ok(None), "revoked while it was away");
}

#[tokio::test]
async fn a_refused_token_stays_refused_and_is_not_believed_alone() {
    let setup = setup(Ok(None));
    let token = jwt("{}");
    setup.tokens.review(&token).await.unwrap();
    setup.api_says(Err(ReviewUnavailable));
    setup.pass(6);
    assert_eq!(setup.tokens.review(&token).await, Err(ReviewUnavailable));
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_silent_is_asked_by_a_few_at_once_and_given_up() {
    let silent = Arc::new(Silent::default());
    let tokens = Tokens::new(silent.clone(), Arc::new(Hand::default()), &SystemRandom, &Registry::new()).unwrap();
    let all: Vec<SecretString> = (0..100).map(|number| jwt(&format!(r#"{{"n":{number}}}"#))).collect();
    let begun = tokio::time::Instant::now();
    let answers = futures::future::join_all(all.iter().map(|token| tokens.review(token))).await;
    assert!(answers.iter().all(|answer| *answer == Err(ReviewUnavailable)));
    assert!((TIMEOUT..TIMEOUT * 2).contains(&begun.elapsed()));
    assert_eq!(silent.most.load(Ordering::SeqCst), REVIEWS);
    assert_eq!(silent.asking.load(Ordering::SeqCst), 0);
    assert!(locked(&tokens.asking).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_goes_away_leaves_no_question_behind() {
    let silent = Arc::new(Silent::default());
    let tokens = Tokens::new(silent.clone(), Arc::new(Hand::default()), &SystemRandom, &Registry::new()).unwrap();
    let token = jwt("{}");
    for _ in 0..2 {
        let impatient = tokio::time::timeout(Duration::from_secs(1), tokens.review(&token));
        let patient = tokio::time::timeout(Duration::from_secs(2), tokens.review(&token));
        let (one, other) = tokio::join!(impatient, patient);
        assert!(one.is_err() && other.is_err());
        assert!(locked(&tokens.asking).is_empty());
    }
    assert_eq!(silent.asked.load(Ordering::SeqCst), 4, "who stays asks in place of who went");
}

#[tokio::test]
async fn made_up_tokens_do_not_drive_out_good_ones() {
    let setup = setup(builder());
    let token = jwt("{}");
    setup.tokens.review(&token).await.unwrap();
    setup.api_says(Ok(None));
    for number in 0..=REMEMBERED {
        setup.tokens.review(&SecretString::new(format!("made-up-{number}"))).await.unwrap();
    }
    assert!(locked(&setup.tokens.known).len() <= REMEMBERED);
    assert_eq!(setup.tokens.review(&token).await, builder());
}

#[tokio::test]
async fn users_beyond_all_measure_are_refused_whole() {
    let user = |username: &str, groups: usize, group: &str| {
        Ok(Some(TokenIdentity { username: username.to_owned(), groups: vec![group.to_owned(); groups] }))
    };
    for (answer, good) in [
        (user("jane", MAX_GROUPS, "g"), true),
        (user("jane", MAX_GROUPS + 1, "g"), false),
        (user("jane", 2, &"g".repeat(MAX_IDENTITY / 2)), false),
        (user(&"j".repeat(MAX_IDENTITY + 1), 0, ""), false),
        (user("", 1, "g"), false),
    ] {
        let setup = setup(answer.clone());
        assert_eq!(setup.tokens.review(&jwt("{}")).await, if good { answer } else { Ok(None) });
    }
}

#[tokio::test]
async fn nothing_is_asked_about_what_is_no_token() {
    let setup = setup(builder());
    for text in [String::new(), "x".repeat(MAX_TOKEN + 1)] {
        assert_eq!(setup.tokens.review(&SecretString::new(text)).await, Ok(None));
    }
    assert_eq!(setup.asked(), 0);
}

#[tokio::test]
async fn tokens_are_counted_by_what_became_of_them() {
    let registry = Registry::new();
    let api = Arc::new(Api::default());
    let tokens = Tokens::new(api.clone(), Arc::new(Hand::default()), &SystemRandom, &registry).unwrap();
    for (claims, answer) in
        [("{}", builder()), ("{}", builder()), (r#"{"a":1}"#, Ok(None)), (r#"{"b":1}"#, Err(ReviewUnavailable))]
    {
        *api.answer.lock().unwrap() = Some(answer);
        let _ = tokens.review(&jwt(claims)).await;
    }
    for outcome in ["remembered", "accepted", "refused", "unavailable"] {
        assert_eq!(tokens.outcomes.with_label_values(&[outcome]).get(), 1, "{outcome}");
    }
}

#[test]
fn a_tokens_end_is_read_as_it_is_written() {
    for (claims, end) in [
        ("{}", None),
        (r#"{"exp":null}"#, None),
        (r#"{"exp":30}"#, Some(30)),
        (r#"{"exp":30.9}"#, Some(30)),
        (r#"{"exp":-1}"#, Some(-1)),
        (r#"{"exp":1e300}"#, Some(i64::MAX)),
        (r#"{"exp":"soon"}"#, Some(0)),
    ] {
        assert_eq!(expiry(jwt(claims).expose()), end, "{claims}");
    }
    assert_eq!(expiry("opaque"), None);
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
