//! A feed: one list-and-watch of the API server, turned into events of one bounded queue.

use std::fmt;
use std::time::Duration;

use backon::ExponentialBuilder;
use futures::StreamExt as _;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube_runtime::WatchStreamExt as _;
use kube_runtime::utils::ResetTimerBackoff;
use kube_runtime::watcher::{self, ExponentialBackoff, watcher};
use serde_json::Value;
use tokio::sync::mpsc;

/// A watch that fails is tried again after this time, then after twice that and so on up to the second: soon enough that a
/// policy is in effect two seconds after an API server came back.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// When a watch that works is forgiven its failures.
const FORGIVEN: Duration = Duration::from_secs(30);

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Watch {
    Repositories,
    AccessPolicies,
    NotificationRules,
    /// Grants: `RoleBinding`s by which a namespace lets its credentials be read.
    RoleBindings,
    Secrets,
}

/// One list-and-watch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FeedId {
    pub(crate) watch: Watch,
    /// All namespaces when empty.
    pub(crate) namespace: String,
    /// Field selector; none when empty.
    pub(crate) fields: String,
}

/// Something that a feed says.
#[derive(Debug)]
pub(crate) struct FeedEvent {
    pub(crate) feed: FeedId,
    pub(crate) change: Change,
}

/// What it says.
#[derive(Debug)]
pub(crate) enum Change {
    /// A new list begins; what the feed said before counts until the list is complete.
    ListBegun,
    /// An object of the list.
    Listed(Value),
    /// The list is complete.
    ListDone,
    /// An object is new or changed.
    Applied(Value),
    /// An object is gone.
    Deleted(Value),
    /// The API server did not answer, or refused; what it said before counts.
    Failed(String),
}

impl Watch {
    fn resource(self) -> ApiResource {
        let (group, kind, plural) = match self {
            Self::Repositories => (crds::GROUP, "Repository", "repositories"),
            Self::AccessPolicies => (crds::GROUP, "AccessPolicy", "accesspolicies"),
            Self::NotificationRules => (crds::GROUP, "NotificationRule", "notificationrules"),
            Self::RoleBindings => ("rbac.authorization.k8s.io", "RoleBinding", "rolebindings"),
            Self::Secrets => ("", "Secret", "secrets"),
        };
        let version = if group == crds::GROUP { crds::VERSION } else { "v1" };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }
}

impl fmt::Display for FeedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.watch.resource().plural)?;
        if !self.namespace.is_empty() {
            write!(f, " of {}", self.namespace)?;
        }
        if self.fields.is_empty() { Ok(()) } else { write!(f, " with {}", self.fields) }
    }
}

/// Follows a feed until the queue is closed or the task is aborted.
pub(crate) async fn follow(client: kube::Client, feed: FeedId, events: mpsc::Sender<FeedEvent>) {
    let resource = feed.watch.resource();
    let api: Api<DynamicObject> = if feed.namespace.is_empty() {
        Api::all_with(client, &resource)
    } else {
        Api::namespaced_with(client, &feed.namespace, &resource)
    };
    let mut config = watcher::Config::default();
    if !feed.fields.is_empty() {
        config = config.fields(&feed.fields);
    }
    let exponential =
        ExponentialBuilder::new().with_min_delay(BACKOFF.0).with_max_delay(BACKOFF.1).with_jitter().without_max_times();
    let backoff = ResetTimerBackoff::new(ExponentialBackoff::from(exponential), FORGIVEN);
    let mut stream = std::pin::pin!(watcher(api, config).backoff(backoff));
    while let Some(event) = stream.next().await {
        let change = match event {
            Ok(watcher::Event::Init) => Change::ListBegun,
            Ok(watcher::Event::InitApply(object)) => Change::Listed(document(&resource, object)),
            Ok(watcher::Event::InitDone) => Change::ListDone,
            Ok(watcher::Event::Apply(object)) => Change::Applied(document(&resource, object)),
            Ok(watcher::Event::Delete(object)) => Change::Deleted(document(&resource, object)),
            Err(error) => Change::Failed(error.to_string()),
        };
        if events.send(FeedEvent { feed: feed.clone(), change }).await.is_err() {
            return;
        }
    }
}

/// The object as a manifest: items of a list do not say their kind, and who changed which field is nobody's business here.
fn document(resource: &ApiResource, mut object: DynamicObject) -> Value {
    object.metadata.managed_fields = None;
    object.types =
        Some(kube::core::TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() });
    let mut document = serde_json::to_value(object).unwrap_or_default();
    if let Some(fields) = document.as_object_mut() {
        fields.remove("status");
    }
    document
}
