//! What every reconcile needs, and how it reads and writes the resources of our kinds.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Resource as _, ResourceExt as _};
use kube_runtime::events::{Event, EventType, Recorder};
use model::SshPublicKey;
use model::clock::Clock;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::children::Children;
use super::git_servers::{GitServerError, GitServers, Place};
use super::metrics::ControllerMetrics;
use crate::cluster::{ObjectKey, Observed, View};
use crate::control::ServerState;
use crate::pool::PoolConfig;
use crate::workload::FIELD_MANAGER;

/// Shared by all reconciles.
pub(crate) struct Context {
    pub(crate) client: kube::Client,
    pub(crate) namespace: String,
    pub(crate) pool: PoolConfig,
    pub(crate) region: String,
    pub(crate) view: watch::Receiver<Arc<View>>,
    pub(crate) children: Arc<Children>,
    pub(crate) git: GitServers,
    pub(crate) recorder: Recorder,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: ControllerMetrics,
    /// What the last look at the pool found.
    pub(crate) servers: RwLock<PoolServers>,
    /// Answers of the pool's pods, for resources of one namespace that are reconciled together.
    pub(crate) states: Mutex<BTreeMap<String, (Duration, Arc<States>)>>,
    /// Repositories with pods that they do not want any more, and since when.
    pub(crate) lingering: Mutex<BTreeMap<(String, String), Duration>>,
}

/// The state of each pod of the pool; none from one that does not answer.
pub(crate) type States = Vec<Option<ServerState>>;

/// The pool as it runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct PoolServers {
    /// The address of its Service.
    pub(crate) service: Option<IpAddr>,
    /// Its pods that take requests.
    pub(crate) pods: Vec<IpAddr>,
    /// Its pods that do not yet.
    pub(crate) starting: Vec<IpAddr>,
    /// Certificates (PEM) that prove git servers.
    pub(crate) authority: Arc<[u8]>,
    /// SSH host keys of the pool; none when SSH is not served.
    pub(crate) host_keys: Arc<[SshPublicKey]>,
}

/// Why a reconcile has to be tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    #[error("failed to use the API server: {0}")]
    Api(Box<kube::Error>),
    #[error(transparent)]
    GitServer(#[from] GitServerError),
    #[error("the pool of git servers is not there yet")]
    NoPool,
    #[error("the repository's own git servers are not there")]
    NoPods,
    #[error("failed to read the resource: {0}")]
    Document(serde_json::Error),
}

impl ReconcileError {
    /// Whether the namespace is on its way out: what is in it goes too, and nothing new may be made there.
    pub(crate) fn is_end_of_namespace(&self) -> bool {
        let Self::Api(error) = self else { return false };
        matches!(&**error, kube::Error::Api(status) if status.is_forbidden() && status.message.contains("being terminated"))
    }
}

impl From<kube::Error> for ReconcileError {
    fn from(error: kube::Error) -> Self {
        Self::Api(Box::new(error))
    }
}

/// A kind of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Repository,
    AccessPolicy,
    NotificationRule,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Repository, Self::AccessPolicy, Self::NotificationRule];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Repository => "Repository",
            Self::AccessPolicy => "AccessPolicy",
            Self::NotificationRule => "NotificationRule",
        }
    }

    pub(crate) fn resource(self) -> ApiResource {
        let plural = match self {
            Self::Repository => "repositories",
            Self::AccessPolicy => "accesspolicies",
            Self::NotificationRule => "notificationrules",
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(crds::GROUP, crds::VERSION, self.name()), plural)
    }
}

impl Context {
    pub(crate) fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &kind.resource())
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn servers(&self) -> PoolServers {
        self.servers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The pool's Service under a name that its certificate is for.
    pub(crate) fn pool_place(&self, host: String) -> Result<Place, ReconcileError> {
        let address = self.servers().service.ok_or(ReconcileError::NoPool)?;
        Ok(Place { host, address })
    }

    /// What each pod of the pool knows about a namespace, at most a moment old.
    pub(crate) async fn states(&self, namespace: &str) -> Arc<States> {
        if let Some(states) = self.known_states(namespace) {
            return states;
        }
        let servers = self.servers();
        let host = self.host(&self.pool.name, &self.namespace);
        let asked = servers.pods.iter().map(|pod| {
            let place = Place { host: host.clone(), address: *pod };
            let authority = Arc::clone(&servers.authority);
            async move { self.git.state(&place, &authority, namespace).await.ok() }
        });
        let states = Arc::new(futures::future::join_all(asked).await);
        let entry = (self.clock.monotonic(), Arc::clone(&states));
        self.states.lock().unwrap_or_else(PoisonError::into_inner).insert(namespace.to_owned(), entry);
        states
    }

    fn known_states(&self, namespace: &str) -> Option<Arc<States>> {
        let now = self.clock.monotonic();
        let mut known = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (since, _)| now.saturating_sub(*since) < STATES_LAST);
        known.get(namespace).map(|(_, states)| Arc::clone(states))
    }

    /// Takes note of whether a Repository has pods that it does not want any more; tells for how long it has.
    pub(crate) fn lingering(&self, namespace: &str, name: &str, lingers: bool) -> Option<Duration> {
        let (key, now) = ((namespace.to_owned(), name.to_owned()), self.clock.monotonic());
        let mut all = self.lingering.lock().unwrap_or_else(PoisonError::into_inner);
        if !lingers {
            all.remove(&key);
            return None;
        }
        // Of one that was deleted meanwhile nobody asks any more.
        all.retain(|_, since| now.saturating_sub(*since) < FORGOTTEN);
        Some(now.saturating_sub(*all.entry(key).or_insert(now)))
    }

    /// What the last look at the cluster knows of a resource, if it has seen this version of it: its turn comes when it has.
    pub(crate) fn observed(&self, kind: Kind, object: &DynamicObject) -> Option<Observed> {
        let key = ObjectKey::new(kind.name(), object.namespace().unwrap_or_default(), object.name_any());
        let observed = self.view.borrow().resources.get(&key).cloned()?;
        (observed.generation >= object.metadata.generation.unwrap_or_default()).then_some(observed)
    }

    /// The last look at the cluster.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// The name of a Service in this cluster.
    pub(crate) fn host(&self, service: &str, namespace: &str) -> String {
        format!("{service}.{namespace}.svc.{}", self.pool.cluster_domain)
    }

    /// Writes a status that differs from the one that is there.
    pub(crate) async fn write_status(
        &self,
        kind: Kind,
        object: &DynamicObject,
        status: &Value,
    ) -> Result<(), ReconcileError> {
        if object.data["status"] == *status {
            return Ok(());
        }
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let resource = kind.resource();
        let patch = json!({"apiVersion": resource.api_version, "kind": resource.kind,
            "metadata": {"name": name, "namespace": namespace}, "status": status});
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        match self.api(kind, &namespace).patch_status(&name, &parameters, &Patch::Apply(&patch)).await {
            // It was deleted in the meantime.
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            outcome => Ok(outcome.map(drop)?),
        }
    }

    /// Tells the owner of a resource something; a failure is logged and nothing else depends on it.
    pub(crate) async fn tell(&self, kind: Kind, object: &DynamicObject, is_warning: bool, reason: &str, note: &str) {
        let event = Event {
            type_: if is_warning { EventType::Warning } else { EventType::Normal },
            reason: reason.to_owned(),
            note: Some(note.chars().take(MAX_NOTE).collect()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let reference = object.object_ref(&kind.resource());
        if let Err(error) = self.recorder.publish(&event, &reference).await {
            tracing::debug!(%error, reason, "failed to publish an event");
        }
    }
}

/// How long answers of the pods are good for resources that are reconciled together.
const STATES_LAST: Duration = Duration::from_millis(150);

/// When it is forgotten that a Repository had other pods.
const FORGOTTEN: Duration = Duration::from_hours(1);

/// Longest note of an event that the API server takes.
const MAX_NOTE: usize = 1_000;

/// Who owns the objects that are made for a resource.
pub(crate) fn owner(kind: Kind, object: &DynamicObject) -> Value {
    let resource = kind.resource();
    json!({"apiVersion": resource.api_version, "kind": resource.kind, "name": object.name_any(),
        "uid": object.uid().unwrap_or_default(), "controller": true, "blockOwnerDeletion": true})
}

/// A time that is `base` later, give or take a tenth, by the object's own id: not all at once.
pub(crate) fn about(base: Duration, object: &DynamicObject) -> Duration {
    let uid = object.uid().unwrap_or_default();
    let spread = uid.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 200;
    base.mul_f64(0.9 + f64::from(spread) / 1_000.0)
}
