use serde_json::json;

use super::*;

fn pool(ssh: &serde_json::Value) -> PoolConfig {
    serde_json::from_value(json!({
        "name": "codekeep-git", "serviceAccountName": "codekeep-git", "image": "example.test/codekeep:1",
        "stores": [{"name": "default", "url": "s3://bucket/prefix"}], "externalUrl": "https://git.example.com", "ssh": ssh,
    }))
    .unwrap()
}

fn key(seed: u8) -> String {
    pki::host_key::from_seed(&[seed; 32]).unwrap()
}

#[test]
fn the_keys_of_a_secret_are_known_in_the_order_of_their_names() {
    let entry = |name: &str, text: &str| (name.to_owned(), ByteString(text.as_bytes().to_vec()));
    let one = BTreeMap::from([entry(MADE, &key(1)), entry("ssh_host_ed25519_key.pub", "ssh-ed25519 AAAA")]);
    let first = public(&one);
    assert_eq!(first.len(), 1);
    let mut two = one.clone();
    two.extend([entry("z_next", &key(2)), entry("broken", "no key")]);
    let both = public(&two);
    assert_eq!((both.len(), &both[0]), (2, &first[0]));
}

#[test]
fn a_namespace_knows_its_services_the_pool_and_the_name_outside() {
    let keys = public(&BTreeMap::from([(MADE.to_owned(), ByteString(key(1).into_bytes()))]));
    let pool_22 = pool(&json!({"enabled": true}));
    assert_eq!(
        known_hosts(&keys, "team-a", &pool_22, "codekeep-system"),
        format!(
            "*.team-a.svc,*.team-a.svc.cluster.local,codekeep-git.codekeep-system.svc,\
             codekeep-git.codekeep-system.svc.cluster.local,git.example.com {}\n",
            keys[0]
        )
    );
    let other = pool(&json!({"enabled": true, "port": 2222}));
    assert!(known_hosts(&keys, "team-a", &other, "codekeep-system").starts_with("[*.team-a.svc]:2222,"));
    assert_eq!(known_hosts(&[], "team-a", &other, "codekeep-system"), "");
    assert_eq!(clone_url("hello.team-a.svc", "team-a/hello", 22), "ssh://git@hello.team-a.svc/team-a/hello");
    assert_eq!(clone_url("hello.team-a.svc", "team-a/hello", 2222), "ssh://git@hello.team-a.svc:2222/team-a/hello");
}
