//! LFS locks: one winner, seen by every server, kept across checkpoints.

use std::sync::Arc;

use futures::future::join_all;
use model::lfs::LockId;

use super::maintenance::{Bed, settle};
use super::{push, with_pack};
use crate::testing::{Fault, FaultyStore, MemoryStore};
use crate::{Lock, LockActor, LockRefusal, Policy, Repository};

fn by(actor: &str) -> LockActor {
    LockActor { actor: actor.to_owned(), request_id: "request".to_owned() }
}

async fn lock(repository: &Arc<Repository>, id: u8, path: &str, owner: &str) -> Result<Lock, LockRefusal> {
    let locked = repository.lock(LockId([id; 16]), path.parse().unwrap(), owner.to_owned(), by(owner));
    locked.await.unwrap()
}

async fn locked(repository: &Repository) -> Vec<(String, String)> {
    let snapshot = repository.snapshot().await.unwrap();
    snapshot.locks.iter().map(|lock| (lock.path.to_string(), lock.owner.clone())).collect()
}

#[tokio::test]
async fn a_lock_of_one_server_is_seen_by_the_other_and_holds_there() {
    let bed = Bed::with(Policy::default());
    let (one, other) = (bed.server.open().await, bed.another());
    let other = other.open().await;
    let taken = lock(&one, 1, "a/b", "alice").await.unwrap();
    assert_eq!(locked(&other).await, [("a/b".to_owned(), "alice".to_owned())]);
    assert_eq!(lock(&other, 2, "a/b", "bob").await, Err(LockRefusal::Taken(taken)));
    assert_eq!(other.unlock(LockId([1; 16]), by("bob")).await.unwrap(), Some(()));
    // The first server does not know yet: it has to look before it refuses.
    assert_eq!(lock(&one, 3, "a/b", "carol").await.unwrap().owner, "carol");
    assert_eq!(one.unlock(LockId([1; 16]), by("alice")).await.unwrap(), None, "a lock of another name is not touched");
}

#[tokio::test]
async fn of_many_who_want_a_path_one_gets_it() {
    let bed = Bed::with(Policy::default());
    let (one, other) = (bed.server.open().await, bed.another());
    let other = other.open().await;
    let tries = (0..12_u8).map(|id| {
        let repository = if id % 2 == 0 { &one } else { &other };
        async move { lock(repository, id, "path", &id.to_string()).await.is_ok() }
    });
    assert_eq!(join_all(tries).await.into_iter().filter(|won| *won).count(), 1);
    assert_eq!(locked(&one).await, locked(&other).await);
}

#[tokio::test]
async fn locks_outlast_checkpoints_and_stubs() {
    let bed = Bed::with(Policy { checkpoint_entries: 2, ..Policy::default() });
    let repository = bed.server.open().await;
    lock(&repository, 1, "kept", "alice").await.unwrap();
    lock(&repository, 2, "released", "alice").await.unwrap();
    repository.unlock(LockId([2; 16]), by("alice")).await.unwrap();
    for step in 0..8 {
        let old = u32::checked_sub(step, 1);
        repository.commit(with_pack(push(&[("main", old, Some(step))]), b"content")).await.unwrap();
    }
    settle(&repository).await;
    bed.clock.advance(20 * super::maintenance::DAY);
    bed.maintain().await;
    bed.maintain().await;
    let reader = bed.another();
    assert_eq!(locked(&*reader.open().await).await, [("kept".to_owned(), "alice".to_owned())]);
}

#[tokio::test]
async fn a_lost_answer_is_settled_by_reading() {
    for fault in [Fault::AnswerLost, Fault::OwnRetry, Fault::RequestLost] {
        // The first create is that of the catalog.
        let store = FaultyStore::new(MemoryStore::default(), [Fault::None, fault]);
        let server = super::Server::new(store);
        let repository = server.open().await;
        lock(&repository, 1, "path", "alice").await.unwrap();
        assert_eq!(locked(&repository).await, [("path".to_owned(), "alice".to_owned())], "{fault:?}");
    }
}
