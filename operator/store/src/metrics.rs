//! Requests to the object store, counted and timed.

use std::time::Instant;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// Metrics of all stores of a process. Labels are operations and outcomes, never keys.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
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
        Ok(Self { requests, seconds })
    }

    /// Starts the clock of a request.
    #[must_use]
    pub(crate) fn start(&self, operation: &'static str) -> RequestTimer<'_> {
        RequestTimer { metrics: self, operation, start: Instant::now() }
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
