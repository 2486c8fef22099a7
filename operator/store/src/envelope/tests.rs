//! An encrypted repository on a bucket whose every byte is looked at.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use model::encryption::{Encryption, Envelope, SecretKey, WrappingKey};
use model::{RepositoryId, RepositoryPath};
use zeroize::Zeroizing;

use super::{KeyError, KeyService, KeySources, Manifests};
use crate::keys;
use crate::object::{ObjectStore as _, StoreError};
use crate::repository::tests::{Server, push, with_pack};
use crate::testing::MemoryStore;
use crate::{Error, Repository};

/// What a manifest says; a test may change it.
#[derive(Default)]
struct Manifest(Mutex<Option<Arc<Envelope>>>);

impl Manifests for Manifest {
    fn encryption(&self, _: &RepositoryPath) -> Option<Encryption> {
        Some(Encryption { kms_key_id: None, envelope: self.0.lock().unwrap().clone() })
    }
}

impl Manifest {
    fn say(&self, envelope: Option<Envelope>) {
        *self.0.lock().unwrap() = envelope.map(Arc::new);
    }
}

/// A service whose key may be taken away.
#[derive(Default)]
struct Service(Mutex<Option<KeyError>>);

impl Service {
    fn answer<T>(&self, done: T) -> Result<T, KeyError> {
        self.0.lock().unwrap().clone().map_or(Ok(done), Err)
    }
}

#[async_trait]
impl KeyService for Service {
    async fn wrap(&self, _: &str, id: &RepositoryId, plain: &[u8]) -> Result<Vec<u8>, KeyError> {
        let turned: Vec<u8> = plain.iter().map(|byte| !byte).collect();
        self.answer([id.as_str().as_bytes(), &turned].concat())
    }

    async fn unwrap(&self, _: &str, id: &RepositoryId, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let turned = wrapped.strip_prefix(id.as_str().as_bytes());
        let turned = turned.ok_or_else(|| KeyError::Refused("another repository's".to_owned()))?;
        self.answer(Zeroizing::new(turned.iter().map(|byte| !byte).collect()))
    }
}

struct Bed {
    bucket: MemoryStore,
    manifest: Arc<Manifest>,
    service: Arc<Service>,
}

impl Bed {
    fn new(envelope: Envelope) -> Self {
        let bed = Self { bucket: MemoryStore::default(), manifest: Arc::default(), service: Arc::default() };
        bed.manifest.say(Some(envelope));
        bed
    }

    fn server(&self) -> Server {
        let service: Arc<dyn KeyService> = Arc::clone(&self.service) as _;
        let services = BTreeMap::from([("vault".to_owned(), service)]);
        let manifests = Arc::clone(&self.manifest) as Arc<dyn Manifests>;
        Server::with_keys(self.bucket.clone(), KeySources { manifests, services })
    }

    /// Numbers of the keyrings in the bucket that hold keys, and what wraps the last one.
    async fn keyrings(&self, id: &RepositoryId) -> (Vec<u64>, String) {
        let (mut numbers, mut last) = (vec![], String::new());
        for object in self.bucket.list(&keys::keyring_all(id), None, 100).await.unwrap() {
            let bytes = self.bucket.get(&object.key).await.unwrap().unwrap();
            if bytes.starts_with(b"{") {
                numbers.extend(keys::number(&object.key));
                last = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
        (numbers, last)
    }
}

fn secret(byte: u8) -> SecretKey {
    let key: Vec<u8> = (0..32).map(|at| byte ^ at).collect();
    SecretKey::parse(&STANDARD.encode(key)).unwrap()
}

fn by_secret(bytes: &[u8], data_key: u32) -> Envelope {
    let secrets: BTreeMap<_, _> = bytes.iter().map(|byte| (secret(*byte).fingerprint(), secret(*byte))).collect();
    let fingerprint = secret(bytes[0]).fingerprint();
    Envelope { wrap_with: WrappingKey::Secret { fingerprint }, secrets, data_key }
}

fn by_service() -> Envelope {
    let wrap_with = WrappingKey::Service { name: "vault".to_owned(), key_id: "team-a".to_owned() };
    Envelope { wrap_with, secrets: BTreeMap::new(), data_key: 1 }
}

async fn pushed(repository: &Arc<Repository>, branch: &str, number: u32) {
    let push = push(&[(branch, None, Some(number))]);
    repository.commit(with_pack(push, b"the very secret content of a pack")).await.unwrap();
}

async fn refusal(server: &Server) -> String {
    let opened = async {
        let id = server.repositories.find_or_create(&"team-a/hello".parse().unwrap()).await?;
        server.repositories.open(&id).await?.snapshot().await
    };
    match opened.await {
        Err(Error::Store(StoreError::Locked { repository, reason })) => format!("{repository}: {reason}"),
        other => panic!("it is not locked: {other:?}"),
    }
}

async fn damage(server: &Server) -> String {
    let id = server.repositories.find_or_create(&"team-a/hello".parse().unwrap()).await.unwrap();
    let error = server.repositories.open(&id).await.err().expect("damage");
    assert!(error.is_damage(), "{error}");
    error.to_string()
}

#[tokio::test]
async fn nothing_that_was_pushed_can_be_read_in_the_bucket() {
    let bed = Bed::new(by_secret(&[1], 1));
    let server = bed.server();
    let repository = server.open().await;
    pushed(&repository, "confidential-branch", 7).await;
    repository.maintain().await.unwrap();
    for object in bed.bucket.list("", None, 1_000).await.unwrap() {
        let bytes = bed.bucket.get(&object.key).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for plain in ["secret content", "confidential", "alice", "CKLOG"] {
            assert!(!text.contains(plain), "{} has '{plain}'", object.key);
        }
        assert!(bytes.starts_with(b"CKENV") || object.key.contains("/keys/") || object.key.starts_with("catalog/"));
    }
    let again = bed.server();
    let found = again.open().await.snapshot().await.unwrap();
    assert_eq!((found.generation, found.refs.len()), (1, 1));
}

#[tokio::test]
async fn without_its_key_one_repository_says_so_and_the_others_go_on() {
    let bed = Bed::new(by_secret(&[1], 1));
    pushed(&bed.server().open().await, "main", 1).await;
    bed.manifest.say(Some(by_secret(&[2], 1)));
    let wrong = refusal(&bed.server()).await;
    assert!(wrong.contains("team-a/hello") && wrong.contains(&secret(1).fingerprint()), "{wrong}");
    bed.manifest.say(None);
    let silent = refusal(&bed.server()).await;
    assert!(silent.contains("spec.encryption.envelope"), "{silent}");
    // Another repository of the same bucket, which is not encrypted.
    let server = bed.server();
    let other = server.repositories.find_or_create(&"team-b/plain".parse().unwrap()).await.unwrap();
    server.repositories.open(&other).await.unwrap().snapshot().await.unwrap();
    bed.manifest.say(Some(by_secret(&[1], 1)));
    assert_eq!(bed.server().open().await.snapshot().await.unwrap().generation, 1);
}

#[tokio::test]
async fn a_plain_repository_is_not_encrypted_half_way() {
    let bed = Bed::new(by_service());
    bed.manifest.say(None);
    pushed(&bed.server().open().await, "main", 1).await;
    bed.manifest.say(Some(by_service()));
    let refused = refusal(&bed.server()).await;
    assert!(refused.contains("was made without"), "{refused}");
}

#[tokio::test]
async fn wrapping_keys_change_without_a_pause_and_old_ones_are_of_no_use() {
    let bed = Bed::new(by_secret(&[1], 1));
    let server = bed.server();
    let repository = server.open().await;
    pushed(&repository, "one", 1).await;
    bed.manifest.say(Some(by_secret(&[2, 1], 1)));
    pushed(&repository, "two", 2).await;
    let (numbers, last) = bed.keyrings(repository.id()).await;
    assert!(numbers == [2] && last.contains(&secret(2).fingerprint()), "{numbers:?} {last}");
    // From the Secret to the service; the Secret is needed once more.
    bed.manifest.say(Some(Envelope { wrap_with: by_service().wrap_with, ..by_secret(&[2], 1) }));
    pushed(&repository, "three", 3).await;
    bed.manifest.say(Some(by_service()));
    let fresh = bed.server().open().await.snapshot().await.unwrap();
    assert_eq!((fresh.refs.len(), bed.keyrings(repository.id()).await.0), (3, vec![3]));
}

#[tokio::test]
async fn a_new_data_key_encrypts_what_comes_and_every_server_learns_of_it() {
    let bed = Bed::new(by_secret(&[1], 1));
    let (server, other) = (bed.server(), bed.server());
    let (repository, elsewhere) = (server.open().await, other.open().await);
    pushed(&repository, "one", 1).await;
    assert_eq!(elsewhere.snapshot().await.unwrap().generation, 1);
    bed.manifest.say(Some(by_secret(&[1], 3)));
    pushed(&repository, "two", 2).await;
    let entry = bed.bucket.get(&keys::log_entry(repository.id(), 2)).await.unwrap().unwrap();
    assert_eq!(entry[8..12], 3_u32.to_be_bytes());
    // The manifest of this one is still the old one.
    bed.manifest.say(Some(by_secret(&[1], 1)));
    assert_eq!(elsewhere.snapshot().await.unwrap().generation, 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_taken_away_is_noticed_and_one_that_is_not_reached_is_waited_for() {
    let bed = Bed::new(by_service());
    let server = bed.server();
    let repository = server.open().await;
    pushed(&repository, "one", 1).await;
    let minutes = |minutes| tokio::time::advance(std::time::Duration::from_mins(minutes));
    *bed.service.0.lock().unwrap() = Some(KeyError::Unavailable("no answer".to_owned()));
    minutes(30).await;
    pushed(&repository, "two", 2).await;
    minutes(31).await;
    assert!(refusal(&server).await.contains("no answer"));
    *bed.service.0.lock().unwrap() = None;
    pushed(&repository, "three", 3).await;
    *bed.service.0.lock().unwrap() = Some(KeyError::Refused("the key is disabled".to_owned()));
    minutes(6).await;
    assert!(refusal(&server).await.contains("disabled"));
}

#[tokio::test]
async fn moved_and_changed_objects_are_reported() {
    let bed = Bed::new(by_secret(&[1], 1));
    let repository = bed.server().open().await;
    pushed(&repository, "one", 1).await;
    let (first, second) = (keys::log_entry(repository.id(), 1), keys::log_entry(repository.id(), 2));
    let mut bytes = bed.bucket.get(&first).await.unwrap().unwrap().to_vec();
    bed.bucket.put(&second, Bytes::from(bytes.clone())).await.unwrap();
    assert!(damage(&bed.server()).await.contains(&second));
    bed.bucket.delete(&second).await.unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    bed.bucket.put(&first, Bytes::from(bytes)).await.unwrap();
    bed.bucket.delete(&keys::hint(repository.id())).await.unwrap();
    assert!(damage(&bed.server()).await.contains(&first));
}

#[tokio::test]
async fn what_follows_from_the_log_costs_no_truth_when_it_does_not_decrypt() {
    let bed = Bed::new(by_secret(&[1], 1));
    let server = bed.server();
    let repository = server.open().await;
    for number in 1..4 {
        pushed(&repository, &format!("branch-{number}"), number).await;
    }
    for key in [keys::hint(repository.id()), keys::checkpoint(repository.id(), 2), keys::references(repository.id(), 2)]
    {
        bed.bucket.put(&key, Bytes::from_static(b"bytes that have changed")).await.unwrap();
    }
    assert_eq!(bed.server().open().await.snapshot().await.unwrap().digest, repository.known().digest);
}
