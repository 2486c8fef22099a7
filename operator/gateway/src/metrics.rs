//! What the gateway counts. Labels are verbs and outcomes, never repositories or users.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use git::client::Client;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Metrics of the gateway.
#[derive(Debug, Clone)]
pub(crate) struct GatewayMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    in_flight: IntGauge,
    pub(crate) received_bytes: IntCounter,
    pub(crate) sent_bytes: IntCounter,
    decisions: IntCounterVec,
    /// Addresses that LFS clients were given.
    pub(crate) lfs_links: IntCounterVec,
    /// SSH connections that are open.
    pub(crate) ssh_open: IntGauge,
    ssh_connections: IntCounterVec,
}

impl GatewayMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("codekeep_git_requests_total", "Requests of git clients by verb, outcome and transport."),
            &["verb", "outcome", "transport"],
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
        let lfs_links = IntCounterVec::new(
            Opts::new("codekeep_lfs_links_total", "LFS objects that clients were told to move, by operation and way."),
            &["operation", "way"],
        )?;
        let ssh_open = IntGauge::new("codekeep_ssh_connections_open", "SSH connections that are open.")?;
        let ssh_connections = IntCounterVec::new(
            Opts::new("codekeep_ssh_connections_total", "SSH connections by what became of them."),
            &["outcome"],
        )?;
        registry.register(Box::new(ssh_open.clone()))?;
        registry.register(Box::new(ssh_connections.clone()))?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(in_flight.clone()))?;
        registry.register(Box::new(received_bytes.clone()))?;
        registry.register(Box::new(sent_bytes.clone()))?;
        registry.register(Box::new(decisions.clone()))?;
        registry.register(Box::new(lfs_links.clone()))?;
        Ok(Self {
            requests,
            seconds,
            in_flight,
            received_bytes,
            sent_bytes,
            decisions,
            lfs_links,
            ssh_open,
            ssh_connections,
        })
    }

    /// Begins to measure a request.
    pub(crate) fn begin(&self, transport: &'static str, verb: &'static str) -> Arc<Measure> {
        self.in_flight.inc();
        Arc::new(Measure {
            metrics: self.clone(),
            transport,
            verb,
            started: Instant::now(),
            outcome: OnceLock::new(),
            session_id: OnceLock::new(),
        })
    }

    /// Counts an SSH connection that ended, or that was not taken.
    pub(crate) fn ssh_connection(&self, outcome: &'static str) {
        self.ssh_connections.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn decided(&self, action: &'static str, decision: &'static str) {
        self.decisions.with_label_values(&[action, decision]).inc();
    }
}

/// A request under way; counted when the last one who works on it, be it the task that writes the answer's body, is done.
pub(crate) struct Measure {
    metrics: GatewayMetrics,
    transport: &'static str,
    verb: &'static str,
    started: Instant,
    outcome: OnceLock<&'static str>,
    session_id: OnceLock<String>,
}

impl Measure {
    pub(crate) fn verb(&self) -> &'static str {
        self.verb
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes note of what the client says of itself, for the log.
    pub(crate) fn hear(&self, client: &Client) {
        if let Some(id) = &client.session_id {
            let _ = self.session_id.set(id.clone());
        }
    }

    /// The name that the client gave to what it does.
    pub(crate) fn session_id(&self) -> Option<&str> {
        self.session_id.get().map(String::as_str)
    }

    /// What went wrong so far, if anything did.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        self.outcome.get().copied()
    }

    /// What went wrong; the first to say so is right. Nobody: the request went well.
    pub(crate) fn settle(&self, outcome: &'static str) {
        let _ = self.outcome.set(outcome);
    }
}

impl Drop for Measure {
    fn drop(&mut self) {
        let well = if std::thread::panicking() { "error" } else { "ok" };
        let outcome = self.outcome.get().copied().unwrap_or(well);
        self.metrics.requests.with_label_values(&[self.verb, outcome, self.transport]).inc();
        self.metrics.seconds.with_label_values(&[self.verb]).observe(self.elapsed().as_secs_f64());
        self.metrics.in_flight.dec();
    }
}
