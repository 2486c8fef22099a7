//! What a server that knows nothing asks the store for, and what becomes of hints and checkpoints that lie.

use std::time::Duration;

use model::RefName;

use super::super::hint::Hint;
use super::super::tests::{Server, id, many, push, settled, with_pack};
use super::*;
use crate::ObjectStore as _;
use crate::testing::MemoryStore;

/// Calls of an operation since `before`.
fn since(store: &MemoryStore, before: &std::collections::BTreeMap<&'static str, u64>, operation: &str) -> u64 {
    store.calls().get(operation).copied().unwrap_or(0) - before.get(operation).copied().unwrap_or(0)
}

fn key_of(store: &MemoryStore, part: &str) -> String {
    store.keys().into_iter().rev().find(|key| key.contains(part)).unwrap()
}

/// A server that has learned the ids, and nothing else.
async fn cold(store: &MemoryStore) -> Server {
    let server = Server::new(store.clone());
    server.repositories.learn(vec!["team-a/hello".parse().unwrap()]).await;
    server
}

/// The state as the log alone has it.
async fn truth(store: &MemoryStore, repository: &Repository) -> Snapshot {
    let mut latest = Latest::empty();
    let mut reader = Reader::new(store, repository.id());
    follow(&mut latest, &mut reader, repository.id(), u64::MAX).await.unwrap();
    latest.snapshot
}

fn assert_same(known: &Snapshot, truth: &Snapshot, what: &str) {
    assert_eq!((known.generation, known.digest), (truth.generation, truth.digest), "{what}");
    assert!(known.refs.is_same(&truth.refs), "{what}");
    assert_eq!((known.pushes, known.packs.len()), (truth.pushes, truth.packs.len()), "{what}");
}

#[tokio::test]
async fn a_cold_server_asks_twice_for_references_and_once_more_for_a_pack() {
    let store = MemoryStore::default();
    let server = Server::new(store.clone());
    let repository = server.open().await;
    let small = with_pack(push(&[("main", None, Some(1))]), b"pack");
    repository.commit(small).await.unwrap();
    settled(&store, &repository).await;
    let server = cold(&store).await;
    let before = store.calls();
    let id = server.repositories.find_or_create(&"team-a/hello".parse().unwrap()).await.unwrap();
    let (opened, snapshot) = server.repositories.open_within(&id, Duration::ZERO).await.unwrap();
    assert_eq!(snapshot.refs.len(), 1);
    let asked = |operations: &[&str]| operations.iter().map(|name| since(&store, &before, name)).sum::<u64>();
    assert_eq!((asked(&["get"]), asked(&["list", "create", "put", "download"])), (2, 0));
    opened.local_packs(&snapshot).await.unwrap();
    assert_eq!((asked(&["get", "download"]), asked(&["list", "create", "put"])), (3, 0));
}

#[tokio::test]
async fn a_young_repository_without_a_hint_is_read_from_its_log() {
    let store = MemoryStore::default();
    let server = Server::new(store.clone());
    let repository = server.open().await;
    for step in 0..5 {
        repository.commit(push(&[(&format!("b{step}"), None, Some(step))])).await.unwrap();
    }
    settled(&store, &repository).await;
    store.delete(&keys::hint(repository.id())).await.unwrap();
    let before = store.calls();
    let reopened = cold(&store).await.open().await;
    assert_same(&reopened.known(), &truth(&store, &repository).await, "without a hint");
    assert_eq!(since(&store, &before, "list"), 0);
}

#[tokio::test]
async fn a_large_repository_is_opened_in_two_rounds_whatever_its_size() {
    let store = MemoryStore::default();
    let server = Server::new(store.clone());
    let repository = server.open().await;
    repository.commit(many(0, 6_000, 1)).await.unwrap();
    settled(&store, &repository).await;
    repository.commit(push(&[("main", None, Some(2))])).await.unwrap();
    let hint = settled(&store, &repository).await;
    let base = hint.checkpoint.base.expect("six thousand references are worth a base");
    assert_eq!(base.generation, 1);
    assert!(hint.state.is_some_and(|state| state.len() < 1_000), "what is different from the base is little");
    let truth = truth(&store, &repository).await;
    let server = cold(&store).await;
    let before = store.calls();
    let (opened, snapshot) = server.repositories.open_within(repository.id(), Duration::ZERO).await.unwrap();
    // The hint; then the base and the entry that is not there.
    assert_eq!((since(&store, &before, "get"), since(&store, &before, "list")), (3, 0));
    assert_same(&snapshot, &truth, "on a base");
    assert_eq!(snapshot.refs.changed(), 1);
    opened.commit(push(&[("main", Some(2), Some(3))])).await.unwrap();
    assert_eq!(repository.snapshot().await.unwrap().refs.get(&RefName::branch("main").unwrap()), Some(id(3)));
}

#[tokio::test]
async fn a_state_too_large_for_the_hint_is_read_from_checkpoint_and_log_at_once() {
    let store = MemoryStore::default();
    let server = Server::new(store.clone());
    let repository = server.open().await;
    repository.commit(many(0, 4_000, 1)).await.unwrap();
    for step in 0..70 {
        repository.commit(push(&[(&format!("b{step}"), None, Some(step))])).await.unwrap();
    }
    let hint = settled(&store, &repository).await;
    assert!(hint.state.is_none() && hint.checkpoint.generation >= 64, "{hint:?}");
    let truth = truth(&store, &repository).await;
    let server = cold(&store).await;
    let before = store.calls();
    let (_, snapshot) = server.repositories.open_within(repository.id(), Duration::ZERO).await.unwrap();
    assert_same(&snapshot, &truth, "from a checkpoint");
    let behind = hint.generation - hint.checkpoint.generation;
    assert_eq!((since(&store, &before, "get"), since(&store, &before, "list")), (2 + behind + 1, 0));
}

/// A log of 70 entries with a checkpoint and a hint.
async fn with_checkpoint(store: &MemoryStore) -> (Server, std::sync::Arc<Repository>, Hint) {
    let server = Server::new(store.clone());
    let repository = server.open().await;
    for step in 0..70_u32 {
        repository.commit(push(&[(&format!("b{}", step % 7), step.checked_sub(7), Some(step))])).await.unwrap();
    }
    let hint = settled(store, &repository).await;
    assert!(hint.checkpoint.generation >= 64);
    (server, repository, hint)
}

#[tokio::test]
async fn hints_that_lie_cost_time_and_nothing_else() {
    let store = MemoryStore::default();
    let (_server, repository, hint) = with_checkpoint(&store).await;
    let id = repository.id().clone();
    let truth = truth(&store, &repository).await;
    let other = RepositoryId::random(&model::clock::SystemRandom);
    let foreign = Snapshot { generation: 70, digest: [9; 32], ..Snapshot::default() };
    let old = Snapshot { generation: 3, ..truth.clone() };
    let mut damaged = hint.encode(&id).to_vec();
    damaged[20] ^= 1;
    let with = |state: &Snapshot| Hint { state: Some(checkpoint::encode(&id, state)), ..hint.clone() };
    let without = |generation: u64, checkpoint: u64| Hint {
        generation,
        checkpoint: Checkpoint { generation: checkpoint, base: None },
        state: None,
    };
    let hints: [(&str, Vec<u8>); 9] = [
        ("garbage", b"garbage".to_vec()),
        ("damaged", damaged),
        ("of another repository", hint.encode(&other).to_vec()),
        ("with a state of another repository", {
            Hint { state: Some(checkpoint::encode(&other, &truth)), ..hint.clone() }.encode(&id).to_vec()
        }),
        ("with a state that the log does not go on from", with(&old).encode(&id).to_vec()),
        ("old", without(3, 0).encode(&id).to_vec()),
        ("of the future", without(u64::MAX, hint.checkpoint.generation).encode(&id).to_vec()),
        ("with a checkpoint that is not there", without(70, 69).encode(&id).to_vec()),
        ("with a base that is not there", {
            let base = Some(BaseName { generation: 60, digest: [1; 32] });
            let checkpoint = Checkpoint { base, ..hint.checkpoint };
            Hint { checkpoint, state: None, ..hint.clone() }.encode(&id).to_vec()
        }),
    ];
    for (what, body) in hints {
        store.put(&keys::hint(&id), body.into()).await.unwrap();
        let opened = cold(&store).await.open().await;
        assert_same(&opened.known(), &truth, what);
    }
    // Nothing is behind the state that would contradict it: shown, perhaps, but never built upon.
    store.put(&keys::hint(&id), with(&foreign).encode(&id)).await.unwrap();
    let server = cold(&store).await;
    let opened = server.open().await;
    opened.commit(push(&[("new", None, Some(1))])).await.unwrap();
    assert_eq!(opened.known().generation, 71);
    assert_same(&opened.known(), &self::truth(&store, &repository).await, "a state that was made up");
}

#[tokio::test]
async fn a_hint_from_before_entries_were_lost_does_not_make_a_hole_in_the_log() {
    let store = MemoryStore::default();
    let (_server, repository, _) = with_checkpoint(&store).await;
    for lost in [70, 69] {
        store.delete(&keys::log_entry(repository.id(), lost)).await.unwrap();
    }
    let (one, two) = (cold(&store).await, cold(&store).await);
    let (first, second) = (one.open().await, two.open().await);
    second.commit(push(&[("new", None, Some(1))])).await.unwrap();
    let truth = truth(&store, &repository).await;
    assert_eq!(truth.generation, 69);
    assert_same(&second.known(), &truth, "who commits looks first");
    // The other one has still to find out: entry 70 does not follow what it knows.
    second.commit(push(&[("newer", None, Some(1))])).await.unwrap();
    second.commit(push(&[("newest", None, Some(1))])).await.unwrap();
    let seen = first.snapshot().await.unwrap();
    assert_same(&seen, &self::truth(&store, &repository).await, "who reads starts over");
}

#[tokio::test]
async fn damaged_or_missing_checkpoints_and_bases_cost_time_and_nothing_else() {
    let store = MemoryStore::default();
    let server = Server::new(store.clone());
    let repository = server.open().await;
    repository.commit(many(0, 6_000, 1)).await.unwrap();
    settled(&store, &repository).await;
    for step in 0..70 {
        repository.commit(push(&[(&format!("b{step}"), None, Some(step))])).await.unwrap();
    }
    let hint = settled(&store, &repository).await;
    let hint = Hint { state: None, ..hint };
    store.put(&keys::hint(repository.id()), hint.encode(repository.id())).await.unwrap();
    let truth = truth(&store, &repository).await;
    for part in ["/checkpoint/", "/references/"] {
        let key = key_of(&store, part);
        let body = store.get(&key).await.unwrap().unwrap();
        store.tamper(&key, |bytes| bytes[30] ^= 1);
        let opened = cold(&store).await.open().await;
        assert_same(&opened.known(), &truth, &format!("{key} damaged"));
        store.delete(&key).await.unwrap();
        let opened = cold(&store).await.open().await;
        assert_same(&opened.known(), &truth, &format!("{key} missing"));
        store.create(&key, body).await.unwrap();
    }
}

#[tokio::test]
async fn who_was_away_for_long_does_not_read_every_entry() {
    let store = MemoryStore::default();
    let (one, two) = (Server::new(store.clone()), Server::new(store.clone()));
    let (writer, reader) = (one.open().await, two.open().await);
    for step in 0..700_u32 {
        writer.commit(push(&[("main", step.checked_sub(1), Some(step))])).await.unwrap();
    }
    settled(&store, &writer).await;
    let before = store.calls();
    assert_same(&reader.snapshot().await.unwrap(), &writer.known(), "leapt");
    let asked = since(&store, &before, "get");
    assert!(asked < FAR + 20, "{asked} requests for 700 entries");
    assert_eq!(since(&store, &before, "list"), 0);
}
