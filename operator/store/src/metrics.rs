//! Requests to the object store, counted and timed; commits and what gets in their way; how full the cache is and how often it helps.

mod replication;

use std::time::Instant;

use crate::error::Error;
use crate::repository::Maintained;

pub(crate) use replication::ReplicationMetrics;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Metrics of all stores of a process. Labels are operations and outcomes, never keys.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    pub(crate) cache: CacheMetrics,
    pub(crate) maintenance: MaintenanceMetrics,
    pub(crate) commits: CommitMetrics,
    pub(crate) replication: ReplicationMetrics,
}

/// Metrics of entries of the log. Labels are outcomes.
#[derive(Debug, Clone)]
pub(crate) struct CommitMetrics {
    attempts: IntCounterVec,
    pub(crate) pushes: Histogram,
}

/// What came of an attempt to create an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attempt {
    /// It is ours.
    Created,
    /// Another server was first.
    LostRace,
    /// The store did not say; the log is asked.
    Doubtful,
    /// Nothing was created.
    Failed,
    /// The log could not be asked either: whoever pushed is told that it is not known.
    Unknown,
}

/// Metrics of maintenance. Labels are tasks.
#[derive(Debug, Clone)]
pub(crate) struct MaintenanceMetrics {
    done: IntCounterVec,
    failures: IntCounter,
}

/// Metrics of the cache.
#[derive(Debug, Clone)]
pub(crate) struct CacheMetrics {
    pub(crate) bytes: IntGauge,
    pub(crate) memory: IntGauge,
    pub(crate) capacity: IntGauge,
    pub(crate) evictions: IntCounter,
    lookups: IntCounterVec,
}

impl StoreMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("codekeep_store_requests_total", "Requests to the object store by operation and outcome."),
            &["operation", "outcome"],
        )?;
        let buckets = vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
        let seconds = HistogramVec::new(
            HistogramOpts::new("codekeep_store_request_duration_seconds", "Time of requests to the object store.")
                .buckets(buckets),
            &["operation"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        let (cache, maintenance) = (CacheMetrics::new(registry)?, MaintenanceMetrics::new(registry)?);
        let (commits, replication) = (CommitMetrics::new(registry)?, ReplicationMetrics::new(registry)?);
        Ok(Self { requests, seconds, cache, maintenance, commits, replication })
    }

    /// Starts the clock of a request.
    #[must_use]
    pub(crate) fn start(&self, operation: &'static str) -> RequestTimer<'_> {
        RequestTimer { metrics: self, operation, start: Instant::now() }
    }
}

impl CommitMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let attempts = Opts::new("codekeep_commit_attempts_total", "Attempts to create an entry of a log by outcome.");
        let attempts = IntCounterVec::new(attempts, &["outcome"])?;
        let pushes = HistogramOpts::new("codekeep_commit_pushes", "Pushes that share an entry of a log.");
        let pushes = Histogram::with_opts(pushes.buckets(vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]))?;
        registry.register(Box::new(attempts.clone()))?;
        registry.register(Box::new(pushes.clone()))?;
        Ok(Self { attempts, pushes })
    }

    /// Counts an attempt.
    pub(crate) fn count(&self, attempt: Attempt) {
        let outcome = match attempt {
            Attempt::Created => "created",
            Attempt::LostRace => "lost-race",
            Attempt::Doubtful => "doubtful",
            Attempt::Failed => "failed",
            Attempt::Unknown => "unknown",
        };
        self.attempts.with_label_values(&[outcome]).inc();
    }
}

impl MaintenanceMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let done =
            Opts::new("codekeep_maintenance_done_total", "Packs, entries and uploads that maintenance dealt with.");
        let done = IntCounterVec::new(done, &["task"])?;
        let failures = IntCounter::new(
            "codekeep_maintenance_failures_total",
            "Rounds of maintenance that did not come to an end.",
        )?;
        registry.register(Box::new(done.clone()))?;
        registry.register(Box::new(failures.clone()))?;
        Ok(Self { done, failures })
    }

    /// Counts a bundle, if one was made.
    pub(crate) fn count_bundle(&self, outcome: Result<bool, &Error>) {
        match outcome {
            Ok(made) => self.done.with_label_values(&["bundle"]).inc_by(u64::from(made)),
            Err(_) => self.failures.inc(),
        }
    }

    /// Counts what a round did.
    pub(crate) fn count(&self, outcome: Result<&Maintained, &Error>) {
        let Ok(Maintained { packs, pruned, tables, deleted, lfs, truncated, orphans, damaged, mended }) = outcome
        else {
            return self.failures.inc();
        };
        let tasks = [
            ("fold", packs),
            ("prune", pruned),
            ("tabulate", tables),
            ("delete", deleted),
            ("lfs-delete", lfs),
            ("truncate", truncated),
            ("sweep", orphans),
            ("scrub-damaged", damaged),
            ("scrub-mended", mended),
        ];
        for (task, done) in tasks {
            self.done.with_label_values(&[task]).inc_by(*done);
        }
    }
}

impl CacheMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let bytes = IntGauge::new("codekeep_cache_bytes", "Bytes of packs in the local cache.")?;
        let memory =
            IntGauge::new("codekeep_cache_memory_bytes", "Those of the cached bytes that are held in memory.")?;
        let capacity = IntGauge::new("codekeep_cache_capacity_bytes", "Bytes that the local cache may hold.")?;
        let evictions = IntCounter::new("codekeep_cache_evictions_total", "Packs that made room for others.")?;
        let lookups = Opts::new("codekeep_cache_lookups_total", "Packs asked of the local cache by outcome.");
        let lookups = IntCounterVec::new(lookups, &["outcome"])?;
        registry.register(Box::new(bytes.clone()))?;
        registry.register(Box::new(memory.clone()))?;
        registry.register(Box::new(capacity.clone()))?;
        registry.register(Box::new(evictions.clone()))?;
        registry.register(Box::new(lookups.clone()))?;
        Ok(Self { bytes, memory, capacity, evictions, lookups })
    }

    /// Counts a pack that was asked for.
    pub(crate) fn looked_up(&self, found: bool) {
        self.lookups.with_label_values(&[if found { "hit" } else { "miss" }]).inc();
    }
}

/// A request under way.
pub(crate) struct RequestTimer<'a> {
    metrics: &'a StoreMetrics,
    operation: &'static str,
    start: Instant,
}

impl RequestTimer<'_> {
    /// Counts the request with its outcome.
    pub(crate) fn finish(self, outcome: &'static str) {
        self.metrics.requests.with_label_values(&[self.operation, outcome]).inc();
        self.metrics.seconds.with_label_values(&[self.operation]).observe(self.start.elapsed().as_secs_f64());
    }
}
