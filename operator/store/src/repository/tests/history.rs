//! What was is told exactly, from a log with every kind of entry in it.

use std::collections::BTreeMap;

use super::*;
use crate::repository::{Moment, PastError};

fn names(refs: &BTreeMap<RefName, ObjectId>) -> Vec<(String, ObjectId)> {
    refs.iter().map(|(name, id)| (name.short().to_string(), *id)).collect()
}

#[tokio::test]
async fn every_moment_is_told_as_it_was() {
    let server = Server::new(MemoryStore::default());
    let repository = server.open().await;
    let mut seen = vec![vec![]];
    for round in 0..40_u32 {
        let (main, side) = ("main", format!("side{}", round % 3));
        let known = repository.known();
        let value = |name: &str| known.refs.get(&RefName::branch(name).unwrap());
        let number = |id: Option<ObjectId>| id.map(|_| 0);
        let mut push = push(&[(main, number(value(main)), Some(round + 1))]);
        push.edits[0].old = value(main);
        push.edits.push(RefEdit {
            name: RefName::branch(&side).unwrap(),
            old: value(&side),
            new: value(&side).is_none().then(|| id(round)),
            peeled: None,
        });
        repository.commit(push).await.unwrap();
        let now = repository.known();
        seen.push(
            now.refs
                .iter()
                .map(|found| (RefName::try_from(&**found.name).unwrap().short().to_string(), found.id))
                .collect(),
        );
    }
    let now = repository.snapshot().await.unwrap();
    for (generation, refs) in seen.iter().enumerate() {
        let past = repository.past(&now, Moment::Generation(generation as u64)).await.unwrap();
        assert_eq!((past.generation, &names(&past.refs)), (generation as u64, refs));
    }
    let future = repository.past(&now, Moment::Generation(41)).await;
    assert!(matches!(future, Err(PastError::Future(40))));
    let changes = repository.changes(&now, 3).await.unwrap();
    assert_eq!(changes.iter().map(|change| change.generation).collect::<Vec<_>>(), [40, 39, 38]);
    let at = |time| repository.past(&now, Moment::Time(time));
    assert_eq!(
        at(changes[1].time).await.unwrap().generation.clamp(39, 40),
        at(changes[1].time).await.unwrap().generation
    );
    assert_eq!(at(jiff::Timestamp::UNIX_EPOCH).await.unwrap().refs, BTreeMap::new());
}
