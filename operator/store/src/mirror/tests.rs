//! A copy that is made while pushes and maintenance go on, and what it must not do.

use std::time::Duration;

use model::RepositoryPath;

use super::*;
use crate::repository::tests::{Server, push, with_pack};
use crate::testing::{Fault, FaultyStore, MemoryStore};
use crate::{BundleWish, Policy, RefEdit};

fn path() -> RepositoryPath {
    "team-a/hello".parse().unwrap()
}

struct Bed {
    source: MemoryStore,
    copy: MemoryStore,
    folder: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        Self { source: MemoryStore::default(), copy: MemoryStore::default(), folder: tempfile::tempdir().unwrap() }
    }

    fn mirror(&self) -> Mirror {
        Mirror::new(Arc::new(self.source.clone()), Arc::new(self.copy.clone()), self.folder.path().to_owned())
    }
}

/// Moves a branch on, with a pack of this size.
async fn pushed(server: &Server, number: u32, bytes: usize) {
    let repository = server.open().await;
    let known = repository.snapshot().await.unwrap();
    let mut push = with_pack(push(&[("main", None, Some(number))]), &vec![u8::try_from(number % 251).unwrap(); bytes]);
    let RefEdit { name, old, .. } = &mut push.edits[0];
    *old = known.refs.get(name);
    repository.commit(push).await.unwrap();
}

#[tokio::test]
async fn the_copy_is_served_and_follows_pushes_folds_and_deletions() {
    let bed = Bed::new();
    let policy =
        Policy { grace: Duration::ZERO, log_retention: Duration::ZERO, checkpoint_entries: 4, ..Policy::default() };
    let server = Server::of(bed.source.clone(), policy);
    for round in 0..6_u32 {
        for number in 0..10 {
            pushed(&server, 1 + round * 10 + number, if number == 5 { 300 << 10 } else { 50 }).await;
        }
        server.open().await.maintain().await.unwrap();
        let done = bed.mirror().copy(&path(), false).await.unwrap();
        let known = server.open().await.snapshot().await.unwrap();
        assert_eq!(done.generation, known.generation);
        assert!(done.entries >= 10, "{done:?}");
        assert!(bed.mirror().copy(&path(), true).await.unwrap().is_same());
        // A server on the copy alone.
        let other = Server::new(bed.copy.clone());
        let seen = other.open().await.snapshot().await.unwrap();
        assert_eq!(
            (seen.generation, seen.refs.get(&model::RefName::branch("main").unwrap())),
            (known.generation, known.refs.get(&model::RefName::branch("main").unwrap()))
        );
        let report = other.repositories.check(&path()).await.unwrap().unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
    }
    // A server that served the copy has written its hint, and nothing else that the source does not have.
    let packs = |store: &MemoryStore| {
        let store = store.clone();
        async move {
            store
                .list("", None, 10_000)
                .await
                .unwrap()
                .into_iter()
                .filter(|object| object.key.contains("/packs/"))
                .count()
        }
    };
    assert_eq!(packs(&bed.source).await, packs(&bed.copy).await);
}

#[tokio::test]
async fn whoever_was_stopped_goes_on() {
    let bed = Bed::new();
    let server = Server::new(bed.source.clone());
    for number in 1..30 {
        pushed(&server, number, 100).await;
    }
    for stop in 0..20 {
        let faults = std::iter::repeat_n(Fault::None, stop).chain([Fault::RequestLost, Fault::AnswerLost]);
        let store = FaultyStore::new(bed.copy.clone(), faults.collect::<Vec<_>>());
        let mirror = Mirror::new(Arc::new(bed.source.clone()), Arc::new(store), bed.folder.path().to_owned());
        // Whether it came to its end or not, what is there is no more than the source has, in order.
        let _ = mirror.copy(&path(), false).await;
    }
    let done = bed.mirror().copy(&path(), false).await.unwrap();
    assert_eq!(done.generation, server.open().await.snapshot().await.unwrap().generation);
    let report = Server::new(bed.copy.clone()).repositories.check(&path()).await.unwrap().unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}

#[tokio::test]
async fn a_copy_that_was_written_to_is_left_alone() {
    let bed = Bed::new();
    let server = Server::new(bed.source.clone());
    pushed(&server, 1, 100).await;
    bed.mirror().copy(&path(), false).await.unwrap();
    pushed(&Server::new(bed.copy.clone()), 2, 100).await;
    pushed(&server, 3, 100).await;
    pushed(&server, 4, 100).await;
    let before = bed.copy.list("", None, 1_000).await.unwrap().len();
    // The copy says that it has two entries: the third of the source does not follow its second.
    let diverged = bed.mirror().copy(&path(), false).await;
    assert!(matches!(diverged, Err(MirrorError::Diverged(_))), "{diverged:?}");
    assert_eq!(bed.copy.list("", None, 1_000).await.unwrap().len(), before);
    assert!(!bed.mirror().is_claimed().await.unwrap());
    crate::claim(&bed.copy, "another").await.unwrap();
    assert!(bed.mirror().is_claimed().await.unwrap());
}

#[tokio::test]
async fn a_bundle_is_copied_and_goes_as_it_does_at_the_source() {
    let bed = Bed::new();
    let server = Server::of(bed.source.clone(), Policy { grace: Duration::ZERO, ..Policy::default() });
    pushed(&server, 1, 300 << 10).await;
    let repository = server.open().await;
    let wish = BundleWish { branch: model::RefName::branch("main").unwrap(), min_bytes: 1 };
    assert!(repository.keep_bundle(Some(&wish)).await.unwrap());
    bed.mirror().copy(&path(), false).await.unwrap();
    let bundles = |store: &MemoryStore| store.keys().iter().filter(|key| key.ends_with(".bundle")).count();
    let copied = Server::new(bed.copy.clone()).open().await.known().upkeep.bundle.clone();
    assert_eq!((bundles(&bed.copy), copied), (1, repository.known().upkeep.bundle.clone()));
    repository.keep_bundle(None).await.unwrap();
    repository.maintain().await.unwrap();
    bed.mirror().copy(&path(), false).await.unwrap();
    assert_eq!((bundles(&bed.source), bundles(&bed.copy)), (0, 0));
}
