//! Finds the streams that have something to deliver, and works on a bounded number of them at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use ipnet::IpNet;
use model::clock::{Clock, Random};
use model::desired::DesiredState;
use prometheus::Registry;
use serde::Serialize;
use store::Repositories;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::metrics::NotifyMetrics;
use crate::sender::{Sender, ServiceAddresses};
use crate::ssrf::Filter;
use crate::stream::{Stream, StreamKey, StreamState};

/// How often streams are looked at.
const TICK: Duration = Duration::from_millis(250);
/// When a stream is looked at again whose repository cannot be opened.
const RETRY: Duration = Duration::from_secs(2);
/// Streams that deliver at the same time.
const CONCURRENCY: usize = 32;

/// Why deliveries cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// A permitted network is none.
    #[error("'{0}' is not a network: write it as 10.0.0.0/8")]
    Network(String),
    /// The HTTP client cannot be made.
    #[error("failed to make the HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// The metrics are registered already.
    #[error("failed to register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// How deliveries to one target for one repository go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// The repository.
    pub repository: String,
    /// The rule.
    pub rule: String,
    /// Its target.
    pub target: String,
    /// Log entry up to which everything is delivered, as far as this server knows.
    pub delivered: Option<u64>,
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// The last failure, while it lasts.
    pub last_error: Option<String>,
    /// The last success of this server.
    pub last_success: Option<String>,
}

/// What webhooks may reach beside public addresses.
#[derive(Clone, Default)]
pub struct Reach<'a> {
    /// Networks (CIDR) that the platform team permits.
    pub networks: &'a [String],
    /// Services by their own address, in a cluster.
    pub services: Option<Arc<dyn ServiceAddresses>>,
}

/// Delivers events.
pub struct Notifier {
    sender: Sender,
    desired: watch::Receiver<Arc<DesiredState>>,
    stores: BTreeMap<String, Arc<Repositories>>,
    metrics: NotifyMetrics,
    clock: Arc<dyn Clock>,
    owner: String,
    streams: Mutex<BTreeMap<StreamKey, StreamState>>,
}

impl Notifier {
    /// A notifier that may reach public addresses and what `reach` names.
    ///
    /// # Errors
    /// When a permitted network is none.
    pub fn new(
        reach: Reach<'_>,
        desired: watch::Receiver<Arc<DesiredState>>,
        stores: BTreeMap<String, Arc<Repositories>>,
        registry: &Registry,
        clock: Arc<dyn Clock>,
        random: &dyn Random,
    ) -> Result<Arc<Self>, NotifyError> {
        let parse = |text: &String| text.parse::<IpNet>().map_err(|_| NotifyError::Network(text.clone()));
        let filter = Filter::new(reach.networks.iter().map(parse).collect::<Result<_, _>>()?);
        let mut owner = [0; 8];
        random.fill(&mut owner);
        Ok(Arc::new(Self {
            sender: Sender::new(filter, reach.services, Arc::clone(&clock))?,
            desired,
            stores,
            metrics: NotifyMetrics::new(registry)?,
            clock,
            owner: hex::encode(owner),
            streams: Mutex::default(),
        }))
    }

    /// How deliveries go.
    #[must_use]
    pub fn status(&self) -> Vec<TargetStatus> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let status = |(key, state): (&StreamKey, &StreamState)| TargetStatus {
            repository: key.path.to_string(),
            rule: key.rule.clone(),
            target: key.target.clone(),
            delivered: state.delivered(),
            consecutive_failures: state.failures,
            last_error: state.last_error.clone(),
            last_success: state.last_success.map(|time| time.to_string()),
        };
        streams.iter().map(status).collect()
    }

    /// Marks where new streams begin; called once before clients are served, so that nothing pushed later is missed.
    pub async fn prime(&self) {
        stream::iter(self.selected()).for_each_concurrent(CONCURRENCY, |key| self.mark(key)).await;
    }

    async fn mark(&self, key: StreamKey) {
        let marked = async {
            let Some(mut stream) = self.open(&key).await? else { return Ok(()) };
            let start = stream.repository.snapshot().await?.generation;
            stream.begin(start).await?;
            self.remember(key.clone(), stream.state);
            Ok::<_, store::Error>(())
        };
        if let Err(error) = marked.await {
            tracing::warn!(rule.name = key.rule, repo.name = %key.path, %error, "failed to mark where notifications begin");
        }
    }

    /// Delivers until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut working = JoinSet::new();
        let mut busy = BTreeSet::new();
        while stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_some() {
            while let Some(done) = working.try_join_next() {
                let Ok((key, state)) = done else { continue };
                busy.remove(&key);
                self.remember(key, state);
            }
            let selected = self.selected();
            self.forget_all_but(&selected);
            let now = self.clock.monotonic();
            for key in selected {
                if working.len() >= CONCURRENCY {
                    break;
                }
                if busy.contains(&key) || self.state(&key).retry_at > now {
                    continue;
                }
                match self.open(&key).await {
                    Ok(Some(stream)) => {
                        busy.insert(key);
                        working.spawn(stream.step());
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::debug!(repo.name = %key.path, %error, "failed to look at notifications");
                        self.wait(key, now);
                    }
                }
            }
        }
        working.shutdown().await;
    }

    /// The streams that the rules ask for.
    fn selected(&self) -> Vec<StreamKey> {
        let desired = Arc::clone(&self.desired.borrow());
        let mut keys = Vec::new();
        for rule in &desired.rules {
            for config in desired.repositories.values().filter(|config| rule.selects(&config.path, &config.labels)) {
                keys.extend(rule.targets.iter().map(|target| StreamKey {
                    path: config.path.clone(),
                    rule: rule.name.clone(),
                    target: target.name.clone(),
                }));
            }
        }
        keys
    }

    /// What a stream needs to work; `None` when its rule or repository is not wanted any more.
    async fn open(&self, key: &StreamKey) -> Result<Option<Stream>, store::Error> {
        let desired = Arc::clone(&self.desired.borrow());
        let rule = desired.rules.iter().find(|rule| rule.namespace == key.path.namespace && rule.name == key.rule);
        let config = desired.repositories.get(&key.path);
        let (Some(rule), Some(config)) = (rule, config) else { return Ok(None) };
        let target = rule.targets.iter().find(|target| target.name == key.target);
        let (Some(target), Some(store)) = (target, self.stores.get(&config.store)) else { return Ok(None) };
        // Made if need be: only a repository that exists has a place to say, before the first push, where the stream begins.
        let id = store.find_or_create(&key.path).await?;
        Ok(Some(Stream {
            key: key.clone(),
            rule: Arc::clone(rule),
            target: target.clone(),
            repository: store.open(&id).await?,
            cursor: store.cursor(&id, &key.cursor()),
            sender: self.sender.clone(),
            clock: Arc::clone(&self.clock),
            metrics: self.metrics.clone(),
            owner: self.owner.clone(),
            state: self.state(key),
        }))
    }

    fn state(&self, key: &StreamKey) -> StreamState {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned().unwrap_or_default()
    }

    fn remember(&self, key: StreamKey, state: StreamState) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.insert(key, state);
        let failing = streams.values().filter(|state| state.failures > 0).count();
        self.metrics.failing.set(i64::try_from(failing).unwrap_or(i64::MAX));
    }

    /// Looks at a stream again later.
    fn wait(&self, key: StreamKey, now: Duration) {
        let mut state = self.state(&key);
        state.retry_at = now + RETRY;
        self.remember(key, state);
    }

    /// Rules that are gone leave nothing in memory; their cursors stay in the bucket.
    fn forget_all_but(&self, selected: &[StreamKey]) {
        let selected: BTreeSet<&StreamKey> = selected.iter().collect();
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| selected.contains(key));
    }
}
