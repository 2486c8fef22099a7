//! What deliveries count.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// Metrics of deliveries. Labels are outcomes, never rules or repositories.
#[derive(Debug, Clone)]
pub(crate) struct NotifyMetrics {
    pub(crate) deliveries: IntCounterVec,
    pub(crate) failing: IntGauge,
}

impl NotifyMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let deliveries = IntCounterVec::new(
            Opts::new("codekeep_notification_deliveries_total", "Deliveries of events to targets by outcome."),
            &["outcome"],
        )?;
        let failing = IntGauge::new("codekeep_notification_failing_targets", "Targets whose last delivery failed.")?;
        registry.register(Box::new(deliveries.clone()))?;
        registry.register(Box::new(failing.clone()))?;
        Ok(Self { deliveries, failing })
    }
}
