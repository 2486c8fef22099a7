//! Puts a Repository's Service, and pods of its own, where the resource wants them.

use std::net::IpAddr;
use std::time::Duration;

use crds::ServingMode;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, ListParams};
use serde_json::{Value, json};

use crate::cluster::ObjectKey;
use crate::controller::{Context, Kind, Place, ReconcileError, owner};
use crate::host_keys;
use crate::pool::PoolConfig;
use crate::workload::{REPOSITORY_LABEL, Workload, WorkloadKind, alias_service};

/// Who serves a Repository now.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) mode: ServingMode,
    /// Where its Service leads; nowhere yet while dedicated pods start for the first time.
    pub(crate) place: Option<Place>,
    /// What is missing of what the resource wants.
    pub(crate) waiting_for: Option<String>,
    /// Whether pods that it had go on for a while.
    pub(crate) lingers: bool,
}

/// How long pods that a Repository does not want any more go on, for clients that still remember their address.
const LINGER: Duration = Duration::from_mins(1);

/// Applies everything; the Service turns to dedicated pods when they answer, and not before.
pub(crate) async fn apply(
    object: &DynamicObject,
    repository: &crds::Repository,
    context: &Context,
) -> Result<Served, ReconcileError> {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    publish_authority(&namespace, context).await?;
    let owner = owner(Kind::Repository, object);
    let host = context.host(&name, &namespace);
    let pool = context.host(&context.pool.name, &context.namespace);
    let Some(workload) = dedicated(object, repository, &namespace, &name, context) else {
        context.children.apply(&alias_service(&pool, &namespace, &name, &owner)).await?;
        let lingers = !retire_workload(&namespace, &name, context).await?;
        let place = context.pool_place(host)?;
        return Ok(Served { mode: ServingMode::Shared, place: Some(place), waiting_for: None, lingers });
    };
    context.lingering(&namespace, &name, false);
    let address = context.children.apply(&workload.service()).await?;
    for child in workload.objects() {
        context.children.apply(&child).await?;
    }
    let (ready, mut waiting_for) = readiness(&workload, context).await?;
    let place = own_place(&workload, address, context);
    let mut turn =
        object.data["status"]["servingMode"] == "Dedicated" || super::own_bucket(&repository.spec.serving).is_some();
    if let Some(place) = place.as_ref().filter(|_| ready && !turn) {
        let path = format!("{namespace}/{}", repository.spec.repository_name.as_deref().unwrap_or(&name));
        match context.git.ls_refs(place, &context.servers().authority, &path).await {
            Ok(()) => turn = true,
            Err(error) => waiting_for = Some(format!("they do not answer yet: {error}")),
        }
    }
    let target = if turn { context.host(&workload.service, &namespace) } else { pool };
    context.children.apply(&alias_service(&target, &namespace, &name, &owner)).await?;
    if turn {
        let place = place.filter(|_| ready);
        return Ok(Served { mode: ServingMode::Dedicated, place, waiting_for, lingers: false });
    }
    // Until then the pool serves it.
    let place = context.pool_place(host)?;
    let waiting_for = waiting_for.or_else(|| Some("they are just starting".to_owned()));
    Ok(Served { mode: ServingMode::Shared, place: Some(place), waiting_for, lingers: false })
}

/// Who can delete the data of a Repository that is being deleted: the pool, or its own pods when the bucket is its own. The pool must
/// not be asked then: under the same name it may hold data of another Repository that was to stay.
pub(crate) async fn place_of_data(
    object: &DynamicObject,
    document: &Value,
    context: &Context,
) -> Result<Place, ReconcileError> {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let repository: crds::Repository = serde_json::from_value(document.clone()).map_err(ReconcileError::Document)?;
    if super::own_bucket(&repository.spec.serving).is_none() {
        // By its own name: that of a Repository that is not served has no certificate any more.
        return context.pool_place(context.host(&context.pool.name, &context.namespace));
    }
    let workload = dedicated(object, &repository, &namespace, &name, context).ok_or(ReconcileError::NoPods)?;
    let address = context.children.apply(&workload.service()).await?;
    own_place(&workload, address, context).ok_or(ReconcileError::NoPods)
}

/// Pods of its own are asked by the name of their own Service: for the Repository's name they may show a certificate that the tenant
/// gave, of an authority that nobody else knows.
fn own_place(workload: &Workload<'_>, address: Option<String>, context: &Context) -> Option<Place> {
    let address = address?.parse().ok()?;
    Some(Place { host: context.host(&workload.service, workload.namespace), address })
}

/// Gives clients of a namespace what proves the servers.
async fn publish_authority(namespace: &str, context: &Context) -> Result<(), ReconcileError> {
    let servers = context.servers();
    if servers.authority.is_empty() {
        return Err(ReconcileError::NoPool);
    }
    let known_hosts = host_keys::known_hosts(&servers.host_keys, namespace, &context.pool, &context.namespace);
    let certificates = String::from_utf8_lossy(&servers.authority);
    context.children.apply(&crate::workload::authority_map(namespace, &certificates, &known_hosts)).await?;
    Ok(())
}

fn dedicated<'a>(
    object: &DynamicObject,
    repository: &'a crds::Repository,
    namespace: &'a str,
    name: &'a str,
    context: &'a Context,
) -> Option<Workload<'a>> {
    if repository.spec.serving.mode != ServingMode::Dedicated {
        return None;
    }
    let wanted = repository.spec.serving.dedicated.clone().unwrap_or_default();
    let storage = wanted.storage.unwrap_or_default();
    let (stores, replication) = stores(object, &repository.spec, &context.pool);
    let mut resources = json!({});
    for (field, list) in [("requests", wanted.resources.requests), ("limits", wanted.resources.limits)] {
        if let Some(list) = list {
            resources[field] = json!(list);
        }
    }
    Some(Workload {
        pool: &context.pool,
        namespace,
        name: workload_name(name),
        service: workload_name(name),
        replicas: wanted.replicas,
        resources,
        cache_size: wanted.cache_size,
        tls_secret: wanted.tls_secret_ref.map(|secret| secret.name),
        store_secret: storage.credentials_secret_ref.map(|secret| secret.name),
        owner: owner(Kind::Repository, object),
        kind: WorkloadKind::Dedicated { repository: name, stores, replication, pool_namespace: &context.namespace },
    })
}

/// The stores that pods of its own need, as `NAME=URL`, and the default of replication that holds for it.
fn stores(object: &DynamicObject, spec: &crds::RepositorySpec, pool: &PoolConfig) -> (Vec<String>, String) {
    let store = spec.store.as_str();
    if let Some(url) = super::own_bucket(&spec.serving) {
        return (vec![format!("{store}={url}")], String::new());
    }
    let default = pool.replication().remove(store).filter(|_| spec.replication.is_none());
    let replicas = spec.replication.as_ref().map(|replication| &replication.stores);
    let replicas = replicas.or_else(|| default.as_ref().map(|default| &default.stores));
    let mut names = vec![store];
    names.extend(replicas.into_iter().flatten().map(String::as_str));
    // What it holds counts, whatever the resource says by now.
    names.extend(object.data["status"]["replication"]["primary"].as_str().filter(|primary| !names.contains(primary)));
    let stores = names.iter().filter_map(|name| Some(format!("{name}={}", pool.store_url(name)?)));
    (stores.collect(), default.as_ref().map(|default| format!("{store}={default}")).unwrap_or_default())
}

/// Name of the objects of a Repository's own pods, from the resource's. A Service's name has at most 63 characters, and so has a label.
#[must_use]
pub fn workload_name(repository: &str) -> String {
    let cut: String = repository.chars().take(59).collect();
    format!("{}-git", cut.trim_end_matches('-'))
}

/// Removes pods of its own that a Repository had, when their time is over; tells whether nothing is left.
async fn retire_workload(namespace: &str, name: &str, context: &Context) -> Result<bool, ReconcileError> {
    let workload = workload_name(name);
    let kinds = [
        ("apps/v1", "Deployment"),
        ("policy/v1", "PodDisruptionBudget"),
        ("networking.k8s.io/v1", "NetworkPolicy"),
        ("v1", "ServiceAccount"),
        ("v1", "Service"),
    ];
    let is_there = |kind: &str| context.children.is_for(&ObjectKey::new(kind, namespace, workload.as_str()), name);
    let left: Vec<_> = kinds.into_iter().filter(|(_, kind)| is_there(kind)).collect();
    if context.lingering(namespace, name, !left.is_empty()).is_some_and(|lingered| lingered < LINGER) {
        return Ok(false);
    }
    for (version, kind) in left {
        let object =
            json!({"apiVersion": version, "kind": kind, "metadata": {"name": workload, "namespace": namespace}});
        context.children.delete(&object).await?;
    }
    Ok(true)
}

/// Whether a pod is ready, and what the others wait for.
async fn readiness(workload: &Workload<'_>, context: &Context) -> Result<(bool, Option<String>), ReconcileError> {
    let deployments: Api<Deployment> = Api::namespaced(context.client.clone(), workload.namespace);
    let deployment = deployments.get_opt(&workload.name).await?;
    let generation = deployment.as_ref().and_then(|deployment| deployment.metadata.generation);
    let status = deployment.and_then(|deployment| deployment.status).unwrap_or_default();
    let (ready, updated) = (status.ready_replicas.unwrap_or(0), status.updated_replicas.unwrap_or(0));
    let is_current = status.observed_generation >= generation;
    if is_current && ready >= workload.replicas && updated >= workload.replicas {
        return Ok((ready > 0, (workload.replicas == 0).then(|| "spec.serving.dedicated.replicas is 0".to_owned())));
    }
    let mut waiting = format!("{ready} of {} pods are ready", workload.replicas);
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), workload.namespace);
    if let WorkloadKind::Dedicated { repository, .. } = &workload.kind {
        let pods = pods.list(&ListParams::default().labels(&format!("{REPOSITORY_LABEL}={repository}"))).await?;
        let mut reason = pods.items.iter().find_map(trouble);
        for address in pods.items.iter().filter_map(address) {
            if reason.is_none() {
                reason = context.git.waits_for(address).await;
            }
        }
        if let Some(reason) = reason {
            waiting = format!("{waiting}: {reason}");
        }
    }
    Ok((ready > 0, Some(waiting)))
}

fn address(pod: &Pod) -> Option<IpAddr> {
    pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
}

/// Why a pod does not start.
fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let unscheduled =
        status.conditions.iter().flatten().find(|condition| condition.reason.as_deref() == Some("Unschedulable"));
    if let Some(condition) = unscheduled {
        return condition.message.clone();
    }
    let containers = status.container_statuses.iter().flatten();
    containers.filter_map(|container| container.state.as_ref()?.waiting.as_ref()).find_map(|waiting| {
        let reason = waiting.reason.as_deref().filter(|reason| *reason != "ContainerCreating")?;
        Some(format!("{reason}: {}", waiting.message.as_deref().unwrap_or("see kubectl describe pod")))
    })
}

#[cfg(test)]
mod tests;
