//! Packs that are read while they are on their way.

use std::io;
use std::sync::Arc;

use model::{Arriving, Content};
use tokio::sync::Semaphore;

use super::{Server, push, with_pack};
use crate::entry::chunk_bytes;
use crate::testing::MemoryStore;
use crate::{LocalPacks, Repository};

/// Two chunks and a half.
const BYTES: u64 = 20 << 20;
const CHUNK: u64 = 8 << 20;

/// A server that knows nothing of a repository with a large and a small pack, in a store that hands out a chunk for each permit.
async fn cold() -> (MemoryStore, Arc<Semaphore>, Server, Arc<Repository>) {
    assert_eq!(chunk_bytes(BYTES), CHUNK);
    let store = MemoryStore::default();
    let writer = Server::new(store.clone());
    let repository = writer.open().await;
    let content: Vec<u8> = (0..BYTES).map(|at| (at / 1_000 % 251).try_into().unwrap()).collect();
    repository.commit(with_pack(push(&[("main", None, Some(1))]), &content)).await.unwrap();
    repository.commit(with_pack(push(&[("main", Some(1), Some(2))]), b"small")).await.unwrap();
    let (gate, server) = (store.hold_ranges(), Server::new(store.clone()));
    let repository = server.open().await;
    (store, gate, server, repository)
}

async fn arriving(repository: &Repository) -> (LocalPacks, Arc<dyn Arriving>) {
    let snapshot = repository.snapshot().await.unwrap();
    let packs = repository.arriving_packs(&snapshot).await.unwrap();
    let [large, small] = &packs.packs[..] else { panic!("{packs:?}") };
    assert!(small.arriving().is_none());
    let arriving = large.arriving().unwrap();
    (packs, arriving)
}

/// Waits on a thread of its own, as readers do.
async fn wait_for(arriving: &Arc<dyn Arriving>, bytes: std::ops::Range<u64>) -> io::Result<()> {
    let arriving = Arc::clone(arriving);
    tokio::task::spawn_blocking(move || arriving.wait_for(bytes)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_come_can_be_read_before_the_rest() {
    let (_, gate, _server, repository) = cold().await;
    let (packs, arrival) = arriving(&repository).await;
    gate.add_permits(1);
    wait_for(&arrival, 0..CHUNK).await.unwrap();
    let Content::File(file) = &packs.packs[0].pack else { panic!("it is not a file") };
    let begun = std::fs::read(file).unwrap();
    assert!(begun[..9_000].iter().enumerate().all(|(at, byte)| usize::from(*byte) == at / 1_000));
    let last = tokio::spawn({
        let arrival = Arc::clone(&arrival);
        async move { wait_for(&arrival, CHUNK - 1..BYTES).await }
    });
    // Others share it, and whoever wants it whole waits for all of it.
    let (again, _) = arriving(&repository).await;
    assert_eq!(again.packs[0].pack, packs.packs[0].pack);
    let snapshot = repository.snapshot().await.unwrap();
    let whole = tokio::spawn(async move { repository.local_packs(&snapshot).await.unwrap() });
    tokio::task::yield_now().await;
    assert!(!last.is_finished() && !whole.is_finished());
    gate.add_permits(2);
    last.await.unwrap().unwrap();
    let whole = whole.await.unwrap();
    assert!(whole.packs[0].arriving().is_none() && !packs.are_broken());
    assert_eq!(std::fs::metadata(file).unwrap().len(), BYTES, "readers may still open it by its first name");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_byte_is_never_shown_and_its_mending_is_seen() {
    let (store, gate, _server, repository) = cold().await;
    let flip = |bytes: &mut Vec<u8>| bytes[10_000_000] ^= 1;
    let key = store.keys().into_iter().find(|key| key.contains(".pack")).unwrap();
    store.tamper(&key, flip);
    let (packs, arrival) = arriving(&repository).await;
    gate.add_permits(1);
    wait_for(&arrival, 0..100).await.unwrap();
    gate.add_permits(2);
    let error = wait_for(&arrival, 9_000_000..9_000_100).await.unwrap_err();
    assert!(error.to_string().contains("other bytes than the log says"), "{error}");
    assert!(packs.are_broken());
    wait_for(&arrival, 100..200).await.unwrap();
    let snapshot = repository.snapshot().await.unwrap();
    assert!(repository.local_packs(&snapshot).await.unwrap_err().is_damage());
    store.tamper(&key, flip);
    gate.add_permits(3);
    let (_, arrival) = arriving(&repository).await;
    wait_for(&arrival, 0..BYTES).await.unwrap();
}

#[test]
fn chunks_cover_any_pack_and_are_few() {
    for bytes in [1, CHUNK, CHUNK + 1, 5 << 30, 1 << 40] {
        let chunk = chunk_bytes(bytes);
        assert!(chunk >= CHUNK && bytes.div_ceil(chunk) <= 128, "{bytes}");
    }
}
