//! What every request needs, put together once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::clock::Random;
use model::desired::DesiredState;
use prometheus::Registry;
use store::Repositories;
use tokio::sync::{Semaphore, watch};

use crate::authn::Authenticator;
use crate::metrics::GatewayMetrics;
use crate::service::OpenPacks;

/// Bounds of the gateway.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Fetches and pushes that work at the same time; further ones wait.
    pub max_operations: usize,
    /// How long a request waits for its turn before it is told to come back.
    pub queue_timeout: Duration,
    /// How long a client may send nothing in the middle of a request.
    pub idle_timeout: Duration,
    /// Bytes of a request other than a pack, after decompression.
    pub max_request_bytes: u64,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            max_operations: 64,
            queue_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_mins(1),
            max_request_bytes: 32 << 20,
        }
    }
}

/// The request shell of one server process.
pub struct Gateway {
    pub(crate) config: GatewayConfig,
    pub(crate) desired: watch::Receiver<Arc<DesiredState>>,
    pub(crate) stores: BTreeMap<String, Arc<Repositories>>,
    pub(crate) authenticator: Authenticator,
    pub(crate) metrics: GatewayMetrics,
    pub(crate) operations: Arc<Semaphore>,
    pub(crate) open_packs: OpenPacks,
    pub(crate) random: Arc<dyn Random>,
}

impl Gateway {
    /// A gateway for the repositories of `desired` in `stores`.
    ///
    /// # Errors
    /// When its metrics are registered already.
    pub fn new(
        config: GatewayConfig,
        desired: watch::Receiver<Arc<DesiredState>>,
        stores: BTreeMap<String, Arc<Repositories>>,
        registry: &Registry,
        random: Arc<dyn Random>,
    ) -> Result<Arc<Self>, prometheus::Error> {
        let operations = Arc::new(Semaphore::new(config.max_operations));
        Ok(Arc::new(Self {
            authenticator: Authenticator::new(&*random),
            metrics: GatewayMetrics::new(registry)?,
            config,
            desired,
            stores,
            operations,
            open_packs: OpenPacks::default(),
            random,
        }))
    }

    /// The newest desired state.
    pub(crate) fn desired(&self) -> Arc<DesiredState> {
        Arc::clone(&self.desired.borrow())
    }
}
