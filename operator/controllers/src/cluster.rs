//! Follows an API server: publishes what its resources say, and goes on with what it knew while the server is away.
//!
//! Secrets are read only in namespaces that grant it (ADR 0004), and of those only git credentials and the Secrets that Repositories
//! and notification rules name.

mod feed;
mod objects;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::desired::DesiredState;
use model::replication::Replication;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::index::Scope;
use feed::{Change, FeedEvent, FeedId, Watch};
use objects::Objects;
pub use objects::{ObjectKey, Observed, View};
use snapshot::SnapshotFile;

/// Changes that come together are published together.
const SETTLE: Duration = Duration::from_millis(20);
/// Events that wait to be taken in.
const QUEUE: usize = 1_024;
/// How long the API server may take to answer before a server starts from its last snapshot.
const PATIENCE: Duration = Duration::from_secs(5);
/// Snapshots are written at most this often.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(1);

/// What of a cluster is followed.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// Namespaces that are followed; all when empty.
    pub namespaces: Vec<String>,
    /// Names of the stores that Repositories may choose.
    pub stores: Vec<String>,
    /// How Repositories of a store are replicated that do not say, by its name.
    pub replication: BTreeMap<String, Arc<Replication>>,
    /// The cluster's DNS domain, `cluster.local` nearly everywhere.
    pub cluster_domain: String,
    /// Whether Secrets are followed where they are granted.
    pub secrets: bool,
    /// Where the last snapshot is kept, and how old one may be that a server starts from.
    pub snapshot: Option<(PathBuf, Duration)>,
}

/// A cluster that is followed.
pub struct Cluster {
    desired: watch::Receiver<Arc<DesiredState>>,
    view: watch::Receiver<Arc<View>>,
}

impl Cluster {
    /// Begins to follow; the future has to be spawned, and ends with `stop`.
    pub fn follow(
        client: kube::Client,
        config: ClusterConfig,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (desired, view) = (watch::Sender::default(), watch::Sender::default());
        let cluster = Self { desired: desired.subscribe(), view: view.subscribe() };
        let scope = Scope {
            stores: config.stores,
            replication: config.replication,
            own_buckets: false,
            cluster_domain: Some(config.cluster_domain),
            secrets: config.secrets,
        };
        let (events, queue) = mpsc::channel(QUEUE);
        let follower = Follower {
            client,
            namespaces: config.namespaces,
            secrets: config.secrets,
            scope,
            snapshot: config.snapshot.map(|(path, max_age)| SnapshotFile::new(path, max_age)),
            objects: Objects::default(),
            events,
            tasks: BTreeMap::new(),
            reported: BTreeSet::new(),
            failing: BTreeSet::new(),
            desired,
            view,
        };
        (cluster, follower.run(queue, stop))
    }

    /// A cluster that somebody else follows, for the pods of one Repository: each list that is fed takes the place of the last.
    #[must_use]
    pub fn fed(config: ClusterConfig) -> (Self, Feeder) {
        let (desired, view) = (watch::Sender::default(), watch::Sender::default());
        let cluster = Self { desired: desired.subscribe(), view: view.subscribe() };
        let scope = Scope {
            stores: config.stores,
            replication: config.replication,
            own_buckets: true,
            cluster_domain: Some(config.cluster_domain),
            secrets: true,
        };
        let snapshot = config.snapshot.map(|(path, max_age)| SnapshotFile::new(path, max_age));
        (cluster, Feeder { scope, snapshot, desired, view })
    }

    /// What the servers have to enforce, now and after each change.
    #[must_use]
    pub fn desired(&self) -> watch::Receiver<Arc<DesiredState>> {
        self.desired.clone()
    }

    /// All that is known, now and after each change.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// Waits until everything was listed once, or the last snapshot was taken in its place.
    pub async fn ready(&self) {
        let mut view = self.view.clone();
        // The sender lives as long as the task does; when that ends the process is ending.
        let _ended = view.wait_for(|view| view.is_known).await;
    }
}

/// Publishes what it is fed.
pub struct Feeder {
    scope: Scope,
    snapshot: Option<SnapshotFile>,
    desired: watch::Sender<Arc<DesiredState>>,
    view: watch::Sender<Arc<View>>,
}

impl Feeder {
    /// Publishes a list, and keeps it for the next start.
    pub async fn feed(&mut self, documents: Vec<serde_json::Value>) {
        let kept: Vec<Arc<serde_json::Value>> = documents.iter().cloned().map(Arc::new).collect();
        self.publish(documents, false);
        if let Some(snapshot) = &mut self.snapshot
            && let Err(error) = snapshot.save(kept).await
        {
            tracing::warn!(%error, "failed to write the snapshot; a restart will need the pool");
        }
    }

    /// Publishes the last snapshot, if there is one that is fresh enough.
    pub async fn restore(&mut self) {
        let Some(snapshot) = &self.snapshot else { return };
        match snapshot.load().await {
            Ok(documents) => {
                tracing::warn!("the pool does not answer; starting from the last snapshot");
                self.publish(documents, true);
            }
            Err(error) => tracing::warn!(%error, "the pool does not answer, and there is no snapshot to start from"),
        }
    }

    fn publish(&self, documents: Vec<serde_json::Value>, is_stale: bool) {
        let mut objects = Objects::default();
        objects.restore(documents);
        let view = Arc::new(objects.view(&self.scope, is_stale));
        self.desired.send_replace(Arc::clone(&view.desired));
        self.view.send_replace(view);
    }
}

/// The task.
struct Follower {
    client: kube::Client,
    namespaces: Vec<String>,
    secrets: bool,
    scope: Scope,
    snapshot: Option<SnapshotFile>,
    objects: Objects,
    events: mpsc::Sender<FeedEvent>,
    tasks: BTreeMap<FeedId, AbortHandle>,
    /// Problems that were logged.
    reported: BTreeSet<String>,
    /// Feeds whose failure was logged.
    failing: BTreeSet<FeedId>,
    desired: watch::Sender<Arc<DesiredState>>,
    view: watch::Sender<Arc<View>>,
}

impl Follower {
    async fn run(mut self, mut queue: mpsc::Receiver<FeedEvent>, stop: CancellationToken) {
        self.open_main_feeds();
        let mut publish_at = None;
        let mut give_up_at = self.snapshot.is_some().then(|| Instant::now() + PATIENCE);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(event) = queue.recv() => {
                    self.log_failure(&event);
                    self.objects.apply(event);
                    publish_at.get_or_insert_with(|| Instant::now() + SETTLE);
                }
                () = sleep_until(publish_at) => {
                    publish_at = None;
                    self.open_secret_feeds();
                    if self.objects.is_complete() {
                        give_up_at = None;
                        self.publish();
                    }
                }
                () = sleep_until(give_up_at) => {
                    give_up_at = None;
                    self.start_from_snapshot().await;
                }
                () = sleep_until(self.snapshot.as_ref().and_then(SnapshotFile::due)) => self.save_snapshot().await,
            }
        }
        for task in self.tasks.values() {
            task.abort();
        }
    }

    fn open_main_feeds(&mut self) {
        let all = [String::new()];
        let namespaces = if self.namespaces.is_empty() { all.to_vec() } else { self.namespaces.clone() };
        for namespace in namespaces {
            for watch in [Watch::Repositories, Watch::AccessPolicies, Watch::NotificationRules] {
                self.open(FeedId { watch, namespace: namespace.clone(), fields: String::new() });
            }
            if self.secrets {
                let fields = format!("metadata.name={}", crds::CREDENTIALS_GRANT);
                self.open(FeedId { watch: Watch::RoleBindings, namespace, fields });
            }
        }
    }

    fn open_secret_feeds(&mut self) {
        if !self.secrets {
            return;
        }
        let (wanted, open) = (self.objects.wanted_secrets(), self.objects.open_secrets());
        for feed in open.difference(&wanted) {
            self.objects.close(feed);
            self.failing.remove(feed);
            if let Some(task) = self.tasks.remove(feed) {
                task.abort();
            }
        }
        for feed in wanted.difference(&open) {
            self.open(feed.clone());
        }
    }

    fn open(&mut self, feed: FeedId) {
        self.objects.open(feed.clone());
        let task = tokio::spawn(feed::follow(self.client.clone(), feed.clone(), self.events.clone()));
        self.tasks.insert(feed, task.abort_handle());
    }

    fn publish(&mut self) {
        let view = self.objects.view(&self.scope, false);
        self.report(&view);
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.changed(SNAPSHOT_EVERY);
        }
        let view = Arc::new(view);
        self.desired.send_replace(Arc::clone(&view.desired));
        self.view.send_replace(view);
    }

    /// Logs each problem when it appears.
    fn report(&mut self, view: &View) {
        let now: BTreeSet<String> = view.problems.iter().map(ToString::to_string).collect();
        for problem in now.difference(&self.reported) {
            tracing::warn!("{problem}");
        }
        self.reported = now;
    }

    /// Logs when a feed stops to work and when it works again.
    fn log_failure(&mut self, event: &FeedEvent) {
        match &event.change {
            Change::Failed(reason) => {
                if self.failing.insert(event.feed.clone()) {
                    tracing::warn!(feed = %event.feed, reason, "failed to follow the API server; what it said before stays in effect");
                }
            }
            Change::ListDone | Change::Applied(_) | Change::Deleted(_) => {
                if self.failing.remove(&event.feed) {
                    tracing::info!(feed = %event.feed, "following the API server again");
                }
            }
            Change::ListBegun | Change::Listed(_) => {}
        }
    }

    async fn start_from_snapshot(&mut self) {
        let Some(snapshot) = &self.snapshot else { return };
        let documents = match snapshot.load().await {
            Ok(documents) => documents,
            Err(error) => {
                tracing::warn!(%error, "the API server does not answer, and there is no snapshot to start from; waiting");
                return;
            }
        };
        tracing::warn!(objects = documents.len(), "the API server does not answer; starting from the last snapshot");
        let mut restored = Objects::default();
        restored.restore(documents);
        let view = Arc::new(restored.view(&self.scope, true));
        self.desired.send_replace(Arc::clone(&view.desired));
        self.view.send_replace(view);
    }

    async fn save_snapshot(&mut self) {
        let documents = self.objects.documents();
        if let Some(snapshot) = &mut self.snapshot
            && let Err(error) = snapshot.save(documents).await
        {
            tracing::warn!(%error, "failed to write the snapshot; a restart will need the API server");
        }
    }
}

/// Sleeps until then; for ever when there is no such time.
async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
