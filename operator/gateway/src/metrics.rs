//! What the gateway counts. Labels are verbs and outcomes, never repositories or users.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Metrics of the gateway.
#[derive(Debug, Clone)]
pub(crate) struct GatewayMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    pub(crate) in_flight: IntGauge,
    pub(crate) received_bytes: IntCounter,
    pub(crate) sent_bytes: IntCounter,
    decisions: IntCounterVec,
}

impl GatewayMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("codekeep_git_requests_total", "Requests of git clients by verb and outcome."),
            &["verb", "outcome"],
        )?;
        let buckets = vec![0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0];
        let seconds = HistogramVec::new(
            HistogramOpts::new(
                "codekeep_git_request_duration_seconds",
                "Time until the last byte of an answer was handed over.",
            )
            .buckets(buckets),
            &["verb"],
        )?;
        let in_flight = IntGauge::new("codekeep_git_requests_in_flight", "Requests of git clients under way.")?;
        let received_bytes =
            IntCounter::new("codekeep_git_received_bytes_total", "Bytes of request bodies, decompressed.")?;
        let sent_bytes = IntCounter::new("codekeep_git_sent_bytes_total", "Bytes of answers.")?;
        let decisions = IntCounterVec::new(
            Opts::new("codekeep_access_decisions_total", "Access decisions by action and result."),
            &["action", "decision"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(in_flight.clone()))?;
        registry.register(Box::new(received_bytes.clone()))?;
        registry.register(Box::new(sent_bytes.clone()))?;
        registry.register(Box::new(decisions.clone()))?;
        Ok(Self { requests, seconds, in_flight, received_bytes, sent_bytes, decisions })
    }

    pub(crate) fn finished(&self, verb: &'static str, outcome: &'static str, time: Duration) {
        self.requests.with_label_values(&[verb, outcome]).inc();
        self.seconds.with_label_values(&[verb]).observe(time.as_secs_f64());
    }

    pub(crate) fn decided(&self, action: &'static str, decision: &'static str) {
        self.decisions.with_label_values(&[action, decision]).inc();
    }
}
