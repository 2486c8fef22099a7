use super::*;
use crate::testing::{Fault, FaultyStore, MemoryStore};

#[tokio::test]
async fn the_first_cluster_has_a_prefix_and_keeps_it() {
    let store = MemoryStore::default();
    claim(&store, "one").await.unwrap();
    claim(&store, "one").await.unwrap();
    let refused = claim(&store, "other").await.unwrap_err();
    assert!(refused.to_string().contains("belongs to cluster one"), "{refused}");
    assert!(refused.to_string().contains(keys::owner()), "says how to hand it over: {refused}");
}

#[tokio::test]
async fn of_many_at_once_one_cluster_wins() {
    let store = MemoryStore::default();
    let names: Vec<String> = (0..8).map(|cluster| cluster.to_string()).collect();
    let outcomes = futures::future::join_all(names.iter().map(|name| claim(&store, name))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_ours_all_the_same() {
    let store = FaultyStore::new(MemoryStore::default(), [Fault::AnswerLost]);
    claim(&store, "one").await.unwrap();
    assert!(claim(&store, "other").await.is_err());
}

#[tokio::test]
async fn what_is_no_claim_is_not_overwritten() {
    let store = MemoryStore::default();
    store.create(keys::owner(), Bytes::from_static(b"{")).await.unwrap();
    assert!(matches!(claim(&store, "one").await, Err(ClaimError::Damaged(_))));
}
