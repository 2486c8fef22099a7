//! Learns, ahead of requests, which id each wanted repository has in its store, so that the first request need not ask.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use model::RepositoryPath;
use model::desired::DesiredState;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::gateway::Gateway;

/// How long clients wait at most, at the start, for what is learned.
const PATIENCE: Duration = Duration::from_secs(1);

impl Gateway {
    /// Learns the ids of repositories that come to be wanted, and forgets those that are not any more, until `stop`. Returns the
    /// task that does, when it has learned those that are wanted now; or earlier, if that takes long.
    pub async fn follow_names(self: &Arc<Self>, stop: CancellationToken) -> JoinHandle<()> {
        let (learned, first) = oneshot::channel();
        let task = tokio::spawn(Arc::clone(self).learn_and_forget(learned, stop));
        // Whoever is not known by then is asked for by the first request, or is learned a little later.
        let _ = tokio::time::timeout(PATIENCE, first).await;
        task
    }

    async fn learn_and_forget(self: Arc<Self>, learned: oneshot::Sender<()>, stop: CancellationToken) {
        let (mut desired, mut learned) = (self.desired.clone(), Some(learned));
        let mut known = Arc::default();
        loop {
            let now = Arc::clone(&desired.borrow_and_update());
            self.forget(&known, &now);
            let following = async {
                self.learn(&known, &now).await;
                learned.take();
                desired.changed().await
            };
            match stop.run_until_cancelled(following).await {
                Some(Ok(())) => known = now,
                _ => return,
            }
        }
    }

    async fn learn(&self, before: &DesiredState, now: &DesiredState) {
        let new = missing_in(before, now);
        join_all(new.into_iter().filter_map(|(store, paths)| Some(self.stores.get(store)?.learn(paths)))).await;
    }

    fn forget(&self, before: &DesiredState, now: &DesiredState) {
        for (store, paths) in missing_in(now, before) {
            if let Some(store) = self.stores.get(store) {
                store.forget(&paths);
            }
        }
    }
}

/// The repositories of `state`, by store, that `other` does not have.
fn missing_in<'a>(other: &DesiredState, state: &'a DesiredState) -> BTreeMap<&'a str, Vec<RepositoryPath>> {
    let mut missing: BTreeMap<&str, Vec<RepositoryPath>> = BTreeMap::new();
    for (path, config) in &state.repositories {
        if !other.repositories.contains_key(path) {
            missing.entry(&config.store).or_default().push(path.clone());
        }
    }
    missing
}
