//! Reachability tables: made once, named by the log, brought in when asked for, gone with their packs.

use std::sync::Arc;

use super::maintenance::{Bed, DAY, settle};
use super::{push, with_pack};
use crate::entry::ReachRecord;
use crate::{Error, LocalPacks, Maintained, Policy, Repository, StoredPack};

/// What is too large to travel inside an entry.
const LARGE: usize = 300 << 10;

fn bed() -> Bed {
    Bed::with(Policy { table_objects: 1, ..Policy::default() })
}

async fn push_large(repository: &Arc<Repository>, step: u32) {
    let content = vec![u8::try_from(step).unwrap(); LARGE];
    repository.commit(with_pack(push(&[("main", step.checked_sub(1), Some(step))]), &content)).await.unwrap();
}

async fn packs(repository: &Repository) -> (Vec<StoredPack>, LocalPacks) {
    let snapshot = repository.snapshot().await.unwrap();
    (snapshot.packs.to_vec(), repository.local_packs(&snapshot).await.unwrap())
}

fn tables(packs: &[StoredPack]) -> Vec<ReachRecord> {
    packs.iter().filter_map(|pack| pack.reach).collect()
}

#[tokio::test]
async fn large_packs_get_a_table_each_and_small_ones_none() {
    let bed = bed();
    let repository = bed.server.open().await;
    push_large(&repository, 0).await;
    repository.commit(with_pack(push(&[("main", Some(0), Some(1))]), b"small")).await.unwrap();
    push_large(&repository, 2).await;
    assert_eq!(bed.maintain().await.tables, 2);
    assert_eq!(bed.maintain().await, Maintained::default());
    let reader = bed.another();
    let (found, held) = packs(&*reader.open().await).await;
    assert_eq!(found.iter().map(|pack| pack.reach.is_some()).collect::<Vec<_>>(), [true, false, true]);
    for (at, pack) in found.iter().enumerate() {
        let table = reader.open().await.table(pack).await.unwrap();
        let said = table.map(|file| std::fs::read_to_string(file).unwrap());
        assert_eq!(said, pack.reach.map(|_| format!("the table of {}, {at} before", pack.record.id)));
    }
    drop(held);
}

#[tokio::test]
async fn a_table_goes_with_its_pack() {
    let bed = bed();
    let repository = bed.server.open().await;
    push_large(&repository, 0).await;
    assert_eq!(bed.maintain().await.tables, 1);
    // So much more that the large one is folded as well.
    for step in 1..4 {
        push_large(&repository, step).await;
    }
    for step in 4..44 {
        let content = vec![u8::try_from(step).unwrap(); LARGE / 4];
        repository.commit(with_pack(push(&[("main", Some(step - 1), Some(step))]), &content)).await.unwrap();
    }
    settle(&repository).await;
    let (found, _held) = packs(&repository).await;
    assert!(tables(&found).is_empty(), "{found:?}");
    bed.maintain().await;
    assert_eq!(bed.count(".reach"), 2, "the old one waits for the grace period");
    bed.clock.advance(2 * DAY);
    bed.maintain().await;
    let (found, _held) = packs(&repository).await;
    assert_eq!((bed.count(".reach"), tables(&found).len()), (1, 1));
}

#[tokio::test]
async fn a_table_that_no_entry_names_is_swept() {
    let bed = bed();
    let repository = bed.server.open().await;
    push_large(&repository, 0).await;
    bed.maintain().await;
    let (found, _held) = packs(&repository).await;
    let named = crate::keys::reach(repository.id(), &tables(&found)[0].upload);
    let orphan = crate::Upload { generation: 0, nonce: [9; 8] };
    let orphan = crate::keys::reach(repository.id(), &orphan);
    crate::ObjectStore::put(&bed.store, &orphan, bytes::Bytes::from_static(b"orphan")).await.unwrap();
    bed.clock.advance(2 * DAY);
    assert_eq!(bed.maintain().await.orphans, 1);
    assert!(bed.store.keys().contains(&named) && !bed.store.keys().contains(&orphan));
}

#[tokio::test]
async fn a_damaged_or_lost_table_is_told_and_not_used() {
    for (damage, expected) in [("flip", "damaged"), ("lose", "missing")] {
        let bed = bed();
        let repository = bed.server.open().await;
        push_large(&repository, 0).await;
        bed.maintain().await;
        let (found, _held) = packs(&repository).await;
        let key = crate::keys::reach(repository.id(), &tables(&found)[0].upload);
        match damage {
            "flip" => bed.store.tamper(&key, |bytes| bytes[5] ^= 1),
            _ => crate::ObjectStore::delete(&bed.store, &key).await.unwrap(),
        }
        let reader = bed.another();
        let opened = reader.open().await;
        let (found, _held) = packs(&opened).await;
        let error = opened.table(&found[0]).await.unwrap_err();
        assert!(error.is_damage() && error.to_string().contains(expected), "{error}");
        assert!(opened.table(&found[0]).await.unwrap().is_none(), "it is not asked for again");
        let report = reader.repositories.check(&"team-a/hello".parse().unwrap()).await.unwrap().unwrap();
        assert!(report.problems.iter().any(|problem| problem.contains(&key)), "{:?}", report.problems);
        bed.clock.advance(40 * DAY);
        let done = bed.maintain().await;
        assert_eq!((done.damaged, done.tables), (1, 1), "what is damaged is told and made again");
        let report = bed.another().repositories.check(&"team-a/hello".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_table_that_says_something_else_than_its_pack_is_found_by_a_check() {
    let bed = bed();
    let repository = bed.server.open().await;
    push_large(&repository, 0).await;
    let (found, _held) = packs(&repository).await;
    let wrong = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&wrong, "something else").unwrap();
    let upload = repository.new_upload();
    let (id, bytes) = crate::digest::sha256_file(wrong.path()).unwrap();
    crate::ObjectStore::upload(&bed.store, &crate::keys::reach(repository.id(), &upload), wrong.path()).await.unwrap();
    assert!(repository.name_table(&found[0], ReachRecord { id, bytes, upload }).await.unwrap());
    let report = bed.another().repositories.check(&"team-a/hello".parse().unwrap()).await.unwrap().unwrap();
    assert!(report.problems.iter().any(|problem| problem.contains("does not say what its pack says")), "{report:?}");
}

#[tokio::test]
async fn a_table_comes_too_late_when_its_pack_has_gone_or_has_one() {
    let bed = bed();
    let repository = bed.server.open().await;
    push_large(&repository, 0).await;
    let (found, _held) = packs(&repository).await;
    let table = ReachRecord { id: [1; 32], bytes: 3, upload: repository.new_upload() };
    let mut gone = found[0].clone();
    gone.record.id = crate::PackId([3; 32]);
    assert!(!repository.name_table(&gone, table).await.unwrap());
    bed.maintain().await;
    assert!(!repository.name_table(&found[0], table).await.unwrap());
    let known = repository.known().generation;
    assert_eq!(repository.snapshot().await.unwrap().generation, known);
    assert!(!matches!(repository.snapshot().await, Err(Error::Damaged { .. })));
}
