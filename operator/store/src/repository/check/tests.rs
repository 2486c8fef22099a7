use model::{ObjectId, RefName, RefValue};

use super::super::hint::Checkpoint;
use super::super::tests::{Server, many, push, settled};
use super::*;
use crate::ObjectStore as _;
use crate::testing::MemoryStore;

#[tokio::test]
async fn a_check_compares_checkpoints_bases_and_hint_with_the_log() {
    let store = MemoryStore::default();
    let server = Server::new(store.clone());
    let repository = server.open().await;
    repository.commit(many(0, 6_000, 1)).await.unwrap();
    settled(&store, &repository).await;
    for step in 0..70 {
        repository.commit(push(&[(&format!("b{step}"), None, Some(step))])).await.unwrap();
    }
    let hint = settled(&store, &repository).await;
    let path = "team-a/hello".parse().unwrap();
    let check = async || Server::new(store.clone()).repositories.check(&path).await.unwrap().unwrap().problems;
    assert_eq!(check().await, Vec::<String>::new());
    let derived = |key: &String| key.contains("/checkpoint/") || key.contains("/references/");
    let keys: Vec<String> = store.keys().into_iter().filter(derived).collect();
    assert!(keys.len() >= 3, "{keys:?}");
    for key in &keys {
        store.tamper(key, |bytes| bytes[30] ^= 1);
        assert!(check().await.iter().any(|problem| problem.contains(key)), "{key} damaged");
        store.tamper(key, |bytes| bytes[30] ^= 1);
    }
    let base = keys::references(repository.id(), 1);
    let kept = store.get(&base).await.unwrap().unwrap();
    store.delete(&base).await.unwrap();
    let problems = check().await;
    assert!(problems.iter().all(|problem| problem.contains("/checkpoint/") && problem.contains("of no use")));
    assert_eq!(problems.len(), keys.len() - 1, "{problems:?}");
    let other = [(RefName::branch("x").unwrap(), Some(RefValue { id: ObjectId::Sha1([1; 20]), peeled: None }))];
    let other = Table::encode(Refs::layered(None, other).iter()).unwrap();
    store.create(&base, other).await.unwrap();
    assert!(check().await.iter().any(|problem| problem.contains(&base) && problem.contains("does not say")));
    store.put(&base, kept).await.unwrap();
    let wrong = Snapshot { pushes: 1_000, ..(*repository.known()).clone() };
    let key = keys::checkpoint(repository.id(), wrong.generation);
    store.put(&key, checkpoint::encode(repository.id(), &wrong)).await.unwrap();
    assert!(check().await.iter().any(|problem| problem.contains(&key) && problem.contains("does not say")));
    store.delete(&key).await.unwrap();
    let beyond = Hint { generation: 1_000, checkpoint: Checkpoint::default(), ..hint };
    store.put(&keys::hint(repository.id()), beyond.encode(repository.id())).await.unwrap();
    assert!(check().await.iter().any(|problem| problem.contains("/hint") && problem.contains("missing")));
}
