use proptest::prelude::*;

use super::*;

/// Keys that `ssh-keygen` made, with the fingerprints that it prints.
const KEYS: [(&str, &str); 5] = [
    (
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHapC1nNYVxTfr4gK/QslOk1Wjs/K+F0gPw627KV5HAK test",
        "SHA256:rAmI20lRFIzFG8BNOYLNtRpgOUunSsfGhKPtTjDo4I8",
    ),
    (
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBBnQcN9eBYj9KBh8UH2oIwJVo2T/ELet9hn6L1xrm5NO8eiYI2e7WakXON6kFQZbq+0SINzqE7N7o+cApIpSCdI= test",
        "SHA256:LL97q2OnmVz0fW9wim+eyme8nXIZ9cKUcOz3niWKu2I",
    ),
    (
        "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBPuB55yZwr3lHJqcgQkFT4inoC2outYzmPHCmJp3zK9Il5HEjeogIWGskP05OW5/oY/7479nigEO8n4kwnhF7zLMJ8ShWIpey6fgLGN7LgfB8w/Q528SPKqrVPXiWuEFTg== test",
        "SHA256:VbFUxuOagkedeRuSEUy7GQixPw57kIZyvlOrGJJrfSM",
    ),
    (
        "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAELc6W8wYDJLoAsxmxFsBNoM/hsQO5U9jJTRu77Z+kb/y3YcIf3lxsxwp8/LsuvIO0vpiVK5NFMvhIM3AmycwLCugEYUxSi9iWA4gs2FyqXDosquJQcjP4uqNiUJdRFgcPeY7TFdKEL+GkkeTA7txpbQdHUInAoUZtsNLX78gKrXABiTQ== test",
        "SHA256:kd7nrtSEjrYF3h6LKw6TsgB8xz5/750LePk6Tz7sTY0",
    ),
    (
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQClDoxNAylnaYiD5mQTgpi4pMal1ckS4087oo/1L2VsR3lyASKXJZSV/KTaE4slH3mpKvQ3DFS2L090iTpucW9b/W811HNlLaItF3vhdCBogv9wNxyv7WfO4zV9m6OX0y+z1VwxG96CK3PjmhCb2vRW46UVKcG6XWUbbuqolvy8W4+ebnt/0+x3hgcV8UJECB8JJixlQ9FWTbMAU1NbCsBUTC8gpvWVGUhfhoRYBazq8zESx/mFS2zKWZ26uyMKGIEuiubVwHAL34/RxZV8lH7kDJJpYdOrw/jRf2ovkScJ1dkPfTjANNIiM2J4/erLSprXVr2xxN5zGumUgu+5GFGF test",
        "SHA256:l+qAFADQVc1yHoQILzy5XJWwE6FEpgaPjD0w0d/Sbic",
    ),
];
const SMALL_RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC6hR+UYZW43+mGhb/W4WYoR10sgXM7bARcwB6otnT34vhg16AsSm9fVD8uHt6GniyoYgjCmA4ITBT6nFZ+4UGTaGr4caJrFyH2bJZM4dSyjZxPZVzDfix3VEhsgLBxaqhkaqe7l0T2skxl+gWS1CAxBtPlQfSEhj9QBw8qkRUO2w== test";

/// A blob of fields.
fn blob(fields: &[&[u8]]) -> Vec<u8> {
    let length = |field: &&[u8]| u32::try_from(field.len()).unwrap().to_be_bytes();
    fields.iter().flat_map(|field| [length(field).as_slice(), field].concat()).collect()
}

fn line(kind: &str, fields: &[&[u8]]) -> String {
    format!("{kind} {}", STANDARD.encode(blob(fields)))
}

#[test]
fn keys_of_ssh_keygen_are_read_with_its_fingerprints() {
    for (line, fingerprint) in KEYS {
        let key = SshPublicKey::from_line(line).unwrap();
        assert_eq!(key.fingerprint(), fingerprint);
        assert_eq!(key.to_string(), line.strip_suffix(" test").unwrap());
        assert_eq!(SshPublicKey::from_blob(key.blob()).unwrap(), key);
        assert_eq!(SshPublicKey::from_line(&format!("  {line} and more words ")).unwrap(), key);
    }
}

#[test]
fn keys_in_hardware_are_read() {
    let kind = "sk-ssh-ed25519@openssh.com";
    let key = SshPublicKey::from_line(&line(kind, &[kind.as_bytes(), &[7; 32], b"ssh:"])).unwrap();
    assert_eq!(key.kind(), kind);
    let (kind, point) = ("sk-ecdsa-sha2-nistp256@openssh.com", [&[4][..], &[9; 64]].concat());
    let key = SshPublicKey::from_line(&line(kind, &[kind.as_bytes(), b"nistp256", &point, b"ssh:"])).unwrap();
    assert_eq!(key.kind(), kind);
}

#[test]
fn what_is_no_key_is_refused_in_words() {
    let ed25519 = KEYS[0].0;
    let cut = ed25519.split_at(60).0.to_owned();
    let other_kind = ed25519.replacen("ssh-ed25519", "ecdsa-sha2-nistp256", 1);
    let cases = [
        (String::new(), KeyError::Form),
        ("alice's key".to_owned(), KeyError::Form),
        ("-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(), KeyError::Private),
        (format!("no-pty,command=\"ls\" {ed25519}"), KeyError::Options),
        (format!("from=\"10.0.0.0/8, 10.1.0.0/8\" {ed25519}"), KeyError::Options),
        ("ssh-ed25519-cert-v01@openssh.com AAAA".to_owned(), KeyError::Certificate),
        ("ssh-dss AAAA".to_owned(), KeyError::Kind),
        (cut, KeyError::Damaged),
        (other_kind, KeyError::Damaged),
        ("ssh-ed25519".to_owned(), KeyError::Damaged),
        ("ssh-ed25519 %%%%".to_owned(), KeyError::Damaged),
        (line("ssh-ed25519", &[b"ssh-ed25519", &[1; 31]]), KeyError::Damaged),
        (line("ssh-ed25519", &[b"ssh-ed25519", &[1; 32], b"more"]), KeyError::Damaged),
        (line("ssh-rsa", &[b"ssh-rsa", &[1, 0, 1], &[0x80; 256]]), KeyError::Damaged),
        (line("ssh-rsa", &[b"ssh-rsa", &[], &[0x7f; 256]]), KeyError::Damaged),
        (SMALL_RSA.to_owned(), KeyError::RsaBits(1_024)),
        (line("ssh-rsa", &[b"ssh-rsa", &[1, 0, 1], &[0x7f; 3_000]]), KeyError::RsaBits(23_999)),
    ];
    for (line, expected) in cases {
        assert_eq!(SshPublicKey::from_line(&line).unwrap_err(), expected, "{line}");
    }
}

#[test]
fn a_key_may_be_of_users_of_several_namespaces_but_of_one_user_in_each() {
    let key = SshPublicKey::from_line(KEYS[0].0).unwrap();
    let (team_a, team_b): (Namespace, Namespace) = ("team-a".parse().unwrap(), "team-b".parse().unwrap());
    let mut keys = SshKeys::default();
    keys.add(&key, &team_a, "alice").unwrap();
    keys.add(&key, &team_b, "alina").unwrap();
    keys.add(&key, &team_a, "alice").unwrap();
    assert_eq!(keys.add(&key, &team_a, "mallory").unwrap_err(), "alice");
    assert_eq!(keys.users(&key).unwrap()[&team_a], "alice");
    assert_eq!(keys.users(&SshPublicKey::from_line(KEYS[1].0).unwrap()), None);
}

proptest! {
    #[test]
    fn no_text_and_no_bytes_make_it_panic(text in ".{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = SshPublicKey::from_line(&text);
        let _ = SshPublicKey::from_line(&format!("ssh-ed25519 {text}"));
        let _ = SshPublicKey::from_blob(&bytes);
        let _ = SshPublicKey::from_blob(&blob(&[b"ssh-rsa", &bytes, &bytes]));
    }
}
