//! LFS objects that no pointer file names go, late; all others stay, whatever anybody does at the same time.

use std::sync::Arc;

use futures::TryStreamExt as _;
use model::clock::Clock as _;
use model::lfs::Oid;

use super::maintenance::{Bed, DAY};
use super::{push, with_pack};
use crate::digest::sha256;
use crate::{Error, LfsObjects, ObjectStore as _, Policy, Repository};

const CONTENT: &[u8] = b"a large file";

/// A repository with one push, and the LFS object that nothing names so far.
struct Story {
    bed: Bed,
    repository: Arc<Repository>,
    objects: LfsObjects,
    oid: Oid,
}

impl Story {
    async fn new() -> Self {
        let bed = Bed::with(Policy::default());
        bed.store.set_time(bed.clock.now());
        let repository = bed.server.open().await;
        repository.commit(with_pack(push(&[("main", None, Some(0))]), b"first")).await.unwrap();
        let objects = bed.server.repositories.lfs(repository.id());
        let story = Self { bed, repository, objects, oid: Oid::of(sha256(CONTENT)) };
        story.upload().await;
        story
    }

    async fn upload(&self) {
        let received = self.objects.receive(self.oid, CONTENT.len() as u64, &mut &*CONTENT).unwrap();
        self.objects.keep(received).await.unwrap();
    }

    /// Pushes a pointer file.
    async fn name_it(&self) {
        let pointer = with_pack(push(&[("main", Some(0), Some(1))]), format!("pointer {}", self.oid).as_bytes());
        self.repository.commit(pointer).await.unwrap();
    }

    /// Looks after the repository some days later; the objects that were deleted.
    async fn later(&self, days: i64) -> u64 {
        self.bed.clock.advance(days * DAY);
        self.bed.store.set_time(self.bed.clock.now());
        self.bed.maintain().await.lfs
    }

    async fn assert_is_there(&self) {
        let other = self.bed.another();
        let objects = other.repositories.lfs(self.repository.id());
        let found = objects.find_lasting(&self.oid).await.unwrap().expect("because it must not be deleted");
        assert_eq!(objects.find(&self.oid).await.unwrap().as_ref(), Some(&found));
        let pieces: Vec<_> = objects.read(found, 0..CONTENT.len() as u64).try_collect().await.unwrap();
        assert_eq!(pieces.concat(), CONTENT);
        assert_eq!(objects.check().await.unwrap().1, Vec::<String>::new());
    }

    fn keys(&self) -> Vec<String> {
        let keys = self.bed.store.keys().into_iter().filter_map(|key| Some(key.split_once("/lfs/")?.1.to_owned()));
        keys.map(|key| key.replace(&self.oid.to_string(), "oid")).collect()
    }
}

#[tokio::test]
async fn what_nobody_names_is_given_up_after_the_retention_and_deleted_after_another() {
    let story = Story::new().await;
    assert_eq!(story.later(13).await, 0);
    assert_eq!(story.keys(), ["oid", "oid.sums"], "uploaded within the retention");
    assert_eq!(story.later(2).await, 0);
    assert_eq!(story.keys(), ["oid", "oid.gone", "oid.sums"]);
    assert!(story.objects.find(&story.oid).await.unwrap().is_some(), "who has the pointer can still have the object");
    assert!(story.objects.find_lasting(&story.oid).await.unwrap().is_none(), "who pushes it has to upload it again");
    assert_eq!(story.later(13).await, 0);
    assert_eq!(story.later(2).await, 1);
    assert_eq!(story.keys(), ["oid.gone"]);
    assert!(story.objects.find(&story.oid).await.unwrap().is_none());
    assert_eq!(story.later(40).await, 0);
}

#[tokio::test]
async fn what_a_pointer_names_stays() {
    let story = Story::new().await;
    story.name_it().await;
    for _ in 0..4 {
        assert_eq!(story.later(20).await, 0);
    }
    assert_eq!(story.keys(), ["oid", "oid.sums"]);
    story.assert_is_there().await;
}

#[tokio::test]
async fn who_was_told_that_it_exists_may_push_what_names_it() {
    let story = Story::new().await;
    story.bed.clock.advance(20 * DAY);
    // git-lfs asks, and does not upload; then it is given up; then git pushes.
    assert!(story.objects.find_lasting(&story.oid).await.unwrap().is_some());
    assert_eq!(story.later(0).await, 0);
    assert_eq!(story.keys(), ["oid", "oid.gone", "oid.sums"]);
    story.name_it().await;
    assert_eq!(story.later(15).await, 1, "the old copy goes");
    assert_eq!(story.keys(), ["oid.1", "oid.1.sums", "oid.gone"]);
    story.assert_is_there().await;
    assert_eq!(story.later(40).await, 0);
    story.assert_is_there().await;
}

#[tokio::test]
async fn a_server_that_stood_still_deletes_nothing_that_was_uploaded_again() {
    let story = Story::new().await;
    story.later(15).await;
    story.upload().await;
    story.name_it().await;
    assert_eq!(story.keys(), ["oid", "oid.1", "oid.1.sums", "oid.gone", "oid.sums"]);
    assert_eq!(story.later(15).await, 1);
    story.assert_is_there().await;
    // Another one had decided the same, and carries it out only now.
    story.objects.revive(&story.oid, 0).await.unwrap();
    story.objects.delete(&story.oid, 0).await.unwrap();
    story.objects.end(&story.oid, 0).await.unwrap();
    story.assert_is_there().await;
    assert_eq!(story.keys(), ["oid.1", "oid.1.sums", "oid.gone"]);
}

#[tokio::test]
async fn it_may_live_and_die_many_times() {
    let story = Story::new().await;
    for life in 1..4 {
        assert_eq!(story.later(15).await, 0);
        assert_eq!(story.later(15).await, 1);
        assert_eq!(story.keys().len(), life, "the markers stay");
        story.upload().await;
        story.assert_is_there().await;
    }
}

#[tokio::test]
async fn nothing_goes_while_a_pack_cannot_be_read() {
    let story = Story::new().await;
    let pack = with_pack(
        push(&[("topic", None, Some(7))]),
        &[story.oid.to_string().as_bytes(), &vec![b'.'; 300 << 10]].concat(),
    );
    story.repository.commit(pack).await.unwrap();
    let key = story.bed.store.keys().into_iter().find(|key| key.contains(".pack")).unwrap();
    let path = "team-a/hello".parse().unwrap();
    // Whose cache has nothing yet.
    let cold = story.bed.another();
    story.bed.store.tamper(&key, |bytes| bytes[70] ^= 1);
    for given_up in [false, true] {
        if given_up {
            story.objects.end(&story.oid, 0).await.unwrap();
        }
        story.bed.clock.advance(20 * DAY);
        let before = story.keys();
        let failed = cold.repositories.maintain(&path).await;
        assert!(matches!(failed, Err(Error::Damaged { .. })), "{failed:?}");
        assert_eq!(story.keys(), before);
    }
    let scrub = cold.open().await.known().upkeep.scrub.clone().expect("because it was due");
    assert!(!scrub.problems.is_empty(), "that a pack is damaged must be said all the same");
    story.bed.store.tamper(&key, |bytes| bytes[70] ^= 1);
    assert_eq!(cold.repositories.maintain(&path).await.unwrap().lfs, 1, "the copy that was given up");
    story.assert_is_there().await;
}

#[tokio::test]
async fn a_damaged_object_that_is_needed_is_left_for_whoever_can_mend_it() {
    let story = Story::new().await;
    story.later(15).await;
    story.name_it().await;
    let key = story.bed.store.keys().into_iter().find(|key| key.ends_with(&story.oid.to_string())).unwrap();
    story.bed.store.tamper(&key, |bytes| bytes[3] ^= 1);
    assert_eq!(story.later(15).await, 0);
    assert_eq!(story.keys(), ["oid", "oid.gone", "oid.sums"]);
    story.bed.store.tamper(&key, |bytes| bytes[3] ^= 1);
    assert_eq!(story.later(2).await, 1);
    story.assert_is_there().await;
}

#[tokio::test]
async fn what_a_crashed_upload_left_goes_too() {
    let story = Story::new().await;
    let sums = story.bed.store.keys().into_iter().find(|key| key.contains(".sums")).unwrap();
    story.bed.store.delete(&sums).await.unwrap();
    assert_eq!((story.later(15).await, story.later(15).await), (0, 1));
    assert_eq!(story.keys(), ["oid.gone"]);
    story.upload().await;
    story.assert_is_there().await;
}

#[tokio::test]
async fn packs_are_not_read_again_where_nothing_has_changed() {
    let story = Story::new().await;
    story.name_it().await;
    story.later(15).await;
    let entries = story.repository.known().generation;
    for _ in 0..5 {
        story.later(2).await;
    }
    assert_eq!(story.repository.known().generation, entries, "looking needs the lease, which is an entry");
}
