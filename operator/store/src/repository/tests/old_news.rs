//! Servers that lag: what they read on their way to the newest state is not the newest state.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Server, id, push};
use crate::testing::MemoryStore;
use crate::{Create, ObjectMeta, ObjectStore, StoreError};
use model::RefName;

/// A store of which some answers take their time: of each of these, the next one to a request that ends so.
#[derive(Clone)]
struct SlowStore {
    inner: MemoryStore,
    delays: Arc<Mutex<VecDeque<(&'static str, Duration)>>>,
}

impl SlowStore {
    async fn wait(&self, key: &str) {
        let delay = {
            let mut delays = self.delays.lock().unwrap();
            let place = delays.iter().position(|(end, _)| key.ends_with(end));
            place.and_then(|place| delays.remove(place))
        };
        if let Some((_, delay)) = delay {
            tokio::time::sleep(delay).await;
        }
    }
}

#[async_trait]
impl ObjectStore for SlowStore {
    async fn create(&self, key: &str, body: Bytes) -> Result<Create, StoreError> {
        let answer = self.inner.create(key, body).await;
        self.wait(key).await;
        answer
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        self.inner.put(key, body).await
    }

    async fn upload(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        self.inner.upload(key, file).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let answer = self.inner.get(key).await;
        self.wait(key).await;
        answer
    }

    async fn download(&self, key: &str, file: &Path, size: u64) -> Result<bool, StoreError> {
        self.inner.download(key, file, size).await
    }

    async fn download_range(&self, key: &str, file: &Path, range: Range<u64>, size: u64) -> Result<bool, StoreError> {
        self.inner.download_range(key, file, range, size).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        self.inner.list(prefix, after, limit).await
    }
}

#[tokio::test]
async fn a_push_is_not_refused_for_what_was_true_long_ago() {
    let store = MemoryStore::default();
    let (one, two) = (Server::new(store.clone()), Server::new(store));
    let writer = one.open().await;
    writer.commit(push(&[("main", None, Some(1))])).await.unwrap();
    let lagging = two.open().await;
    lagging.snapshot().await.unwrap();
    writer.commit(push(&[("main", Some(1), Some(2))])).await.unwrap();
    writer.commit(push(&[("main", Some(2), Some(1))])).await.unwrap();
    // It tries the number of the first of these, and learns a value that main had, but has no more.
    let committed = lagging.commit(push(&[("main", Some(1), Some(3))])).await.unwrap();
    assert_eq!((committed.generation, committed.results), (4, vec![Ok(())]));
}

#[tokio::test(start_paused = true)]
async fn a_read_goes_on_to_the_end_of_the_log_while_a_push_moves_on_what_is_known() {
    let memory = MemoryStore::default();
    let delays = Arc::new(Mutex::new(VecDeque::new()));
    let (one, two) =
        (Server::new(memory.clone()), Server::new(SlowStore { inner: memory, delays: Arc::clone(&delays) }));
    let writer = one.open().await;
    writer.commit(push(&[("main", None, Some(1))])).await.unwrap();
    // The hint, from which the other one begins, is written.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let lagging = two.open().await;
    assert_eq!(lagging.known().generation, 1);
    writer.commit(push(&[("main", Some(1), Some(2))])).await.unwrap();
    writer.commit(push(&[("main", Some(2), Some(3))])).await.unwrap();
    delays.lock().unwrap().extend([
        ("log/00000000000000000001", Duration::from_secs(1)),
        ("log/00000000000000000003", Duration::from_secs(10)),
    ]);
    let reader = Arc::clone(&lagging);
    let read = tokio::spawn(async move { reader.snapshot().await.unwrap() });
    tokio::task::yield_now().await;
    let pusher = Arc::clone(&lagging);
    let committed = tokio::spawn(async move { pusher.commit(push(&[("other", None, Some(9))])).await.unwrap() });
    assert_eq!(read.await.unwrap().refs.get(&RefName::branch("main").unwrap()), Some(id(3)));
    assert_eq!(committed.await.unwrap().generation, 4);
}
