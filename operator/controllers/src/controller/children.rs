//! The objects that the controller made: watched by their metadata, so that what others change or delete is put right, and what
//! nobody touched is not written again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use kube::api::{Api, ApiResource, PartialObjectMeta, Patch, PatchParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube_runtime::WatchStreamExt as _;
use kube_runtime::watcher::{self, Event, watcher};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::cluster::ObjectKey;
use crate::workload::{AUTHORITY, FIELD_MANAGER, MANAGED_BY, REPOSITORY_LABEL};

/// The kinds that the controller makes.
pub(crate) const KINDS: [Kind; 6] = [
    Kind { version: "v1", name: "Service", plural: "services" },
    Kind { version: "v1", name: "ServiceAccount", plural: "serviceaccounts" },
    Kind { version: "v1", name: "ConfigMap", plural: "configmaps" },
    Kind { version: "apps/v1", name: "Deployment", plural: "deployments" },
    Kind { version: "policy/v1", name: "PodDisruptionBudget", plural: "poddisruptionbudgets" },
    Kind { version: "networking.k8s.io/v1", name: "NetworkPolicy", plural: "networkpolicies" },
];

/// A kind of another API group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    version: &'static str,
    pub(crate) name: &'static str,
    plural: &'static str,
}

impl Kind {
    fn resource(self) -> ApiResource {
        let (group, version) = self.version.split_once('/').unwrap_or(("", self.version));
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, self.name), self.plural)
    }

    fn of(object: &Value) -> Option<Self> {
        KINDS.into_iter().find(|kind| object["kind"] == kind.name && object["apiVersion"] == kind.version)
    }
}

/// Something happened to one of the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Touched {
    pub(crate) key: ObjectKey,
    /// The Repository that it is for; none for the pool's.
    pub(crate) repository: Option<String>,
}

/// What is known of an object that exists.
#[derive(Debug, Clone)]
struct Known {
    version: String,
    repository: Option<String>,
}

/// What was applied last.
#[derive(Debug, Clone)]
struct Applied {
    object: Value,
    version: String,
    /// The address of a Service.
    cluster_ip: Option<String>,
}

/// The objects.
pub(crate) struct Children {
    client: kube::Client,
    known: Mutex<HashMap<ObjectKey, Known>>,
    applied: Mutex<HashMap<ObjectKey, Applied>>,
}

impl Children {
    pub(crate) fn new(client: kube::Client) -> Self {
        Self { client, known: Mutex::default(), applied: Mutex::default() }
    }

    /// Follows all of them; each change goes to `touched`. `namespaces`: all when empty.
    pub(crate) async fn follow(self: Arc<Self>, namespaces: Vec<String>, touched: mpsc::Sender<Touched>) {
        let everywhere = [String::new()];
        let namespaces = if namespaces.is_empty() { everywhere.to_vec() } else { namespaces };
        let pairs = namespaces.iter().flat_map(|namespace| KINDS.map(|kind| (kind, namespace.clone())));
        let feeds = pairs.map(|(kind, namespace)| Arc::clone(&self).follow_kind(kind, namespace, touched.clone()));
        futures::future::join_all(feeds).await;
    }

    async fn follow_kind(self: Arc<Self>, kind: Kind, namespace: String, touched: mpsc::Sender<Touched>) {
        let api: Api<PartialObjectMeta<DynamicObject>> = if namespace.is_empty() {
            Api::all_with(self.client.clone(), &kind.resource())
        } else {
            Api::namespaced_with(self.client.clone(), &namespace, &kind.resource())
        };
        let mut config = watcher::Config::default().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
        if kind.name == "ConfigMap" {
            config = config.fields(&format!("metadata.name={AUTHORITY}"));
        }
        let mut stream = std::pin::pin!(watcher(api, config).default_backoff());
        let mut listed = Vec::new();
        while let Some(event) = stream.next().await {
            let changes = match event {
                Ok(Event::Init) => {
                    listed.clear();
                    continue;
                }
                Ok(Event::InitApply(object)) => {
                    listed.push(object);
                    continue;
                }
                Ok(Event::InitDone) => self.replace(kind, &namespace, &std::mem::take(&mut listed)),
                Ok(Event::Apply(object)) => self.applied(kind, &object).into_iter().collect(),
                Ok(Event::Delete(object)) => self.deleted(kind, &object).into_iter().collect(),
                Err(error) => {
                    tracing::debug!(kind = kind.name, %error, "failed to follow objects of the controller");
                    continue;
                }
            };
            for change in changes {
                if touched.send(change).await.is_err() {
                    return;
                }
            }
        }
    }

    fn key(kind: Kind, object: &PartialObjectMeta<DynamicObject>) -> ObjectKey {
        let metadata = &object.metadata;
        let namespace = metadata.namespace.clone().unwrap_or_default();
        ObjectKey::new(kind.name, namespace, metadata.name.clone().unwrap_or_default())
    }

    fn applied(&self, kind: Kind, object: &PartialObjectMeta<DynamicObject>) -> Option<Touched> {
        let key = Self::key(kind, object);
        let labels = object.metadata.labels.as_ref();
        let repository = labels.and_then(|labels| labels.get(REPOSITORY_LABEL)).cloned();
        let version = object.metadata.resource_version.clone().unwrap_or_default();
        let known = Known { version: version.clone(), repository: repository.clone() };
        let before = self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), known);
        let unchanged = before.is_some_and(|before| before.version == version);
        (!unchanged).then_some(Touched { key, repository })
    }

    fn deleted(&self, kind: Kind, object: &PartialObjectMeta<DynamicObject>) -> Option<Touched> {
        let key = Self::key(kind, object);
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&key)?;
        Some(Touched { key, repository: known.repository })
    }

    /// A whole list: what is not in it is gone.
    fn replace(&self, kind: Kind, namespace: &str, listed: &[PartialObjectMeta<DynamicObject>]) -> Vec<Touched> {
        let keys: std::collections::HashSet<ObjectKey> = listed.iter().map(|object| Self::key(kind, object)).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_gone = |key: &ObjectKey| {
            key.kind == kind.name && (namespace.is_empty() || key.namespace == namespace) && !keys.contains(key)
        };
        let gone = known.extract_if(|key, _| is_gone(key));
        let mut changes: Vec<Touched> =
            gone.map(|(key, known)| Touched { key, repository: known.repository }).collect();
        drop(known);
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in &changes {
            applied.remove(&gone.key);
        }
        drop(applied);
        changes.extend(listed.iter().filter_map(|object| self.applied(kind, object)));
        changes
    }

    /// Whether an object is there.
    pub(crate) fn exists(&self, key: &ObjectKey) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    /// Whether an object is there that was made for this Repository.
    pub(crate) fn is_for(&self, key: &ObjectKey, repository: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).is_some_and(|known| known.repository.as_deref() == Some(repository))
    }

    /// The namespaces that hold an object of this kind and name.
    pub(crate) fn namespaces_with(&self, kind: &str, name: &str) -> Vec<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.keys().filter(|key| key.kind == kind && key.name == name).map(|key| key.namespace.clone()).collect()
    }

    /// Applies an object unless it lies there as it was applied last; gives the address if it is a Service.
    pub(crate) async fn apply(&self, object: &Value) -> Result<Option<String>, kube::Error> {
        let Some((key, api)) = self.api(object) else { return Ok(None) };
        let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(applied) = applied.filter(|applied| applied.object == *object)
            && self.version(&key).is_some_and(|version| version == applied.version)
        {
            return Ok(applied.cluster_ip);
        }
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let answer = api.patch(&key.name, &parameters, &Patch::Apply(object)).await?;
        let cluster_ip = answer.data["spec"]["clusterIP"].as_str().filter(|ip| *ip != "None").map(str::to_owned);
        let version = answer.metadata.resource_version.unwrap_or_default();
        let applied = Applied { object: object.clone(), version, cluster_ip: cluster_ip.clone() };
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).insert(key, applied);
        Ok(cluster_ip)
    }

    /// Deletes an object of ours if it is there.
    pub(crate) async fn delete(&self, object: &Value) -> Result<(), kube::Error> {
        let Some((key, api)) = self.api(object) else { return Ok(()) };
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        if !self.exists(&key) {
            return Ok(());
        }
        match api.delete(&key.name, &kube::api::DeleteParams::background()).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    fn version(&self, key: &ObjectKey) -> Option<String> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(key).map(|known| known.version.clone())
    }

    fn api(&self, object: &Value) -> Option<(ObjectKey, Api<DynamicObject>)> {
        let kind = Kind::of(object)?;
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        let key = ObjectKey::new(kind.name, text("namespace"), text("name"));
        let api = Api::namespaced_with(self.client.clone(), &key.namespace, &kind.resource());
        Some((key, api))
    }
}
