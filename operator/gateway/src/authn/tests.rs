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
    Identity::Known(Principal::LocalUser { namespace: namespace.parse().unwrap(), name: name.to_owned() })
}

#[tokio::test]
async fn a_user_is_looked_up_in_the_namespace_of_the_request_only() {
    let (authenticator, desired) = (Authenticator::new(&SystemRandom, None), desired());
    let (a, b): (Namespace, Namespace) = ("team-a".parse().unwrap(), "team-b".parse().unwrap());
    assert_eq!(authenticator.check(claim("alice", "secret"), Some(&a), &desired).await, known("team-a", "alice"));
    assert_eq!(authenticator.check(claim("alice", "secret"), Some(&b), &desired).await, Identity::Refused);
    assert_eq!(authenticator.check(claim("alice", "other"), Some(&b), &desired).await, known("team-b", "alice"));
    assert_eq!(authenticator.check(claim("alice", "wrong"), Some(&a), &desired).await, Identity::Refused);
    assert_eq!(authenticator.check(claim("mallory", "secret"), Some(&a), &desired).await, Identity::Refused);
    assert_eq!(authenticator.check(None, Some(&a), &desired).await, Identity::Anonymous);
}

#[tokio::test]
async fn an_account_id_names_the_namespace_by_itself() {
    let (authenticator, desired) = (Authenticator::new(&SystemRandom, None), desired());
    let user = format!("alice-at-{}", AccountId::of(&"team-b".parse().unwrap()));
    assert_eq!(authenticator.check(claim(&user, "other"), None, &desired).await, known("team-b", "alice"));
    assert_eq!(authenticator.check(claim("alice", "other"), None, &desired).await, Identity::Refused);
    assert_eq!(authenticator.check(claim("bob", "hashed"), None, &desired).await, known("team-a", "bob"));
}

#[tokio::test]
async fn a_hash_is_checked_once_and_again_when_it_changes() {
    let (authenticator, mut desired) = (Authenticator::new(&SystemRandom, None), desired());
    let namespace: Namespace = "team-a".parse().unwrap();
    for _ in 0..2 {
        assert_eq!(
            authenticator.check(claim("bob", "hashed"), Some(&namespace), &desired).await,
            known("team-a", "bob")
        );
    }
    let changed = Argon2::default().hash_password(b"new").unwrap().to_string();
    let bob = credential("team-a", "bob", CredentialSecret::Hash(SecretString::new(changed)));
    desired.credentials.insert(namespace.clone(), vec![bob]);
    assert_eq!(authenticator.check(claim("bob", "hashed"), Some(&namespace), &desired).await, Identity::Refused);
}

#[test]
fn headers_that_are_not_basic_are_refused() {
    for header in ["Bearer x", "Basic", "Basic !!!", "Basic YWxpY2U=", "basic"] {
        assert!(Claim::parse(Some(&HeaderValue::from_str(header).unwrap())).is_err(), "{header}");
    }
    assert!(Claim::parse(None).unwrap().is_none());
}
