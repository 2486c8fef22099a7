use std::os::unix::fs::PermissionsExt as _;

use model::clock::SystemRandom;

use super::*;

async fn open(folder: &Path, make: bool) -> Result<HostKeys, HostKeyError> {
    let random: Option<&dyn Random> = if make { Some(&SystemRandom) } else { None };
    HostKeys::open(folder, random, CancellationToken::new()).await
}

#[tokio::test]
async fn a_key_is_made_once_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    assert!(matches!(open(&keys, false).await, Err(HostKeyError::Read { .. })));
    let made = open(&keys, true).await.unwrap().public();
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].kind(), "ssh-ed25519");
    let permissions = std::fs::metadata(keys.join(MADE)).unwrap().permissions();
    assert_eq!(permissions.mode() & 0o777, 0o600);
    let public = std::fs::read_to_string(keys.join(format!("{MADE}.pub"))).unwrap();
    assert_eq!(SshPublicKey::from_line(&public).unwrap(), made[0]);
    assert_eq!(open(&keys, true).await.unwrap().public(), made);
    assert_eq!(open(&keys, false).await.unwrap().public(), made);
}

#[tokio::test]
async fn what_is_no_key_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = open(folder.path(), false).await.unwrap_err().to_string();
    assert!(error.contains("ssh-keygen -t ed25519"), "{error}");
    std::fs::write(folder.path().join("notes.txt"), "hello").unwrap();
    let error = open(folder.path(), true).await.unwrap_err().to_string();
    assert!(error.contains("notes.txt: it is no private key"), "{error}");
    std::fs::remove_file(folder.path().join("notes.txt")).unwrap();
    let rsa = folder.path().join("rsa");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f"])
        .arg(&rsa)
        .status();
    assert!(made.expect("ssh-keygen is there (Debian: apt-get install openssh-client)").success());
    let error = open(folder.path(), false).await.unwrap_err().to_string();
    assert!(error.contains("does not sign"), "{error}");
}

#[tokio::test]
async fn changed_keys_take_effect_and_bad_ones_do_not() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let keys = open(folder.path(), true).await.unwrap();
    let first = keys.public();
    open(other.path(), true).await.unwrap();
    let next = folder.path().join("z-next");
    std::fs::copy(other.path().join(MADE), &next).unwrap();
    let until = async |wanted: &dyn Fn(&[SshPublicKey]) -> bool| {
        let mut loaded = keys.loaded.clone();
        let wanted = loaded.wait_for(|loaded| wanted(&loaded.public));
        drop(tokio::time::timeout(Duration::from_secs(10), wanted).await.unwrap().unwrap());
    };
    until(&|public| public.len() == 2).await;
    assert_eq!(keys.public()[0], first[0], "the first by name signs");
    std::fs::remove_file(folder.path().join(MADE)).unwrap();
    until(&|public| public.len() == 1).await;
    assert_ne!(keys.public()[0], first[0]);
    std::fs::write(&next, "damaged").unwrap();
    tokio::time::sleep(INTERVAL * 2).await;
    assert_eq!(keys.public().len(), 1, "the last good ones stay");
}
