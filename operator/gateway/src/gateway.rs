//! What every request needs, put together once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use model::RepositoryPath;
use model::clock::Random;
use model::desired::DesiredState;
use model::policy::Principal;
use prometheus::Registry;
use store::Repositories;
use tokio::sync::watch;

use crate::authn::Authenticator;
use crate::authn::nonce::Nonces;
use crate::authn::pass::Passes;
use crate::authn::token::Tokens;
use crate::http::ServiceName;
use crate::metrics::GatewayMetrics;
use crate::service::{Answers, OpenPacks};
use crate::turn::Turns;

/// Bounds of the gateway.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Fetches and pushes that work at the same time; further ones wait. Twice as many may wait for their clients beside them.
    pub max_operations: usize,
    /// LFS objects that go in or out at the same time; further ones wait. They are counted apart, because each takes as long as its
    /// client's line does and little of this server.
    pub max_transfers: usize,
    /// How long a request waits for its turn before it is told to come back.
    pub queue_timeout: Duration,
    /// How long a client may send nothing in the middle of a request.
    pub idle_timeout: Duration,
    /// Bytes of a request other than a pack, after decompression.
    pub max_request_bytes: u64,
    /// The user of the operator, as the API server names it: it may list references of every repository.
    pub operator_identity: Option<String>,
    /// The cluster's DNS domain, for host names that name a namespace.
    pub cluster_domain: String,
    /// What clients type, where the platform team says so; requests under this host are answered with its addresses.
    pub external_url: Option<String>,
    /// The Service of a pool: a host name that names no Repository's namespace.
    pub pool_service: Option<ServiceName>,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            max_operations: 64,
            max_transfers: 64,
            queue_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_mins(1),
            max_request_bytes: 32 << 20,
            operator_identity: None,
            cluster_domain: "cluster.local".to_owned(),
            external_url: None,
            pool_service: None,
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
    pub(crate) operations: Turns,
    pub(crate) transfers: Turns,
    pub(crate) open_packs: OpenPacks,
    pub(crate) answers: Arc<Answers>,
    pub(crate) random: Arc<dyn Random>,
    /// For who comes by SSH, where anybody does.
    pub(crate) passes: OnceLock<Passes>,
    /// For signed pushes, where there are keys to make them with.
    pub(crate) nonces: OnceLock<Nonces>,
    pushes: Mutex<Pushes>,
}

/// The last pushes, for whoever shows what became of a repository.
struct Pushes {
    /// Number of the push after the last one. It begins anywhere, so that a number from another life of this server is not mistaken
    /// for one of this life.
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
    /// Whether some may be missing: they were forgotten, or the question's number is not one that this server gave.
    pub missed: bool,
    /// The repositories, each once; all that are remembered when some may be missing.
    pub paths: BTreeSet<RepositoryPath>,
}

impl Pushes {
    fn new(random: &dyn Random) -> Self {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        // 48 bits, not 0: room to count, exact in every JSON reader, and 0 is what somebody asks who never asked.
        Self { next: (u64::from_be_bytes(bytes) >> 16).max(1), paths: VecDeque::new() }
    }

    fn add(&mut self, path: &RepositoryPath) {
        self.next += 1;
        self.paths.push_back(path.clone());
        if self.paths.len() > MAX_PUSHES {
            self.paths.pop_front();
        }
    }

    fn since(&self, after: u64) -> RecentPushes {
        let first = self.next - self.paths.len() as u64;
        let missed = after < first || after > self.next;
        let skip = if missed { 0 } else { usize::try_from(after - first).unwrap_or(usize::MAX) };
        RecentPushes { next: self.next, missed, paths: self.paths.iter().skip(skip).cloned().collect() }
    }
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
        let operations = Turns::new(config.max_operations);
        let transfers = Turns::new(config.max_transfers);
        let pushes = Pushes::new(&*random);
        Ok(Arc::new(Self {
            authenticator: Authenticator::new(&*random, tokens),
            metrics: GatewayMetrics::new(registry)?,
            config,
            desired,
            stores,
            operations,
            transfers,
            open_packs: OpenPacks::default(),
            answers: Arc::default(),
            random,
            passes: OnceLock::new(),
            nonces: OnceLock::new(),
            pushes: Mutex::new(pushes),
        }))
    }

    /// A name for a request that its client gave none.
    pub(crate) fn new_request_id(&self) -> String {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        hex::encode(bytes)
    }

    /// Whether this is the operator.
    pub(crate) fn is_operator(&self, principal: &Principal) -> bool {
        let user = principal.kubernetes_user();
        user.is_some() && user == self.config.operator_identity
    }

    /// Takes note of a push.
    pub(crate) fn pushed(&self, path: &RepositoryPath) {
        self.pushes.lock().unwrap_or_else(PoisonError::into_inner).add(path);
    }

    /// What was pushed to since the answer that said `next` was this number.
    pub fn recent_pushes(&self, after: u64) -> RecentPushes {
        self.pushes.lock().unwrap_or_else(PoisonError::into_inner).since(after)
    }

    /// Lets go what is kept of repositories that nobody uses.
    pub fn close_idle(&self) {
        self.open_packs.close_idle();
        self.answers.let_go();
    }

    /// The newest desired state.
    pub(crate) fn desired(&self) -> Arc<DesiredState> {
        Arc::clone(&self.desired.borrow())
    }
}

#[cfg(test)]
mod tests;
