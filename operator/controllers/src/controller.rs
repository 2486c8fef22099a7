//! `codekeep controller`: reconciles our kinds into Services, workloads, status and events. Never on the data path.
//!
//! All replicas follow the API server; the one that holds the Lease writes.

mod children;
mod condition;
mod context;
mod git_servers;
mod metrics;
mod pool;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject};
use kube_lease_manager::LeaseManagerBuilder;
use kube_runtime::controller::{Action, Config, Controller as Runtime};
use kube_runtime::events::{Recorder, Reporter};
use kube_runtime::reflector::{ObjectRef, Store};
use kube_runtime::watcher;
use model::clock::Clock;
use prometheus::Registry;
use tokio::sync::{Notify, broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::{Cluster, ClusterConfig, ObjectKey, View};
use crate::pool::PoolConfig;
use crate::workload::FIELD_MANAGER;
use crate::{access_policy, notification_rule, repository};
use children::{Children, Touched};
pub(crate) use condition::{Conditions, Status, Summary};
pub(crate) use context::{Context, Kind, ReconcileError, about, owner};
use git_servers::GitServers;
pub(crate) use git_servers::{GitServerError, Place};
use metrics::ControllerMetrics;
use pool::PoolKeeper;

/// A Lease that is not renewed for this long is another controller's to take, in seconds; and how much earlier it is renewed.
const LEASE_SECONDS: (u64, u64) = (15, 5);
/// Resources that were touched and wait for their reconcile to be queued.
const QUEUE: usize = 4_096;
/// First and longest wait after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_mins(1));
/// Resources whose failures are counted.
const MAX_FAILURES: usize = 10_000;
/// How often the git servers are asked what was pushed.
const PUSHES_EVERY: Duration = Duration::from_secs(5);
/// How often resources are counted for the metrics.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// How a controller is set up.
pub struct ControllerConfig {
    /// Its namespace, and the pool's.
    pub namespace: String,
    /// Namespaces that it serves; all when empty.
    pub watch_namespaces: Vec<String>,
    /// The pool.
    pub pool: PoolConfig,
    /// Name of the Lease.
    pub lease: String,
    /// Who it is in the Lease.
    pub identity: String,
    /// Its own Deployment, which owns the pool.
    pub owner_deployment: String,
    /// File with a token that git servers accept.
    pub token: PathBuf,
    /// Reconciles of a kind that run at once.
    pub concurrency: u16,
    /// The region in ARNs.
    pub region: String,
}

/// Why a controller stopped, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// Metrics are registered twice.
    #[error("failed to register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The Lease cannot be had.
    #[error("failed to use the Lease: {0}")]
    Lease(String),
    /// Another controller may hold the Lease by now.
    #[error("the Lease was lost; another controller goes on")]
    LeaseLost,
}

/// Runs a controller until `stop`.
///
/// # Errors
/// When the Lease cannot be had or is lost; the process should end then, and start anew.
pub async fn run(
    client: kube::Client,
    lease_client: kube::Client,
    config: ControllerConfig,
    registry: &Registry,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> Result<(), ControllerError> {
    let metrics = ControllerMetrics::new(registry)?;
    let lease = LeaseManagerBuilder::new(lease_client, config.lease.as_str())
        .with_namespace(config.namespace.as_str())
        .with_identity(config.identity.as_str())
        .with_field_manager(format!("{FIELD_MANAGER}-{}", config.identity))
        .with_duration(LEASE_SECONDS.0)
        .with_grace(LEASE_SECONDS.1)
        .build()
        .await
        .map_err(|error| ControllerError::Lease(error.to_string()))?;
    let (mut leads, lease_task) = lease.watch().await;
    tracing::info!(identity = config.identity, "waiting for the Lease");
    let elected = stop.run_until_cancelled(leads.wait_for(|leads| *leads)).await;
    match elected.map(|elected| elected.is_ok()) {
        None => return Ok(()),
        Some(false) => return Err(ControllerError::LeaseLost),
        Some(true) => {}
    }
    metrics.leader.set(1);
    tracing::info!("leading");
    let (ended, tasks) = (stop.child_token(), TaskTracker::new());
    start(client, config, metrics.clone(), clock, &ended, &tasks);
    let outcome = tokio::select! {
        () = stop.cancelled() => Ok(()),
        _ = leads.wait_for(|leads| !*leads) => Err(ControllerError::LeaseLost),
    };
    metrics.leader.set(0);
    ended.cancel();
    tasks.close();
    tasks.wait().await;
    // Lets go of the Lease, so that the next one need not wait for its end.
    drop(leads);
    let _released = tokio::time::timeout(Duration::from_secs(2), lease_task).await;
    outcome
}

/// Spawns everything that a leader does.
fn start(
    client: kube::Client,
    config: ControllerConfig,
    metrics: ControllerMetrics,
    clock: Arc<dyn Clock>,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) {
    let follow = ClusterConfig {
        namespaces: config.watch_namespaces.clone(),
        stores: config.pool.stores.iter().map(|store| store.name.clone()).collect(),
        replication: config.pool.replication(),
        cluster_domain: config.pool.cluster_domain.clone(),
        secrets: false,
        snapshot: None,
    };
    let (cluster, following) = Cluster::follow(client.clone(), follow, stop.clone());
    tasks.spawn(following);
    let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(config.identity.clone()) };
    let context = Arc::new(Context {
        children: Arc::new(Children::new(client.clone())),
        git: GitServers::new(config.token),
        recorder: Recorder::new(client.clone(), reporter),
        view: cluster.view(),
        servers: RwLock::default(),
        states: std::sync::Mutex::default(),
        lingering: std::sync::Mutex::default(),
        namespace: config.namespace,
        pool: config.pool,
        region: config.region,
        client,
        clock,
        metrics,
    });
    let triggers = Triggers::default();
    let (touched, queue) = mpsc::channel(QUEUE);
    let mut places = config.watch_namespaces.clone();
    if !places.is_empty() && !places.contains(&context.namespace) {
        places.push(context.namespace.clone());
    }
    let children = Arc::clone(&context.children);
    tasks.spawn({
        let stop = stop.clone();
        async move { stop.run_until_cancelled(children.follow(places, touched)).await.unwrap_or_default() }
    });
    let keeper = PoolKeeper {
        context: Arc::clone(&context),
        watch_namespaces: config.watch_namespaces.clone(),
        owner: config.owner_deployment,
        touched: Arc::clone(&triggers.pool_touched),
        changed: Arc::clone(&triggers.pool_changed),
    };
    tasks.spawn(keeper.run(stop.clone()));
    tasks.spawn(triggers.clone().run(Arc::clone(&context), queue, stop.clone()));
    for kind in Kind::ALL {
        let runtime = reconcile_kind(kind, &context, &config.watch_namespaces, config.concurrency, &triggers, stop);
        tasks.spawn(runtime);
    }
}

/// What makes a reconcile happen beside a change of the resource itself.
#[derive(Clone)]
struct Triggers {
    resources: broadcast::Sender<ObjectKey>,
    pool_touched: Arc<Notify>,
    pool_changed: Arc<Notify>,
}

impl Default for Triggers {
    fn default() -> Self {
        Self { resources: broadcast::Sender::new(QUEUE), pool_touched: Arc::default(), pool_changed: Arc::default() }
    }
}

impl Triggers {
    async fn run(self, context: Arc<Context>, mut queue: mpsc::Receiver<Touched>, stop: CancellationToken) {
        let mut views = context.view.clone();
        let mut before: Arc<View> = Arc::default();
        let mut pushes = BTreeMap::new();
        let mut look = tokio::time::interval(PUSHES_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(touched) = queue.recv() => self.child(&touched, &context),
                Ok(()) = views.changed() => {
                    let view = views.borrow_and_update().clone();
                    self.differences(&before, &view);
                    before = view;
                }
                () = self.pool_changed.notified() => self.all(&before),
                _ = look.tick() => self.pushed(&context, &mut pushes, &before).await,
            }
        }
    }

    fn reconcile(&self, key: ObjectKey) {
        // Nobody listens only while everything ends.
        let _listeners = self.resources.send(key);
    }

    fn all(&self, view: &View) {
        view.resources.keys().for_each(|key| self.reconcile(key.clone()));
    }

    /// An object of ours was changed or deleted, perhaps by somebody else.
    fn child(&self, touched: &Touched, context: &Context) {
        let namespace = &touched.key.namespace;
        if let Some(repository) = &touched.repository {
            self.reconcile(ObjectKey::new("Repository", namespace.as_str(), repository.as_str()));
        } else if *namespace == context.namespace {
            self.pool_touched.notify_one();
        } else {
            let view = context.view();
            view.of_namespace("Repository", namespace).for_each(|(key, _)| self.reconcile(key.clone()));
        }
    }

    /// Resources whose outcome changed: their own doing, or somebody else's such as a name that became free.
    fn differences(&self, before: &View, view: &View) {
        let mut namespaces = std::collections::BTreeSet::new();
        for (key, observed) in &view.resources {
            let old = before.resources.get(key);
            let same = old.is_some_and(|old| {
                Arc::ptr_eq(&old.document, &observed.document)
                    && old.in_effect == observed.in_effect
                    && old.problems == observed.problems
            });
            if !same {
                self.reconcile(key.clone());
            }
            if !same && key.kind == "AccessPolicy" {
                namespaces.insert(key.namespace.clone());
            }
        }
        let gone = before.resources.keys().filter(|key| !view.resources.contains_key(*key));
        namespaces.extend(gone.filter(|key| key.kind == "AccessPolicy").map(|key| key.namespace.clone()));
        // Whether anybody may read a repository is a condition of it.
        for namespace in &namespaces {
            view.of_namespace("Repository", namespace).for_each(|(key, _)| self.reconcile(key.clone()));
        }
    }

    /// Repositories that were pushed to: their status shows size and time.
    async fn pushed(&self, context: &Context, known: &mut BTreeMap<std::net::IpAddr, u64>, view: &View) {
        let servers = context.servers();
        known.retain(|pod, _| servers.pods.contains(pod));
        for pod in servers.pods {
            let place = Place { host: context.host(&context.pool.name, &context.namespace), address: pod };
            let after = known.get(&pod).copied();
            let Ok(pushes) = context.git.pushes(&place, &servers.authority, after.unwrap_or(0)).await else { continue };
            known.insert(pod, pushes.next);
            if after.is_none() {
                // A server that is new to this controller: what was pushed before is in the next resync.
                continue;
            }
            if pushes.missed {
                view.resources
                    .keys()
                    .filter(|key| key.kind == "Repository")
                    .for_each(|key| self.reconcile(key.clone()));
                continue;
            }
            for pushed in &pushes.repositories {
                let (namespace, name) = (pushed.namespace.as_str(), pushed.repository_name.as_str());
                let named = view.of_namespace("Repository", namespace).find(|(key, observed)| {
                    observed.document["spec"]["repositoryName"].as_str().unwrap_or(&key.name) == name
                });
                if let Some((key, _)) = named {
                    self.reconcile(key.clone());
                }
            }
        }
    }

    fn of_kind(&self, kind: Kind) -> BoxStream<'static, ObjectRef<DynamicObject>> {
        let resources = self.resources.subscribe();
        let refs = stream::unfold(resources, move |mut resources| async move {
            loop {
                match resources.recv().await {
                    Ok(key) if key.kind == kind.name() => {
                        let reference = ObjectRef::new_with(&key.name, kind.resource()).within(&key.namespace);
                        return Some((reference, resources));
                    }
                    // What was missed while too much happened is seen by the resync.
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        refs.boxed()
    }
}

/// Reconciles all resources of a kind until `stop`.
fn reconcile_kind(
    kind: Kind,
    context: &Arc<Context>,
    namespaces: &[String],
    concurrency: u16,
    triggers: &Triggers,
    stop: &CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let everywhere = [String::new()];
    let namespaces = if namespaces.is_empty() { &everywhere } else { namespaces };
    let failures = Arc::new(Failures::default());
    let mut stores = Vec::new();
    let runs: Vec<_> = namespaces
        .iter()
        .map(|namespace| {
            let resource = kind.resource();
            let api: Api<DynamicObject> = if namespace.is_empty() {
                Api::all_with(context.client.clone(), &resource)
            } else {
                Api::namespaced_with(context.client.clone(), namespace, &resource)
            };
            let config = watcher::Config::default();
            let (failed, forgiven) = (Arc::clone(&failures), Arc::clone(&failures));
            let runtime = Runtime::new_with(api, config, resource);
            stores.push(runtime.store());
            runtime
                .with_config(Config::default().concurrency(concurrency))
                .reconcile_on(triggers.of_kind(kind))
                .graceful_shutdown_on(stop.clone().cancelled_owned())
                .run(
                    move |object, context| {
                        let forgiven = Arc::clone(&forgiven);
                        async move {
                            let outcome = measured(kind, &object, &context).await;
                            if outcome.is_ok() {
                                forgiven.forget(&object);
                            }
                            outcome
                        }
                    },
                    move |object, error, _| {
                        let wait = failed.next(&object);
                        tracing::warn!(kind = kind.name(), namespace = object.namespace(), name = object.name_any(), %error, "failed to reconcile; it is tried again");
                        Action::requeue(wait)
                    },
                    Arc::clone(context),
                )
                .for_each(|_| async {})
        })
        .collect();
    let counts = count(kind, stores, context.metrics.clone(), stop.clone());
    async move { drop(futures::future::join(counts, futures::future::join_all(runs)).await) }
}

async fn measured(kind: Kind, object: &DynamicObject, context: &Context) -> Result<Action, ReconcileError> {
    let labels = [kind.name()];
    let metrics = &context.metrics;
    let active = metrics.active.with_label_values(&labels);
    active.inc();
    let started = context.clock.monotonic();
    let outcome = match kind {
        Kind::Repository => Box::pin(repository::reconcile::reconcile(object, context)).await,
        Kind::AccessPolicy => Box::pin(access_policy::reconcile::reconcile(object, context)).await,
        Kind::NotificationRule => Box::pin(notification_rule::reconcile::reconcile(object, context)).await,
    };
    let outcome = match outcome {
        Err(error) if error.is_end_of_namespace() => Ok(Action::await_change()),
        outcome => outcome,
    };
    active.dec();
    let elapsed = context.clock.monotonic().saturating_sub(started);
    metrics.duration.with_label_values(&labels).observe(elapsed.as_secs_f64());
    let word = if outcome.is_ok() { "ok" } else { "error" };
    metrics.reconciles.with_label_values(&[kind.name(), word]).inc();
    outcome
}

/// Counts the resources of a kind by their condition Ready until `stop`.
async fn count(kind: Kind, stores: Vec<Store<DynamicObject>>, metrics: ControllerMetrics, stop: CancellationToken) {
    let mut look = tokio::time::interval(COUNT_EVERY);
    while stop.run_until_cancelled(look.tick()).await.is_some() {
        let resources: Vec<_> = stores.iter().flat_map(Store::state).collect();
        for wanted in ["True", "False", "Unknown"] {
            let count = resources.iter().filter(|resource| ready(resource) == wanted).count();
            metrics.resources.with_label_values(&[kind.name(), wanted]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

/// The status of the condition Ready.
fn ready(object: &DynamicObject) -> &str {
    let conditions = object.data["status"]["conditions"].as_array();
    let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
    ready.and_then(|ready| ready["status"].as_str()).unwrap_or("Unknown")
}

/// Failures in a row by resource, for the wait that doubles.
#[derive(Default)]
struct Failures(std::sync::Mutex<BTreeMap<String, u32>>);

impl Failures {
    fn next(&self, object: &DynamicObject) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Resources that are gone leave theirs behind.
        if failures.len() >= MAX_FAILURES {
            failures.clear();
        }
        let count = failures.entry(object.uid().unwrap_or_default()).or_default();
        *count = count.saturating_add(1);
        about(BACKOFF.0.saturating_mul(1 << (*count - 1).min(7)).min(BACKOFF.1), object)
    }

    fn forget(&self, object: &DynamicObject) {
        let mut failures = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        failures.remove(&object.uid().unwrap_or_default());
    }
}
