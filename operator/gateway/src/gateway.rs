//! What every request needs, put together once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::clock::Random;
use model::RepositoryPath;
use model::desired::DesiredState;
use model::policy::Principal;
use prometheus::Registry;
use store::Repositories;
use tokio::sync::{Semaphore, watch};

use crate::authn::Authenticator;
use crate::authn::token::Tokens;
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
    /// The user of the operator, as the API server names it: it may list references of every repository.
    pub operator_identity: Option<String>,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            max_operations: 64,
            queue_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_mins(1),
            max_request_bytes: 32 << 20,
            operator_identity: None,
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
    pushes: Mutex<Pushes>,
}

/// The last pushes, for whoever shows what became of a repository.
#[derive(Default)]
struct Pushes {
    /// Number of the push after the last one.
    next: u64,
    paths: VecDeque<RepositoryPath>,
}

/// Pushes that are remembered.
const MAX_PUSHES: usize = 1_024;

/// Repositories that were pushed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentPushes {
    /// What to ask for next.
    pub next: u64,
    /// Whether some were forgotten.
    pub missed: bool,
    /// The repositories, each once.
    pub paths: BTreeSet<RepositoryPath>,
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
        tokens: Option<Arc<Tokens>>,
    ) -> Result<Arc<Self>, prometheus::Error> {
        let operations = Arc::new(Semaphore::new(config.max_operations));
        Ok(Arc::new(Self {
            authenticator: Authenticator::new(&*random, tokens),
            metrics: GatewayMetrics::new(registry)?,
            config,
            desired,
            stores,
            operations,
            open_packs: OpenPacks::default(),
            random,
            pushes: Mutex::default(),
        }))
    }

    /// Whether this is the operator.
    pub(crate) fn is_operator(&self, principal: &Principal) -> bool {
        self.config.operator_identity.as_ref().is_some_and(|operator| *operator == principal.kubernetes_user())
    }

    /// Takes note of a push.
    pub(crate) fn pushed(&self, path: &RepositoryPath) {
        let mut pushes = self.pushes.lock().unwrap_or_else(PoisonError::into_inner);
        pushes.next += 1;
        pushes.paths.push_back(path.clone());
        if pushes.paths.len() > MAX_PUSHES {
            pushes.paths.pop_front();
        }
    }

    /// What was pushed to since the answer that said `next` was this number.
    pub fn recent_pushes(&self, after: u64) -> RecentPushes {
        let pushes = self.pushes.lock().unwrap_or_else(PoisonError::into_inner);
        let first = pushes.next - pushes.paths.len() as u64;
        let skip = usize::try_from(after.saturating_sub(first)).unwrap_or(usize::MAX);
        RecentPushes {
            next: pushes.next,
            // A number from another life of this server counts as one too.
            missed: after < first || after > pushes.next,
            paths: pushes.paths.iter().skip(skip).cloned().collect(),
        }
    }

    /// The newest desired state.
    pub(crate) fn desired(&self) -> Arc<DesiredState> {
        Arc::clone(&self.desired.borrow())
    }
}
