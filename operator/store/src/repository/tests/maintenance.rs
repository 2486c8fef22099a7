//! Maintenance, with time in the test's hands.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use model::RefName;
use model::clock::Clock;

use super::{Server, id, push, with_pack};
use crate::testing::{Fault, FaultyStore, MemoryStore};
use crate::{CommitError, Error, Events, Maintained, ObjectStore, Policy, Repository};

pub(super) const DAY: i64 = 86_400;

/// A clock that stands where the test puts it.
#[derive(Clone)]
pub(super) struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_000 * DAY)))
    }

    pub(super) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst).unsigned_abs())
    }
}

pub(super) struct Bed {
    pub(super) store: MemoryStore,
    pub(super) clock: ManualClock,
    pub(super) server: Server,
    policy: Policy,
}

impl Bed {
    fn new() -> Self {
        Self::with(Policy::default())
    }

    pub(super) fn with(policy: Policy) -> Self {
        let (store, clock) = (MemoryStore::default(), ManualClock::new());
        let server = Self::server_on(store.clone(), &clock, policy);
        Self { store, clock, server, policy }
    }

    fn server_on(store: impl ObjectStore, clock: &ManualClock, policy: Policy) -> Server {
        Server::with(store, Arc::new(clock.clone()), policy)
    }

    /// Another server of the same bucket.
    pub(super) fn another(&self) -> Server {
        Self::server_on(self.store.clone(), &self.clock, self.policy)
    }

    pub(super) async fn maintain(&self) -> Maintained {
        self.server.repositories.maintain(&"team-a/hello".parse().unwrap()).await.unwrap()
    }

    pub(super) fn count(&self, part: &str) -> usize {
        self.store.keys().iter().filter(|key| key.contains(part)).count()
    }
}

async fn push_steps(repository: &Arc<Repository>, steps: std::ops::Range<u32>) {
    for step in steps {
        let push = with_pack(push(&[("main", step.checked_sub(1), Some(step))]), format!("pack {step}").as_bytes());
        repository.commit(push).await.unwrap();
    }
}

/// Waits until the checkpoint and hint that commits have due are written.
pub(super) async fn settle(repository: &Repository) {
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let generation = repository.known().generation;
        let kept = repository.housekeeping.try_lock().is_ok_and(|state| state.kept == generation);
        if kept && repository.written.try_lock().is_ok_and(|written| written.hint == generation) {
            return;
        }
    }
    panic!("housekeeping does not come to an end");
}

#[tokio::test]
async fn retired_packs_go_after_the_grace_period_and_not_before() {
    let bed = Bed::new();
    let repository = bed.server.open().await;
    for round in 0..2 {
        push_steps(&repository, round * 40..(round + 1) * 40).await;
        settle(&repository).await;
    }
    assert!(bed.count(".pack") > 1, "{:?}", bed.store.keys());
    bed.clock.advance(DAY - 60);
    assert_eq!(bed.maintain().await.deleted, 0);
    bed.clock.advance(120);
    assert!(bed.maintain().await.deleted > 0);
    assert_eq!(bed.count(".pack"), 1);
    let reader = bed.another();
    let reopened = reader.open().await;
    let snapshot = reopened.snapshot().await.unwrap();
    assert!(snapshot.upkeep.retired.is_empty());
    let packs = reopened.local_packs(&snapshot).await.unwrap();
    assert_eq!(packs.packs.iter().map(|pack| pack.objects).sum::<u64>(), 80);
}

#[tokio::test]
async fn old_entries_become_stubs_and_everything_else_goes_on() {
    let bed = Bed::new();
    let repository = bed.server.open().await;
    let sleeper = bed.another();
    let asleep = sleeper.open().await;
    push_steps(&repository, 0..1).await;
    asleep.snapshot().await.unwrap();
    for round in 0..6 {
        push_steps(&repository, 1 + round * 40..1 + (round + 1) * 40).await;
        settle(&repository).await;
    }
    assert!(bed.count("/checkpoint/") >= 3);
    bed.clock.advance(13 * DAY);
    assert_eq!(bed.maintain().await.truncated, 0, "events are kept for two weeks");
    bed.clock.advance(2 * DAY);
    let truncated = bed.maintain().await.truncated;
    assert!(truncated > 60, "{truncated}");
    assert_eq!(bed.count("/checkpoint/"), 2);
    assert_eq!(repository.events_of(1).await.unwrap(), Events::Gone);
    let now = repository.snapshot().await.unwrap();

    // Whoever slept meanwhile sees everything, and writes nothing into the past.
    assert_eq!(asleep.snapshot().await.unwrap().digest, now.digest);
    let late = bed.another();
    let fresh = late.open().await;
    assert_eq!(fresh.known().digest, now.digest);
    let report = late.repositories.check(&"team-a/hello".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    push_steps(&asleep, 241..242).await;
    assert_eq!(repository.snapshot().await.unwrap().generation, now.generation + 1);
    // A hint of the time before misleads nobody.
    bed.store.put(&crate::keys::hint(repository.id()), r#"{"generation":2,"checkpoint":0}"#.into()).await.unwrap();
    assert_eq!(bed.another().open().await.known().generation, now.generation + 1);
}

#[tokio::test]
async fn a_writer_that_slept_through_a_truncation_does_not_fork_the_log() {
    let bed = Bed::new();
    let repository = bed.server.open().await;
    push_steps(&repository, 0..1).await;
    // Its first answers are lost, so that it has to ask whose the number is.
    let sleeper = Bed::server_on(FaultyStore::new(bed.store.clone(), [Fault::RequestLost]), &bed.clock, bed.policy);
    let asleep = sleeper.open().await;
    for round in 0..6 {
        push_steps(&repository, 1 + round * 40..1 + (round + 1) * 40).await;
        settle(&repository).await;
    }
    bed.clock.advance(15 * DAY);
    assert!(bed.maintain().await.truncated > 0);
    let lost = asleep.commit(push(&[("main", Some(0), Some(7))])).await;
    assert!(matches!(lost, Err(CommitError::Moved(_))), "{lost:?}");
    let other = asleep.commit(push(&[("topic", None, Some(7))])).await.unwrap();
    assert_eq!(other.generation, repository.snapshot().await.unwrap().generation);
}

#[tokio::test]
async fn what_a_crashed_push_uploaded_is_swept() {
    let bed = Bed::new();
    let repository = bed.server.open().await;
    push_steps(&repository, 0..1).await;
    let orphan = crate::keys::pack(repository.id(), &crate::Upload { generation: 1, nonce: [9; 8] });
    bed.store.put(&orphan, "bytes".into()).await.unwrap();
    let large = with_pack(push(&[("main", Some(0), Some(1))]), &vec![7; 300 << 10]);
    repository.commit(large).await.unwrap();
    assert_eq!(bed.maintain().await.orphans, 1);
    assert!(bed.store.get(&orphan).await.unwrap().is_none());
    assert_eq!(bed.count(".pack"), 1);
    assert_eq!(bed.maintain().await, Maintained::default());
}

#[tokio::test]
async fn a_push_whose_upload_was_swept_uploads_again() {
    let bed = Bed::new();
    let repository = bed.server.open().await;
    push_steps(&repository, 0..1).await;
    let large = with_pack(push(&[("main", Some(0), Some(1))]), &vec![7; 300 << 10]);
    let Some(crate::PushedPack::Received(pack)) = large.pack else { panic!("no pack") };
    let staged = repository.stage(pack).await.unwrap();
    // Another server takes it for an orphan and deletes it.
    let other = bed.another();
    assert_eq!(other.repositories.maintain(&"team-a/hello".parse().unwrap()).await.unwrap().orphans, 1);
    let push = crate::Push { pack: Some(crate::PushedPack::Staged(staged)), ..large_edits() };
    repository.commit(push).await.unwrap();
    let reader = bed.another();
    let cold = reader.open().await;
    let snapshot = cold.snapshot().await.unwrap();
    assert_eq!(cold.local_packs(&snapshot).await.unwrap().packs.len(), 2);
}

fn large_edits() -> crate::Push {
    push(&[("main", Some(0), Some(1))])
}

#[tokio::test]
async fn what_is_pruned_goes_after_its_time_and_a_push_from_before_is_checked_again() {
    let bed = Bed::new();
    let repository = bed.server.open().await;
    push_steps(&repository, 0..2).await;
    let rewind = crate::Push { dropped: vec![id(1)], ..push(&[("main", Some(1), Some(5))]) };
    repository.commit(rewind).await.unwrap();
    let before = repository.known();
    assert_eq!(before.upkeep.dropped.ids(), [id(1)]);
    bed.clock.advance(13 * DAY);
    assert_eq!(bed.maintain().await.pruned, 0);
    bed.clock.advance(2 * DAY);
    assert_eq!(bed.maintain().await.pruned, 2);
    let snapshot = repository.snapshot().await.unwrap();
    assert!(snapshot.upkeep.dropped.ids().is_empty());
    let old = crate::Push { checked_at: before.generation, ..push(&[("topic", None, Some(1))]) };
    let Err(CommitError::Pruned(again)) = repository.commit(old).await else { panic!("not told") };
    repository.commit(crate::Push { checked_at: snapshot.generation, ..*again }).await.unwrap();
    assert!(repository.known().refs.get(&RefName::branch("topic").unwrap()).is_some());
}

#[tokio::test(start_paused = true)]
async fn maintenance_is_one_servers_until_its_lease_ends() {
    let bed = Bed::new();
    let repository = bed.server.open().await;
    push_steps(&repository, 0..1).await;
    let orphan = |nonce| crate::keys::pack(repository.id(), &crate::Upload { generation: 1, nonce: [nonce; 8] });
    bed.store.put(&orphan(1), "bytes".into()).await.unwrap();
    assert_eq!(bed.maintain().await.orphans, 1);
    bed.store.put(&orphan(2), "bytes".into()).await.unwrap();
    let other = bed.another();
    let path = "team-a/hello".parse().unwrap();
    assert_eq!(other.repositories.maintain(&path).await.unwrap(), Maintained::default());
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(other.repositories.maintain(&path).await.unwrap().orphans, 1);
}

#[tokio::test(start_paused = true)]
async fn a_scrub_finds_each_damaged_object_and_says_so_until_it_is_mended() {
    let bed = Bed::new();
    let repository = bed.server.open().await;
    let large = with_pack(push(&[("main", None, Some(0))]), &vec![7; 300 << 10]);
    repository.commit(large).await.unwrap();
    push_steps(&repository, 1..2).await;
    bed.clock.advance(29 * DAY);
    bed.maintain().await;
    assert_eq!(repository.known().upkeep.scrub, None);
    bed.clock.advance(2 * DAY);
    assert_eq!(bed.maintain().await.damaged, 0);
    assert_eq!(repository.known().upkeep.scrub.as_ref().unwrap().problems, Vec::<String>::new());
    let keys = bed
        .store
        .keys()
        .into_iter()
        .filter(|key| key.contains("/packs/") || key.ends_with("/log/00000000000000000002"));
    for key in keys.collect::<Vec<_>>() {
        bed.store.tamper(&key, |bytes| bytes[3] ^= 1);
        bed.clock.advance(31 * DAY);
        assert_eq!(bed.maintain().await.damaged, 1, "{key}");
        let scrub = repository.known().upkeep.scrub.clone().unwrap();
        let stem = key.split('.').next().unwrap();
        assert!(scrub.problems.iter().any(|problem| problem.contains(stem)), "{key}: {:?}", scrub.problems);
        bed.store.tamper(&key, |bytes| bytes[3] ^= 1);
        bed.clock.advance(2 * DAY);
        assert_eq!(bed.maintain().await.damaged, 0, "{key}");
    }
}

#[tokio::test]
async fn a_pack_that_is_gone_is_an_error_in_words() {
    let bed = Bed::new();
    let repository = bed.server.open().await;
    let large = with_pack(push(&[("main", None, Some(1))]), &vec![7; 300 << 10]);
    repository.commit(large).await.unwrap();
    let snapshot = repository.snapshot().await.unwrap();
    for key in bed.store.keys().iter().filter(|key| key.contains("/packs/")) {
        bed.store.delete(key).await.unwrap();
    }
    let other = bed.another();
    let cold = other.open().await;
    assert!(matches!(cold.local_packs(&snapshot).await, Err(Error::Missing { .. })));
}
