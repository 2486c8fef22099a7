use std::time::Duration;

use prometheus::Registry;
use store::StoreMetrics;

use super::*;
use crate::args::NamedStore;

fn door(place: &Path) -> Door {
    let url = format!("file:{}", place.display()).parse().unwrap();
    let named = NamedStore { name: "far".to_owned(), url };
    let metrics = StoreMetrics::new(&Registry::new()).unwrap();
    Door { named, credentials: None, metrics, prove: true, cluster: Some("ours".to_owned()) }
}

#[tokio::test]
async fn a_store_that_comes_later_takes_part_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("far");
    std::fs::write(&place, "in the way").unwrap();
    let error = door(&place).open().await.map(drop).unwrap_err();
    assert!(may_come(&error), "{error:#}");
    let store = stand_in(door(&place), &error);
    let refused = store.create("a", Bytes::from_static(b"b")).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable { .. }), "nothing was changed: {refused}");
    assert!(refused.to_string().contains("has not answered since this server started"), "{refused}");
    std::fs::remove_file(&place).unwrap();
    let there = async {
        while store.get("a").await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        store.create("a", Bytes::from_static(b"b")).await
    };
    let created = tokio::time::timeout(Duration::from_secs(30), there).await.unwrap();
    assert_eq!(created.unwrap(), Create::Created);
}

#[tokio::test]
async fn a_store_of_another_cluster_does_not_come() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("far");
    let theirs = Door { cluster: Some("theirs".to_owned()), ..door(&place) };
    theirs.open().await.map(drop).unwrap();
    let error = door(&place).open().await.map(drop).unwrap_err();
    assert!(!may_come(&error), "{error:#}");
}
