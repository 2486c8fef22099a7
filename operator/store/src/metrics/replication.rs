//! How far behind replicas are. Labels are names of stores; the repositories are counted when somebody asks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::RepositoryId;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, GaugeVec, IntCounter, Opts, Registry};
use tokio::time::Instant;

/// Metrics of replication.
#[derive(Debug, Clone)]
pub(crate) struct ReplicationMetrics {
    lags: Arc<Mutex<Lags>>,
    pub(crate) promotions: IntCounter,
}

/// For each replica that is behind: by how many entries, and since when.
#[derive(Debug, Default)]
struct Lags {
    behind: HashMap<(RepositoryId, Arc<str>), (u64, Instant)>,
    /// Stores that a repository has been replicated to.
    stores: Vec<Arc<str>>,
}

impl ReplicationMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let promotions =
            IntCounter::new("codekeep_promotions_total", "Repositories whose primary store this server has changed.")?;
        registry.register(Box::new(promotions.clone()))?;
        let lags = Arc::<Mutex<Lags>>::default();
        registry.register(Box::new(LagCollector::new(Arc::clone(&lags))?))?;
        Ok(Self { lags, promotions })
    }

    /// Notes by how many entries a replica is behind and since when; `None` when it has everything.
    pub(crate) fn note(&self, id: &RepositoryId, store: &Arc<str>, lag: Option<(u64, Instant)>) {
        let mut lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        if !lags.stores.contains(store) {
            lags.stores.push(Arc::clone(store));
        }
        let key = (id.clone(), Arc::clone(store));
        match lag {
            Some(lag) => drop(lags.behind.insert(key, lag)),
            None => drop(lags.behind.remove(&key)),
        }
    }
}

struct LagCollector {
    lags: Arc<Mutex<Lags>>,
    entries: GaugeVec,
    seconds: GaugeVec,
    behind: GaugeVec,
}

impl LagCollector {
    fn new(lags: Arc<Mutex<Lags>>) -> Result<Self, prometheus::Error> {
        let gauge = |name, help| GaugeVec::new(Opts::new(name, help), &["store"]);
        Ok(Self {
            lags,
            entries: gauge(
                "codekeep_replication_lag_entries",
                "Entries that the replica of a store lacks, of the repository that lacks most.",
            )?,
            seconds: gauge(
                "codekeep_replication_lag_seconds",
                "Time for which a replica of a store has lacked something, the longest.",
            )?,
            behind: gauge("codekeep_replication_behind", "Repositories whose replica of a store lacks something.")?,
        })
    }

    fn of(gauges: &GaugeVec, store: &str) -> Gauge {
        gauges.with_label_values(&[store])
    }
}

impl Collector for LagCollector {
    fn desc(&self) -> Vec<&Desc> {
        [&self.entries, &self.seconds, &self.behind].into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        for store in &lags.stores {
            let (mut entries, mut seconds, mut behind) = (0, 0.0_f64, 0_u32);
            for ((_, _), (lacks, since)) in lags.behind.iter().filter(|((_, of), _)| of == store) {
                entries = entries.max(*lacks);
                seconds = seconds.max(since.elapsed().as_secs_f64());
                behind += 1;
            }
            Self::of(&self.entries, store).set(f64::from(u32::try_from(entries).unwrap_or(u32::MAX)));
            Self::of(&self.seconds, store).set(seconds);
            Self::of(&self.behind, store).set(f64::from(behind));
        }
        drop(lags);
        [&self.entries, &self.seconds, &self.behind].into_iter().flat_map(Collector::collect).collect()
    }
}
