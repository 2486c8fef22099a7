use std::path::Path;

use model::ssh_key::SshKeys;

use super::*;
use crate::authn::late::{Late, host_keys};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

async fn passes(folder: &Path, late: i64) -> Passes {
    Passes::new(host_keys(folder).await, Arc::new(Late(late)))
}

fn bearer() -> Bearer {
    let key = SshPublicKey::from_line(KEY).unwrap();
    let path = "team-a/hello".parse().unwrap();
    Bearer { key, home: "team-a".parse().unwrap(), user: "alice".to_owned(), path }
}

/// A state in which the key is that of a user.
fn desired(user: &str) -> DesiredState {
    let mut ssh_keys = SshKeys::default();
    ssh_keys.add(&SshPublicKey::from_line(KEY).unwrap(), &"team-a".parse().unwrap(), user).unwrap();
    DesiredState { ssh_keys, ..DesiredState::default() }
}

fn check(passes: &Passes, header: &str, path: &str, desired: &DesiredState) -> Option<Principal> {
    let path: RepositoryPath = path.parse().unwrap();
    let header = HeaderValue::from_str(header).unwrap();
    passes.check(parse(&header).unwrap(), (Some(&path.namespace), &path.name), desired).map(|(principal, _)| principal)
}

#[tokio::test]
async fn a_pass_is_its_user_on_every_server_with_the_same_host_keys() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (passes(folder.path(), 0).await, passes(folder.path(), 60).await);
    let (header, _) = here.issue(&bearer()).unwrap();
    let alice = Principal::LocalUser { namespace: "team-a".parse().unwrap(), name: "alice".to_owned() };
    assert_eq!(check(&there, &header, "team-a/hello", &desired("alice")), Some(alice.clone()));
    let named = HeaderValue::from_str(&header).unwrap();
    let found = there.check(parse(&named).unwrap(), (None, &"hello".parse().unwrap()), &desired("alice"));
    assert_eq!(found, Some((alice, Proof::Key(bearer().key))));
}

#[tokio::test]
async fn a_pass_is_for_one_repository_and_ends_with_its_time_and_with_the_key() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let here = passes(folder.path(), 0).await;
    let (header, _) = here.issue(&bearer()).unwrap();
    assert_eq!(check(&here, &header, "team-a/other", &desired("alice")), None);
    assert_eq!(check(&here, &header, "team-b/hello", &desired("alice")), None);
    assert_eq!(check(&here, &header, "team-a/hello", &desired("bob")), None, "the key is somebody else's now");
    assert_eq!(check(&here, &header, "team-a/hello", &DesiredState::default()), None, "the key was taken back");
    let late = passes(folder.path(), 61 * 60).await;
    assert_eq!(check(&late, &header, "team-a/hello", &desired("alice")), None);
    let stranger = passes(other.path(), 0).await;
    assert_eq!(check(&stranger, &header, "team-a/hello", &desired("alice")), None);
}

#[tokio::test]
async fn a_changed_pass_does_not_hold() {
    let folder = tempfile::tempdir().unwrap();
    let here = passes(folder.path(), 0).await;
    let (header, _) = here.issue(&bearer()).unwrap();
    for place in SCHEME.len() + 1..header.len() {
        let mut changed = header.clone().into_bytes();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        // The last character of an encoded seal has bits that mean nothing, which are refused as well.
        assert_eq!(check(&here, &changed, "team-a/hello", &desired("alice")), None, "{place}");
    }
    for pass in ["", ".", "e30.", &"a".repeat(20_000)] {
        assert_eq!(here.check(pass, (None, &"hello".parse().unwrap()), &desired("alice")), None);
    }
}
