//! Logs that are closed, overruled and shifted.

use model::clock::SystemRandom;

use super::*;
use crate::replicated::epoch::tests::epochs;
use crate::testing::MemoryStore;

fn member(store: &MemoryStore, id: &RepositoryId, bases: &[u64]) -> Member {
    Member::new("far".into(), Arc::new(store.clone()), id.clone(), Arc::new(epochs(bases)))
}

fn entry(number: u64) -> Bytes {
    Bytes::from(format!("the entry {number}"))
}

async fn fill(member: &Member, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        assert_eq!(member.settle(number, &entry(number)).await.unwrap(), Settled::Same);
    }
}

#[tokio::test]
async fn the_end_is_found_wherever_one_begins_to_look() {
    for last in 0..20 {
        let (store, id) = (MemoryStore::default(), RepositoryId::random(&SystemRandom));
        let log = member(&store, &id, &[]);
        fill(&log, 1..=last).await;
        for from in 0..=last {
            assert_eq!(log.end(from).await.unwrap(), last, "from {from}");
        }
        assert_eq!(log.close(0).await.unwrap(), last);
        assert_eq!(log.close(0).await.unwrap(), last, "once more");
        assert_eq!(log.end(0).await.unwrap(), last);
        assert_eq!(log.slot(last + 1).await.unwrap(), Slot::Closed);
        assert_eq!(log.settle(last + 1, &entry(99)).await.unwrap(), Settled::Closed);
    }
}

#[tokio::test]
async fn what_was_written_in_vain_is_overruled_until_the_log_is_closed() {
    let (store, id) = (MemoryStore::default(), RepositoryId::random(&SystemRandom));
    let log = member(&store, &id, &[]);
    fill(&log, 1..=2).await;
    log.create(&keys::log_entry(&id, 3), entry(300)).await.unwrap();
    assert_eq!(log.settle(3, &entry(3)).await.unwrap(), Settled::Same);
    assert_eq!(log.slot(3).await.unwrap(), Slot::Holds(entry(3)));
    log.create(&keys::log_entry(&id, 4), entry(400)).await.unwrap();
    assert_eq!(log.close(0).await.unwrap(), 4);
    // Decided too late: it does not count, and is not put in place.
    assert_eq!(log.settle(4, &entry(4)).await.unwrap(), Settled::Closed);
    assert_eq!(log.slot(4).await.unwrap(), Slot::Holds(entry(400)));
}

#[tokio::test]
async fn a_decision_that_was_made_in_time_counts_although_its_maker_stopped() {
    let (store, id) = (MemoryStore::default(), RepositoryId::random(&SystemRandom));
    let log = member(&store, &id, &[]);
    log.create(&keys::log_entry(&id, 1), entry(100)).await.unwrap();
    store.create(&keys::decided(&keys::log_entry(&id, 1)), entry(1)).await.unwrap();
    assert_eq!(log.close(0).await.unwrap(), 1);
    log.adopt_decision(1).await.unwrap();
    assert_eq!(log.slot(1).await.unwrap(), Slot::Holds(entry(1)));
}

#[tokio::test]
async fn a_replica_that_was_closed_early_gets_what_it_lacks_in_the_next_log() {
    let (store, id) = (MemoryStore::default(), RepositoryId::random(&SystemRandom));
    fill(&member(&store, &id, &[]), 1..=3).await;
    assert_eq!(member(&store, &id, &[]).close(0).await.unwrap(), 3);
    // Others had five entries.
    let log = member(&store, &id, &[5]);
    assert_eq!(log.end(0).await.unwrap(), 3);
    fill(&log, 4..=8).await;
    assert_eq!(log.end(2).await.unwrap(), 8);
    for number in 1..=8 {
        assert_eq!(log.get(&keys::log_entry(&id, number)).await.unwrap(), Some(entry(number)), "{number}");
    }
    let listed = log.list(&keys::log_all(&id), None, 100).await.unwrap();
    let mut numbers: Vec<_> = listed.iter().filter_map(|object| keys::number(&object.key)).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
    // What is written over an entry leaves the marker alone.
    log.put(&keys::log_entry(&id, 4), entry(44)).await.unwrap();
    assert_eq!(log.slot(4).await.unwrap(), Slot::Holds(entry(44)));
    assert_eq!(member(&store, &id, &[]).slot(4).await.unwrap(), Slot::Closed);
}

#[tokio::test]
async fn what_an_old_primary_store_held_beyond_is_not_listed() {
    let (store, id) = (MemoryStore::default(), RepositoryId::random(&SystemRandom));
    fill(&member(&store, &id, &[]), 1..=7).await;
    let log = member(&store, &id, &[5]);
    assert_eq!(log.end(0).await.unwrap(), 5);
    assert_eq!(log.slot(6).await.unwrap(), Slot::Free);
    let listed = log.list(&keys::log_all(&id), None, 100).await.unwrap();
    assert_eq!(listed.len(), 5);
}
