//! Metrics of the controller.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// Counters, gauges and histograms, registered once.
#[derive(Debug, Clone)]
pub(crate) struct ControllerMetrics {
    pub(crate) reconciles: IntCounterVec,
    pub(crate) duration: HistogramVec,
    pub(crate) active: IntGaugeVec,
    pub(crate) leader: IntGauge,
    pub(crate) resources: IntGaugeVec,
}

impl ControllerMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            reconciles: IntCounterVec::new(
                Opts::new("codekeep_controller_reconciles_total", "Reconciles by kind and result."),
                &["kind", "result"],
            )?,
            duration: HistogramVec::new(
                HistogramOpts::new("codekeep_controller_reconcile_seconds", "Time that reconciles took, by kind.")
                    .buckets(vec![0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]),
                &["kind"],
            )?,
            active: IntGaugeVec::new(
                Opts::new("codekeep_controller_reconciles_active", "Reconciles that run now, by kind."),
                &["kind"],
            )?,
            leader: IntGauge::new("codekeep_controller_leader", "1 while this controller holds the Lease.")?,
            resources: IntGaugeVec::new(
                Opts::new("codekeep_controller_resources", "Resources by kind and status of their condition Ready."),
                &["kind", "ready"],
            )?,
        };
        registry.register(Box::new(metrics.reconciles.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.active.clone()))?;
        registry.register(Box::new(metrics.leader.clone()))?;
        registry.register(Box::new(metrics.resources.clone()))?;
        Ok(metrics)
    }
}
