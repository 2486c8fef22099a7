//! Keeps the shared pool as the platform team wants it, and knows its address, its pods and the certificates that prove it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::api::{Api, ListParams, ObjectMeta, Patch, PatchParams};
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::context::{Context, PoolServers};
use crate::authority::{self, AuthorityData};
use crate::cluster::View;
use crate::workload::{AUTHORITY, FIELD_MANAGER, MANAGED_BY, Workload, WorkloadKind, authority_map};

/// How often the pool is looked at without a reason.
const EVERY: Duration = Duration::from_secs(30);
/// When it is looked at again after a failure, or while pods start.
const RETRY: Duration = Duration::from_secs(1);

/// The pool's keeper.
pub(crate) struct PoolKeeper {
    pub(crate) context: Arc<Context>,
    pub(crate) watch_namespaces: Vec<String>,
    /// The Deployment that owns everything, so that it goes with the chart.
    pub(crate) owner: String,
    /// Something about the pool changed.
    pub(crate) touched: Arc<Notify>,
    /// Told when the pool's pods or address changed.
    pub(crate) changed: Arc<Notify>,
}

impl PoolKeeper {
    /// Keeps it until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut is_known = false;
        loop {
            let wait = match self.look().await {
                Ok(is_complete) => {
                    is_known = true;
                    if is_complete { EVERY } else { RETRY }
                }
                Err(error) => {
                    if is_known {
                        tracing::warn!(%error, "failed to look after the pool of git servers");
                    } else {
                        tracing::error!(%error, "failed to set up the pool of git servers");
                    }
                    RETRY
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.touched.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One look; gives whether every pod that is wanted runs.
    async fn look(&self) -> Result<bool, kube::Error> {
        let context = &self.context;
        let authority = self.authority().await?;
        let owner = self.owner().await?;
        let pool = &context.pool;
        let workload = Workload {
            pool,
            namespace: &context.namespace,
            name: pool.name.clone(),
            service: pool.name.clone(),
            replicas: pool.replicas,
            resources: pool.resources.clone(),
            cache_size: pool.cache_size.clone(),
            tls_secret: pool.tls_secret.clone(),
            store_secret: pool.store_credentials_secret.clone(),
            owner,
            kind: WorkloadKind::Pool { watch_namespaces: &self.watch_namespaces },
        };
        context.children.apply(&authority_map(&context.namespace, &authority)).await?;
        let service = context.children.apply(&workload.service()).await?;
        for object in workload.objects() {
            context.children.apply(&object).await?;
        }
        let (pods, starting) = self.pods().await?;
        let servers = PoolServers {
            service: service.and_then(|address| address.parse().ok()),
            pods,
            starting,
            authority: authority.into_bytes().into(),
        };
        let is_complete = i32::try_from(servers.pods.len()).is_ok_and(|pods| pods >= pool.replicas);
        self.remember(servers);
        self.tidy_up(&context.view()).await?;
        Ok(is_complete)
    }

    fn remember(&self, servers: PoolServers) {
        let mut known = self.context.servers.write().unwrap_or_else(PoisonError::into_inner);
        let differs =
            (known.service, &known.pods, &known.authority) != (servers.service, &servers.pods, &servers.authority);
        *known = servers;
        drop(known);
        if differs {
            self.changed.notify_one();
        }
    }

    async fn owner(&self) -> Result<Value, kube::Error> {
        let deployments: Api<Deployment> = Api::namespaced(self.context.client.clone(), &self.context.namespace);
        let deployment = deployments.get(&self.owner).await?;
        Ok(json!({"apiVersion": Deployment::api_version(&()), "kind": Deployment::kind(&()),
            "name": deployment.name_any(), "uid": deployment.uid().unwrap_or_default()}))
    }

    /// Addresses of the pods that take requests, and of those that do not.
    async fn pods(&self) -> Result<(Vec<IpAddr>, Vec<IpAddr>), kube::Error> {
        let slices: Api<EndpointSlice> = Api::namespaced(self.context.client.clone(), &self.context.namespace);
        let label = format!("kubernetes.io/service-name={}", self.context.pool.name);
        let slices = slices.list(&ListParams::default().labels(&label)).await?;
        let endpoints = slices.items.into_iter().flat_map(|slice| slice.endpoints);
        let (ready, others): (Vec<_>, Vec<_>) = endpoints.partition(|endpoint| {
            endpoint.conditions.as_ref().is_none_or(|conditions| conditions.ready != Some(false))
        });
        let addresses = |endpoints: Vec<Endpoint>| {
            let all = endpoints.into_iter().flat_map(|endpoint| endpoint.addresses);
            let parsed: BTreeSet<IpAddr> = all.filter_map(|address| address.parse().ok()).collect();
            parsed.into_iter().collect()
        };
        Ok((addresses(ready), addresses(others)))
    }

    /// Our own certificate authority, made or renewed if need be; gives what clients have to trust.
    async fn authority(&self) -> Result<String, kube::Error> {
        let secrets: Api<Secret> = Api::namespaced(self.context.client.clone(), &self.context.namespace);
        let secret = secrets.get_opt(AUTHORITY).await?;
        let data = secret.as_ref().and_then(|secret| secret.data.clone()).unwrap_or_default();
        let known = AuthorityData::read(|key| data.get(key).map(|bytes| bytes.0.clone()));
        let (wanted, is_new) = match authority::plan(known, self.context.now()) {
            Ok(planned) => planned,
            Err(error) => {
                return Err(kube::Error::Service(format!("failed to make a certificate authority: {error}").into()));
            }
        };
        if is_new {
            let wanted = self.secret(&wanted);
            if let Some(version) = secret.and_then(|secret| secret.resource_version()) {
                // Only the version that was read: two controllers must not make two authorities.
                let mut patch = json!(wanted);
                patch["metadata"]["resourceVersion"] = json!(version);
                secrets.patch(AUTHORITY, &PatchParams::default(), &Patch::Merge(&patch)).await?;
            } else {
                secrets
                    .create(
                        &kube::api::PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..Default::default() },
                        &wanted,
                    )
                    .await?;
            }
            tracing::info!("made or renewed the certificate authority");
        }
        Ok(wanted.bundle())
    }

    fn secret(&self, authority: &AuthorityData) -> Secret {
        let labels = [("app.kubernetes.io/name", "codekeep"), ("app.kubernetes.io/part-of", "codekeep"), MANAGED_BY];
        Secret {
            metadata: ObjectMeta {
                name: Some(AUTHORITY.to_owned()),
                namespace: Some(self.context.namespace.clone()),
                labels: Some(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
                ..ObjectMeta::default()
            },
            type_: Some("kubernetes.io/tls".to_owned()),
            string_data: Some(authority.entries().into()),
            ..Secret::default()
        }
    }

    /// Namespaces without a Repository need no certificate any more.
    async fn tidy_up(&self, view: &View) -> Result<(), kube::Error> {
        if !view.is_known {
            return Ok(());
        }
        for namespace in self.context.children.namespaces_with("ConfigMap", AUTHORITY) {
            let is_needed =
                namespace == self.context.namespace || view.of_namespace("Repository", &namespace).next().is_some();
            if !is_needed {
                self.context.children.delete(&authority_map(&namespace, "")).await?;
            }
        }
        Ok(())
    }
}
