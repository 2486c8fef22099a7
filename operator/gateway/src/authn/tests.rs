use model::clock::SystemRandom;

use super::*;

fn credential(namespace: &str, user: &str, secret: CredentialSecret) -> Arc<Credential> {
    Arc::new(Credential {
        namespace: namespace.parse().unwrap(),
        secret_name: format!("{user}-git"),
        user: user.to_owned(),
        username: user.to_owned(),
        secret,
    })
}

fn plain(text: &str) -> CredentialSecret {
    CredentialSecret::Password(SecretString::new(text.to_owned()))
}

fn desired() -> DesiredState {
    let hash = Argon2::default().hash_password(b"hashed").unwrap().to_string();
    let mut credentials = BTreeMap::new();
    let bob = credential("team-a", "bob", CredentialSecret::Hash(SecretString::new(hash)));
    credentials.insert("team-a".parse().unwrap(), vec![credential("team-a", "alice", plain("secret")), bob]);
    credentials.insert("team-b".parse().unwrap(), vec![credential("team-b", "alice", plain("other"))]);
    DesiredState { credentials, ..DesiredState::default() }
}

fn claim(user: &str, password: &str) -> Option<Claim> {
    let header = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    Claim::parse(Some(&HeaderValue::from_str(&header).unwrap())).unwrap()
}

fn known(namespace: &str, name: &str) -> Identity {
    Identity::Known(local(namespace, name), Proof::Nothing)
}

fn local(namespace: &str, name: &str) -> Principal {
    Principal::LocalUser { namespace: namespace.parse().unwrap(), name: name.to_owned() }
}

/// The answer without its proof.
fn who(identity: Identity) -> Identity {
    match identity {
        Identity::Known(principal, _) => Identity::Known(principal, Proof::Nothing),
        other => other,
    }
}

#[tokio::test]
async fn a_user_is_looked_up_in_the_namespace_of_the_request_only() {
    let (authenticator, desired) = (Authenticator::new(&SystemRandom, None), desired());
    let (a, b): (Namespace, Namespace) = ("team-a".parse().unwrap(), "team-b".parse().unwrap());
    assert_eq!(who(authenticator.check(claim("alice", "secret"), Some(&a), &desired).await), known("team-a", "alice"));
    assert_eq!(who(authenticator.check(claim("alice", "secret"), Some(&b), &desired).await), Identity::Refused);
    assert_eq!(who(authenticator.check(claim("alice", "other"), Some(&b), &desired).await), known("team-b", "alice"));
    assert_eq!(who(authenticator.check(claim("alice", "wrong"), Some(&a), &desired).await), Identity::Refused);
    assert_eq!(who(authenticator.check(claim("mallory", "secret"), Some(&a), &desired).await), Identity::Refused);
    assert_eq!(who(authenticator.check(None, Some(&a), &desired).await), Identity::Anonymous);
}

#[tokio::test]
async fn an_account_id_names_the_namespace_by_itself() {
    let (authenticator, desired) = (Authenticator::new(&SystemRandom, None), desired());
    let user = format!("alice-at-{}", AccountId::of(&"team-b".parse().unwrap()));
    assert_eq!(who(authenticator.check(claim(&user, "other"), None, &desired).await), known("team-b", "alice"));
    assert_eq!(who(authenticator.check(claim("alice", "other"), None, &desired).await), Identity::Refused);
    assert_eq!(who(authenticator.check(claim("bob", "hashed"), None, &desired).await), known("team-a", "bob"));
}

#[tokio::test]
async fn a_hash_is_checked_once_and_again_when_it_changes() {
    let (authenticator, mut desired) = (Authenticator::new(&SystemRandom, None), desired());
    let namespace: Namespace = "team-a".parse().unwrap();
    for _ in 0..2 {
        assert_eq!(
            who(authenticator.check(claim("bob", "hashed"), Some(&namespace), &desired).await),
            known("team-a", "bob")
        );
    }
    let changed = Argon2::default().hash_password(b"new").unwrap().to_string();
    let bob = credential("team-a", "bob", CredentialSecret::Hash(SecretString::new(changed)));
    desired.credentials.insert(namespace.clone(), vec![bob]);
    assert_eq!(who(authenticator.check(claim("bob", "hashed"), Some(&namespace), &desired).await), Identity::Refused);
}

fn bearer(token: &str) -> Option<Claim> {
    Claim::parse(Some(&HeaderValue::from_str(&format!("Bearer {token}")).unwrap())).unwrap()
}

/// An API server that knows two tokens, one of them opaque, and is away for all that end in `away`.
struct Api;

const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.e30.c2ln";
const OPAQUE: &str = "opaque";
const AWAY: &str = "eyJhbGciOiJSUzI1NiJ9.e30.away";

#[async_trait::async_trait]
impl token::TokenReviewer for Api {
    async fn review(&self, token: &SecretString) -> Result<Option<token::TokenIdentity>, ReviewUnavailable> {
        let is = |username: &str| {
            Ok(Some(token::TokenIdentity {
                username: username.to_owned(),
                groups: vec!["system:authenticated".to_owned()],
            }))
        };
        match token.expose() {
            TOKEN => is("system:serviceaccount:team-a:builder"),
            OPAQUE => is("jane"),
            AWAY => Err(ReviewUnavailable),
            _ => Ok(None),
        }
    }
}

fn in_a_cluster() -> Authenticator {
    let registry = prometheus::Registry::new();
    let clock = Arc::new(model::clock::SystemClock::new());
    Authenticator::new(&SystemRandom, Some(Tokens::new(Arc::new(Api), clock, &SystemRandom, &registry).unwrap()))
}

#[tokio::test]
async fn a_token_says_who_it_is_as_password_of_any_user_and_as_bearer() {
    let (authenticator, desired) = (in_a_cluster(), desired());
    let (a, b): (Namespace, Namespace) = ("team-a".parse().unwrap(), "team-b".parse().unwrap());
    let groups = vec!["system:authenticated".to_owned()];
    let builder = Principal::authenticated("system:serviceaccount:team-a:builder", groups.clone());
    let builder = Identity::Known(builder, Proof::Nothing);
    for claim in [claim("", TOKEN), claim("alice", TOKEN), claim("x-at-123456789012", TOKEN), bearer(TOKEN)] {
        assert_eq!(who(authenticator.check(claim, Some(&b), &desired).await), builder);
    }
    let jane = Identity::Known(Principal::authenticated("jane", groups), Proof::Nothing);
    assert_eq!(who(authenticator.check(bearer(OPAQUE), None, &desired).await), jane);
    // A password goes nowhere else, even one that the API server would know.
    assert_eq!(who(authenticator.check(claim("alice", OPAQUE), Some(&a), &desired).await), Identity::Refused);
    assert_eq!(who(authenticator.check(claim("alice", "secret"), Some(&a), &desired).await), known("team-a", "alice"));
    let forged = format!("{TOKEN}x");
    for claim in [claim("alice", &forged), bearer(&forged), bearer("")] {
        assert_eq!(who(authenticator.check(claim, Some(&a), &desired).await), Identity::Refused);
    }
    for claim in [claim("alice", AWAY), bearer(AWAY)] {
        assert_eq!(who(authenticator.check(claim, Some(&a), &desired).await), Identity::Unavailable);
    }
}

#[tokio::test]
async fn a_password_proves_nothing_any_more_when_its_secret_is_gone_or_has_another_one() {
    let (authenticator, desired) = (Authenticator::new(&SystemRandom, None), desired());
    let namespace: Namespace = "team-a".parse().unwrap();
    for (user, password) in [("alice", "secret"), ("bob", "hashed")] {
        let identity = authenticator.check(claim(user, password), Some(&namespace), &desired).await;
        let Identity::Known(principal, proof) = identity else { panic!("{identity:?}") };
        assert_eq!(proof.holds(&principal, &authenticator, &desired).await, Ok(()));
        let mut later = desired.clone();
        let all = later.credentials.get_mut(&namespace).unwrap();
        all.retain(|credential| credential.user != user);
        assert!(proof.holds(&principal, &authenticator, &later).await.is_err(), "it was removed");
        let all = later.credentials.get_mut(&namespace).unwrap();
        all.push(credential("team-a", user, plain("another")));
        assert!(proof.holds(&principal, &authenticator, &later).await.is_err(), "it was changed");
    }
}

#[tokio::test]
async fn a_key_proves_nothing_any_more_when_it_is_gone_or_somebody_elses() {
    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    let authenticator = Authenticator::new(&SystemRandom, None);
    let key = model::SshPublicKey::from_line(KEY).unwrap();
    let (proof, alice) = (Proof::Key(key.clone()), local("team-a", "alice"));
    for (namespace, user, holds) in [("team-a", "alice", true), ("team-a", "bob", false), ("team-b", "alice", false)] {
        let mut desired = DesiredState::default();
        desired.ssh_keys.add(&key, &namespace.parse().unwrap(), user).unwrap();
        assert_eq!(proof.holds(&alice, &authenticator, &desired).await.is_ok(), holds, "{namespace}/{user}");
    }
    assert!(proof.holds(&alice, &authenticator, &DesiredState::default()).await.is_err());
    assert!(proof.holds(&Principal::Anonymous, &authenticator, &DesiredState::default()).await.is_err());
    assert!(Proof::Nothing.holds(&alice, &authenticator, &DesiredState::default()).await.is_err());
    assert_eq!(Proof::Nothing.holds(&Principal::Anonymous, &authenticator, &DesiredState::default()).await, Ok(()));
}

#[tokio::test]
async fn a_token_proves_who_it_was_and_nobody_else() {
    let (authenticator, desired) = (in_a_cluster(), DesiredState::default());
    let identity = authenticator.check(bearer(OPAQUE), None, &desired).await;
    let Identity::Known(jane, proof) = identity else { panic!("{identity:?}") };
    assert_eq!(proof.holds(&jane, &authenticator, &desired).await, Ok(()));
    let others = Principal::authenticated("jane", vec![]);
    assert!(proof.holds(&others, &authenticator, &desired).await.unwrap_err().contains("changed"), "other groups");
    let token = |text: &str| Proof::Token(SecretString::new(text.to_owned()));
    assert!(token("revoked").holds(&jane, &authenticator, &desired).await.unwrap_err().contains("taken back"));
    assert!(token(AWAY).holds(&jane, &authenticator, &desired).await.unwrap_err().contains("is away"));
}

#[tokio::test]
async fn without_an_api_server_bearers_are_refused_and_passwords_may_look_like_tokens() {
    let (authenticator, mut desired) = (Authenticator::new(&SystemRandom, None), desired());
    let namespace: Namespace = "team-a".parse().unwrap();
    desired.credentials.insert(namespace.clone(), vec![credential("team-a", "alice", plain(TOKEN))]);
    assert_eq!(
        who(authenticator.check(claim("alice", TOKEN), Some(&namespace), &desired).await),
        known("team-a", "alice")
    );
    assert_eq!(who(authenticator.check(bearer(TOKEN), Some(&namespace), &desired).await), Identity::Refused);
}

#[tokio::test]
async fn long_tokens_are_read_and_long_passwords_are_not_hashed() {
    let authenticator = in_a_cluster();
    assert!(matches!(claim("x", &"p".repeat(16 << 10)), Some(Claim::Password { .. })));
    let long = claim("alice", &"p".repeat(MAX_PASSWORD + 1));
    assert_eq!(who(authenticator.check(long, Some(&"team-a".parse().unwrap()), &desired()).await), Identity::Refused);
    let header = HeaderValue::from_str(&format!("Bearer {}", "x".repeat(MAX_HEADER))).unwrap();
    assert!(Claim::parse(Some(&header)).is_err());
}

#[test]
fn headers_that_say_nothing_are_refused() {
    for header in ["Digest x", "Bearer", "Basic", "Basic !!!", "Basic YWxpY2U=", "basic", ""] {
        assert!(Claim::parse(Some(&HeaderValue::from_str(header).unwrap())).is_err(), "{header}");
    }
    assert!(Claim::parse(None).unwrap().is_none());
}
