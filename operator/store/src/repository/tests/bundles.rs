//! Bundles: made when it is time, named by the log, ended by it when their branch is rewound, deleted after the grace period.

use std::sync::Arc;

use model::RefName;

use super::maintenance::{Bed, DAY};
use super::{id, push, with_pack};
use crate::entry::BundleRecord;
use crate::repository::maintain::BundleLook;
use crate::{BundleWish, ObjectStore as _, Policy, Push, Repository};

const LARGE: usize = 300 << 10;

fn wish() -> BundleWish {
    BundleWish { branch: RefName::branch("main").unwrap(), min_bytes: 1_000 }
}

async fn push_large(repository: &Arc<Repository>, branch: &str, old: Option<u32>, new: u32) {
    let content = vec![u8::try_from(new).unwrap(); LARGE];
    repository.commit(with_pack(push(&[(branch, old, Some(new))]), &content)).await.unwrap();
}

/// Looks after the bundle as if for the first time.
async fn keep(repository: &Repository) -> bool {
    repository.housekeeping.lock().await.bundle = BundleLook::default();
    repository.keep_bundle(Some(&wish())).await.unwrap()
}

fn bundle(repository: &Repository) -> Option<BundleRecord> {
    repository.known().upkeep.bundle.clone()
}

#[tokio::test]
async fn a_bundle_is_made_once_and_everybody_learns_of_it() {
    let bed = Bed::with(Policy::default());
    let repository = bed.server.open().await;
    repository.commit(with_pack(push(&[("main", None, Some(1))]), b"small")).await.unwrap();
    assert!(!keep(&repository).await, "it is too small");
    push_large(&repository, "main", Some(1), 2).await;
    assert!(keep(&repository).await);
    let made = bundle(&repository).unwrap();
    let key = crate::keys::bundle(repository.id(), &made.upload);
    let text = String::from_utf8(bed.store.get(&key).await.unwrap().unwrap().to_vec()).unwrap();
    assert_eq!(text, format!("{} refs/heads/main, 0 tables, {} bytes", id(2), LARGE + 5));
    assert_eq!((made.bytes, made.tip, made.stored), (text.len() as u64, id(2), (LARGE + 5) as u64));
    assert!(!keep(&repository).await, "nothing has changed");

    let reader = bed.another().open().await;
    assert_eq!(bundle(&reader), Some(made));
    let report = bed.another().repositories.check(&"team-a/hello".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}

#[tokio::test]
async fn a_newer_bundle_takes_the_place_of_an_older_one_which_goes_after_the_grace_period() {
    let bed = Bed::with(Policy::default());
    let repository = bed.server.open().await;
    push_large(&repository, "main", None, 1).await;
    assert!(keep(&repository).await);
    let first = bundle(&repository).unwrap();
    push_large(&repository, "main", Some(1), 2).await;
    assert_eq!(bundle(&repository).as_ref(), Some(&first), "the branch went on: it is as good as before");
    assert!(keep(&repository).await);
    let second = bundle(&repository).unwrap();
    assert!(second.upload.generation > first.upload.generation);
    bed.clock.advance(DAY - 60);
    bed.maintain().await;
    assert_eq!(bed.count(".bundle"), 2, "clients may be reading the old one");
    bed.clock.advance(120);
    bed.maintain().await;
    let key = crate::keys::bundle(repository.id(), &second.upload);
    assert!(bed.count(".bundle") == 1 && bed.store.keys().contains(&key), "{:?}", bed.store.keys());
    bed.clock.advance(40 * DAY);
    bed.maintain().await;
    assert!(bed.store.keys().contains(&key), "what is offered stays, however old it is");
}

#[tokio::test]
async fn a_bundle_ends_with_the_push_that_rewinds_or_deletes_its_branch() {
    for (edits, dropped, ends) in [
        (push(&[("main", Some(1), Some(2))]), None, false),
        (push(&[("side", Some(1), Some(2))]), Some(1), false),
        (push(&[("side", Some(1), None)]), Some(1), false),
        (push(&[("main", Some(1), Some(0))]), Some(1), true),
        (push(&[("main", Some(1), None)]), None, true),
        (push(&[("side", Some(1), Some(2)), ("main", Some(1), Some(0))]), Some(1), true),
    ] {
        let bed = Bed::with(Policy::default());
        let repository = bed.server.open().await;
        push_large(&repository, "main", None, 1).await;
        repository.commit(push(&[("side", None, Some(1))])).await.unwrap();
        assert!(keep(&repository).await);
        let text = format!("{:?}", edits.edits);
        repository.commit(Push { dropped: dropped.map(id).into_iter().collect(), ..edits }).await.unwrap();
        assert_eq!(bundle(&repository).is_none(), ends, "{text}");
        assert_eq!(bundle(&*bed.another().open().await).is_none(), ends, "{text}, read from the log");
        bed.clock.advance(2 * DAY);
        bed.maintain().await;
        assert_eq!(bed.count(".bundle"), usize::from(!ends), "{text}");
    }
}

#[tokio::test]
async fn what_its_branch_has_left_meanwhile_is_not_named() {
    let bed = Bed::with(Policy::default());
    let repository = bed.server.open().await;
    push_large(&repository, "main", None, 5).await;
    let made = |tip, generation| BundleRecord {
        upload: crate::Upload { generation, nonce: [1; 8] },
        bytes: 3,
        branch: wish().branch,
        tip: id(tip),
        stored: 1,
    };
    let generation = repository.known().generation;
    assert!(!repository.name_bundle(made(6, generation)).await.unwrap(), "it was rewound");
    assert!(repository.name_bundle(made(4, generation)).await.unwrap(), "it went on");
}

#[tokio::test]
async fn what_nobody_wants_any_more_is_given_up() {
    let bed = Bed::with(Policy::default());
    let repository = bed.server.open().await;
    push_large(&repository, "main", None, 1).await;
    assert!(keep(&repository).await);
    // Clients do not reach the memory of a test: then there is none, whatever the manifest says.
    let path = "team-a/hello".parse().unwrap();
    assert!(!bed.server.repositories.keep_bundle(&path, Some(&wish())).await.unwrap());
    assert_eq!(bundle(&repository), None);
    let generation = repository.known().generation;
    assert!(!bed.server.repositories.keep_bundle(&path, Some(&wish())).await.unwrap());
    assert_eq!(repository.known().generation, generation, "there is nothing more to say");
    bed.clock.advance(2 * DAY);
    bed.maintain().await;
    assert_eq!(bed.count(".bundle"), 0);
}

#[tokio::test]
async fn a_lost_bundle_is_made_again_and_one_that_no_entry_names_is_swept() {
    let bed = Bed::with(Policy::default());
    let repository = bed.server.open().await;
    push_large(&repository, "main", None, 1).await;
    assert!(keep(&repository).await);
    let lost = crate::keys::bundle(repository.id(), &bundle(&repository).unwrap().upload);
    bed.store.delete(&lost).await.unwrap();
    assert!(keep(&repository).await);
    let made = crate::keys::bundle(repository.id(), &bundle(&repository).unwrap().upload);
    let orphan = crate::keys::bundle(repository.id(), &crate::Upload { generation: 0, nonce: [9; 8] });
    bed.store.put(&orphan, bytes::Bytes::from_static(b"orphan")).await.unwrap();
    bed.clock.advance(2 * DAY);
    assert_eq!(bed.maintain().await.orphans, 1);
    assert!(bed.store.keys().contains(&made) && !bed.store.keys().contains(&orphan));
}

#[tokio::test]
async fn a_bundle_goes_with_its_repository() {
    let bed = Bed::with(Policy::default());
    let repository = bed.server.open().await;
    push_large(&repository, "main", None, 1).await;
    assert!(keep(&repository).await);
    bed.server.repositories.delete(&"team-a/hello".parse().unwrap()).await.unwrap();
    assert_eq!(bed.count(""), 0, "{:?}", bed.store.keys());
}
