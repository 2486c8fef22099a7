//! Keeps the shared pool as the platform team wants it, and knows its address, its pods and the certificates that prove it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::api::{Api, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Resource as _, ResourceExt as _};
use model::SshPublicKey;
use model::clock::{Random as _, SystemRandom};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::context::{Context, PoolServers};
use crate::authority::{self, AuthorityData};
use crate::cluster::View;
use crate::host_keys;
use crate::workload::{AUTHORITY, FIELD_MANAGER, HOST_KEYS, MANAGED_BY, Workload, WorkloadKind, authority_map};

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
        let host_keys = if pool.ssh.enabled { self.host_keys().await? } else { vec![] };
        let known_hosts = host_keys::known_hosts(&host_keys, &context.namespace, pool, &context.namespace);
        context.children.apply(&authority_map(&context.namespace, &authority, &known_hosts)).await?;
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
            host_keys: host_keys.into(),
        };
        let is_complete = i32::try_from(servers.pods.len()).is_ok_and(|pods| pods >= pool.replicas);
        self.remember(servers);
        self.tidy_up(&context.view()).await?;
        Ok(is_complete)
    }

    fn remember(&self, servers: PoolServers) {
        let mut known = self.context.servers.write().unwrap_or_else(PoisonError::into_inner);
        let differs = (known.service, &known.pods) != (servers.service, &servers.pods)
            || (&known.authority, &known.host_keys) != (&servers.authority, &servers.host_keys);
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
            let version = secret.and_then(|secret| secret.resource_version());
            self.write(&self.secret(AUTHORITY, "kubernetes.io/tls", wanted.entries().into()), version).await?;
            tracing::info!("made or renewed the certificate authority");
        }
        Ok(wanted.bundle())
    }

    /// The host keys of the pool, made if there are none; gives what clients have to know. Keys that people put there are left alone.
    async fn host_keys(&self) -> Result<Vec<SshPublicKey>, kube::Error> {
        let secrets: Api<Secret> = Api::namespaced(self.context.client.clone(), &self.context.namespace);
        let secret = secrets.get_opt(HOST_KEYS).await?;
        let found = secret.as_ref().and_then(|secret| secret.data.as_ref()).map(host_keys::public).unwrap_or_default();
        if !found.is_empty() {
            return Ok(found);
        }
        let mut seed = [0; 32];
        SystemRandom.fill(&mut seed);
        let failed = |error| kube::Error::Service(format!("failed to make an SSH host key: {error}").into());
        let text = pki::host_key::from_seed(&seed).map_err(failed)?;
        let entries = BTreeMap::from([(host_keys::MADE.to_owned(), text)]);
        let public = entries.iter().map(|(name, text)| (name.clone(), ByteString(text.clone().into_bytes()))).collect();
        let version = secret.and_then(|secret| secret.resource_version());
        self.write(&self.secret(HOST_KEYS, "Opaque", entries), version).await?;
        tracing::info!("made the SSH host key of the pool");
        Ok(host_keys::public(&public))
    }

    /// Writes a Secret: a new one, or over this version of it only, so that two controllers do not make two keys.
    async fn write(&self, wanted: &Secret, version: Option<String>) -> Result<(), kube::Error> {
        let secrets: Api<Secret> = Api::namespaced(self.context.client.clone(), &self.context.namespace);
        if let Some(version) = version {
            let mut patch = json!(wanted);
            patch["metadata"]["resourceVersion"] = json!(version);
            secrets.patch(&wanted.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await?;
        } else {
            let by = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
            secrets.create(&by, wanted).await?;
        }
        Ok(())
    }

    fn secret(&self, name: &str, kind: &str, entries: BTreeMap<String, String>) -> Secret {
        let labels = [("app.kubernetes.io/name", "codekeep"), ("app.kubernetes.io/part-of", "codekeep"), MANAGED_BY];
        Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(self.context.namespace.clone()),
                labels: Some(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
                ..ObjectMeta::default()
            },
            type_: Some(kind.to_owned()),
            string_data: Some(entries),
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
                self.context.children.delete(&authority_map(&namespace, "", "")).await?;
            }
        }
        Ok(())
    }
}
