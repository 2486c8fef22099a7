use serde_json::{Value, json};

use super::*;

const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHapC1nNYVxTfr4gK/QslOk1Wjs/K+F0gPw627KV5HAK test";
const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBBnQcN9eBYj9KBh8UH2oIwJVo2T/ELet9hn6L1xrm5NO8eiYI2e7WakXON6kFQZbq+0SINzqE7N7o+cApIpSCdI= test";

fn read(document: &Value) -> (Option<SshCredential>, Vec<String>) {
    let (secret, findings) = Secret::read(document);
    let id = Id { kind: "Secret", namespace: "team-a".parse().unwrap(), name: "alice-laptop".into() };
    let (credential, more) = ssh_key(&secret, &id);
    let findings = [findings, more].concat();
    (credential, findings.iter().map(|finding| format!("{}: {}", finding.field, finding.message)).collect())
}

#[test]
fn one_key_or_several_are_read() {
    let (credential, findings) = read(&json!({"stringData": {"user": "alice", "publicKey": ED25519}}));
    assert_eq!(findings, Vec::<String>::new());
    assert_eq!(credential.unwrap().keys.len(), 1);
    let lines = format!("# laptop\n{ED25519}\n\n  {ECDSA}\r\n");
    let (credential, findings) = read(&json!({"stringData": {"user": "alice", "publicKey": lines}}));
    assert_eq!(findings, Vec::<String>::new());
    let kinds: Vec<String> = credential.unwrap().keys.iter().map(|key| key.kind().to_owned()).collect();
    assert_eq!(kinds, ["ssh-ed25519", "ecdsa-sha2-nistp256"]);
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let many = format!("{ED25519}\n").repeat(65);
    let cases = [
        (json!({"user": "alice"}), "stringData.publicKey: is missing"),
        (json!({"user": "alice", "publicKey": "\n# nothing\n"}), "stringData.publicKey: is missing"),
        (json!({"publicKey": ED25519}), "stringData.user: is missing"),
        (json!({"user": "alice", "publickey": ED25519}), "did you mean"),
        (json!({"user": "alice", "publicKey": format!("{ED25519}\nssh-rsa AAAA")}), "line 2 is cut off or damaged"),
        (json!({"user": "alice", "publicKey": format!("no-pty {ED25519}")}), "line 1 has options before the key"),
        (json!({"user": "alice", "publicKey": "-----BEGIN OPENSSH PRIVATE KEY-----"}), "line 1 is a private key"),
        (json!({"user": "alice", "publicKey": many}), "holds more than 64 keys"),
    ];
    for (entries, wanted) in cases {
        let (_, findings) = read(&json!({"stringData": entries}));
        assert!(findings.iter().any(|finding| finding.contains(wanted)), "{entries}: {findings:#?}");
    }
}
