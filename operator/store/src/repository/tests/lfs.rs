//! LFS objects: nothing is visible that was not verified, and nothing is read that was not either.

use futures::{StreamExt as _, TryStreamExt as _};
use model::RepositoryId;
use model::clock::SystemRandom;
use model::lfs::Oid;

use super::Server;
use crate::digest::sha256;
use crate::testing::MemoryStore;
use crate::{LfsObjects, ReceiveError};

const MIB: usize = 1 << 20;

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap()).collect()
}

fn bed() -> (MemoryStore, Server, LfsObjects) {
    let store = MemoryStore::default();
    let server = Server::new(store.clone());
    let objects = server.repositories.lfs(&RepositoryId::random(&SystemRandom));
    (store, server, objects)
}

async fn stored(objects: &LfsObjects, content: &[u8]) -> Oid {
    let oid = Oid::of(sha256(content));
    let received = objects.receive(oid, content.len() as u64, &mut &*content).unwrap();
    objects.keep(received).await.unwrap();
    oid
}

async fn read(objects: &LfsObjects, oid: &Oid, range: std::ops::Range<usize>) -> Result<Vec<u8>, crate::Error> {
    let object = objects.find(oid).await?.unwrap();
    let pieces: Vec<_> = objects.read(object, range.start as u64..range.end as u64).try_collect().await?;
    Ok(pieces.concat())
}

#[tokio::test]
async fn every_part_of_an_object_comes_back() {
    let (_, _server, objects) = bed();
    for size in [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 5] {
        let content = content(size);
        let oid = stored(&objects, &content).await;
        assert_eq!(objects.find(&oid).await.unwrap().unwrap().size(), size as u64);
        for range in [0..size, 0..0, size / 2..size, size.saturating_sub(1)..size, size / 3..size / 2] {
            assert_eq!(read(&objects, &oid, range.clone()).await.unwrap(), content[range]);
        }
    }
}

#[tokio::test]
async fn what_does_not_match_its_name_leaves_nothing() {
    let (store, _server, objects) = bed();
    let content = content(10);
    let oid = Oid::of(sha256(&content));
    let receive = |oid, size, mut bytes: &[u8]| objects.receive(oid, size, &mut bytes);
    assert!(matches!(receive(Oid::of([1; 32]), 10, &content), Err(ReceiveError::WrongHash(found)) if found == oid));
    assert!(matches!(receive(oid, 9, &content), Err(ReceiveError::TooLong(9))));
    assert!(matches!(receive(oid, 11, &content), Err(ReceiveError::TooShort { announced: 11, found: 10 })));
    assert!(store.keys().is_empty());
    assert!(objects.find(&oid).await.unwrap().is_none());
}

#[tokio::test]
async fn an_object_is_uploaded_once() {
    let (store, _server, objects) = bed();
    let content = content(10);
    stored(&objects, &content).await;
    stored(&objects, &content).await;
    assert_eq!((store.calls()["upload"], store.calls()["create"]), (1, 1));
}

#[tokio::test]
async fn an_upload_without_sums_is_invisible_and_the_next_one_heals_it() {
    let (store, server, objects) = bed();
    let content = content(10);
    let oid = stored(&objects, &content).await;
    let sums = store.keys().into_iter().find(|key| key.contains(".sums")).unwrap();
    crate::ObjectStore::delete(&store, &sums).await.unwrap();
    assert!(objects.find(&oid).await.unwrap().is_none());
    stored(&objects, &content).await;
    assert_eq!(read(&objects, &oid, 0..10).await.unwrap(), content);
    drop(server);
}

#[tokio::test]
async fn a_changed_byte_is_never_served() {
    let (store, _server, objects) = bed();
    let content = content(2 * MIB + 9);
    let oid = stored(&objects, &content).await;
    let key = store.keys().into_iter().find(|key| key.ends_with(&oid.to_string())).unwrap();
    store.tamper(&key, |bytes| bytes[MIB + 3] ^= 1);
    assert_eq!(read(&objects, &oid, 0..MIB).await.unwrap(), content[..MIB], "the first chunk is sound");
    for range in [MIB..MIB + 1, 2 * MIB - 1..2 * MIB] {
        assert!(read(&objects, &oid, range).await.unwrap_err().is_damage());
    }
    let object = objects.find(&oid).await.unwrap().unwrap();
    let whole: Vec<_> = objects.read(object, 0..content.len() as u64).collect().await;
    assert_eq!(whole.len(), 2, "one sound chunk, then the end");
    assert!(whole[1].is_err());
    store.tamper(&format!("{key}.sums"), |bytes| bytes[20] ^= 1);
    assert!(objects.find(&oid).await.unwrap_err().is_damage());
}

#[tokio::test]
async fn a_check_finds_what_is_damaged_or_gone() {
    let (store, _server, objects) = bed();
    let (one, two) = (stored(&objects, &content(MIB + 9)).await, stored(&objects, &content(20)).await);
    stored(&objects, &[]).await;
    assert_eq!(objects.check().await.unwrap(), (3, vec![]));
    let keys = store.keys();
    let key = |oid: &Oid| keys.iter().find(|key| key.ends_with(&oid.to_string())).unwrap();
    store.tamper(key(&one), |bytes| bytes[MIB] ^= 1);
    crate::ObjectStore::delete(&store, key(&two)).await.unwrap();
    let (seen, problems) = objects.check().await.unwrap();
    assert_eq!((seen, problems.len()), (3, 2), "{problems:?}");
    assert!(problems.iter().any(|line| line.contains(&one.to_string())));
    assert!(problems.iter().any(|line| line.contains(&two.to_string())));
}
