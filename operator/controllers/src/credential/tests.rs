use model::desired::CredentialSecret;
use serde_json::{Value, json};

use super::credential;
use crate::manifest::Id;
use crate::secret::Secret;

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21l$uW4XDsCZfUKPJFnkVxzGbVZgvpGkHZTVeBLDmcY4OzE";

fn read(document: &Value) -> (Option<model::desired::Credential>, Vec<String>) {
    let id = Id { kind: "Secret", namespace: "team-a".parse().unwrap(), name: "alice-git".to_owned() };
    let (secret, mut findings) = Secret::read(document);
    let (credential, more) = credential(&secret, &id);
    findings.extend(more);
    (credential, findings.into_iter().map(|finding| format!("{}: {}", finding.field, finding.message)).collect())
}

#[test]
fn good_credentials_are_read_from_text_and_base64() {
    let (credential, findings) = read(&json!({"stringData": {"user": "alice", "password": "hunter2 "}}));
    let credential = credential.unwrap();
    assert_eq!(findings, [] as [String; 0]);
    assert_eq!((credential.user.as_str(), credential.username.as_str()), ("alice", "alice"));
    assert!(matches!(&credential.secret, CredentialSecret::Password(text) if text.expose() == "hunter2 "));

    let document = json!({"data": {"user": "Ym9i", "username": "YWxpY2U="}, "stringData": {"user": "alice", "username": "alice@example.com", "passwordHash": HASH}});
    let (credential, findings) = read(&document);
    let credential = credential.unwrap();
    assert_eq!(findings, [] as [String; 0]);
    assert_eq!((credential.user.as_str(), credential.username.as_str()), ("alice", "alice@example.com"));
    assert!(matches!(&credential.secret, CredentialSecret::Hash(text) if text.expose() == HASH));
}

#[test]
fn bad_credentials_are_refused_without_showing_them() {
    let cases = [
        (json!({"stringData": {"password": "tell-nobody"}}), "stringData.user: is missing"),
        (json!({"stringData": {"user": "alice"}}), "stringData.passwordHash: is missing; give either"),
        (
            json!({"stringData": {"user": "alice", "password": "tell-nobody", "passwordHash": HASH}}),
            "stringData.password: is there as well",
        ),
        (
            json!({"stringData": {"user": "alice", "pasword": "tell-nobody"}}),
            "stringData.pasword: there is no such entry; did you mean password?",
        ),
        (json!({"stringData": {"user": "alice", "password": 12_345}}), "stringData.password: must be a text"),
        (json!({"stringData": {"user": "alice", "password": ""}}), "stringData.password: must have 1 to"),
        (json!({"data": {"user": "YWxpY2UK", "password": "eA=="}}), "data.user: must have at most 128"),
        (json!({"data": {"user": "YWxpY2U=", "password": "dGVsbC1ub2JvZHkK"}}), "printf, not echo"),
        (json!({"data": {"user": "YWxpY2U=", "password": "tell-nobody"}}), "data.password: is not base64"),
        (json!({"data": {"user": "YWxpY2U=", "password": "/w=="}}), "data.password: does not decode to text"),
        (json!({"stringData": ["tell-nobody"]}), "stringData: must be a mapping"),
        (json!({"stringData": {"user": "alice-at-123456789012", "password": "tell-nobody"}}), "-at- and 12 digits"),
        (
            json!({"stringData": {"user": "alice", "username": "a:b", "password": "tell-nobody"}}),
            "stringData.username: must not hold ':'",
        ),
        (json!({"stringData": {"user": "alice", "passwordHash": "tell-nobody"}}), "is not an argon2id hash"),
        (
            json!({"stringData": {"user": "alice", "passwordHash": HASH.replace("argon2id", "argon2i")}}),
            "is not an argon2id hash",
        ),
        (
            json!({"stringData": {"user": "alice", "passwordHash": "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21l"}}),
            "salt or hash is missing",
        ),
        (json!({"stringData": {"user": "alice", "passwordHash": HASH.replace("19456", "4194304")}}), "costs too much"),
        (json!({"stringData": {"user": "alice", "passwordHash": HASH.replace("t=2", "t=2000")}}), "costs too much"),
    ];
    for (document, wanted) in cases {
        let (_, findings) = read(&document);
        assert!(findings.iter().any(|finding| finding.contains(wanted)), "{document}: {findings:#?}");
        let shown = format!("{findings:?}");
        assert!(!shown.contains("tell-nobody") && !shown.contains("c29tZXNhbHRzb21l"), "{shown}");
    }
}
