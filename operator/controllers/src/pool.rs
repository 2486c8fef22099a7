//! The pool of git servers as the platform team describes it: the chart's values, in a file (`--pool`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::replication::Replication;
use serde::Deserialize;
use serde_json::Value;

use crate::{repository, yaml};

/// The pool. Every key of the file is one of these; `charts/codekeep/values.yaml` describes them for people.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolConfig {
    /// Name of the pool's Deployment and Service.
    pub name: String,
    /// The `ServiceAccount` of its pods.
    pub service_account_name: String,
    /// The image, also of dedicated workloads.
    pub image: String,
    /// When the image is pulled.
    #[serde(default = "if_not_present")]
    pub image_pull_policy: String,
    /// Secrets of the pool's namespace to pull it with.
    #[serde(default)]
    pub image_pull_secrets: Vec<Value>,
    /// Number of pods.
    #[serde(default = "two")]
    pub replicas: i32,
    /// The stores that Repositories may choose.
    pub stores: Vec<StoreConfig>,
    /// A Secret of the pool's namespace with the standard AWS variables.
    #[serde(default)]
    pub store_credentials_secret: Option<String>,
    /// Services that keep keys of encrypted repositories.
    #[serde(default)]
    pub key_services: Vec<KeyServiceConfig>,
    /// Local disk of each pod for cached packs.
    #[serde(default = "ten_gibibytes")]
    pub cache_size: String,
    /// `Memory` keeps the cache off the disks of nodes, also for dedicated workloads.
    #[serde(default)]
    pub cache_medium: Option<String>,
    /// CPU and memory of each pod (`ResourceRequirements`).
    #[serde(default)]
    pub resources: Value,
    /// How the pool's Service looks.
    #[serde(default)]
    pub service: ServiceConfig,
    /// Git over SSH.
    #[serde(default)]
    pub ssh: SshConfig,
    /// A TLS Secret of the pool's namespace for names outside the cluster.
    #[serde(default)]
    pub tls_secret: Option<String>,
    /// Where clients outside the cluster reach the pool.
    #[serde(default)]
    pub external_url: Option<url::Url>,
    /// The cluster's DNS domain.
    #[serde(default = "cluster_local")]
    pub cluster_domain: String,
    /// Audiences of tokens that the pods accept.
    #[serde(default)]
    pub token_audiences: Vec<String>,
    /// Whether tokens for the API server are accepted too.
    #[serde(default = "yes")]
    pub accept_api_server_audience: bool,
    /// Networks that webhooks may reach.
    #[serde(default)]
    pub webhook_allow_cidrs: Vec<String>,
    /// Seconds that requests under way may take when a pod is stopped.
    #[serde(default = "sixty")]
    pub grace_period_seconds: u32,
    /// Further environment of the container (`EnvVar`s), e.g. for workload identity.
    #[serde(default)]
    pub env: Vec<Value>,
    /// Further labels of the pods.
    #[serde(default)]
    pub pod_labels: BTreeMap<String, String>,
    /// Annotations of the pods.
    #[serde(default)]
    pub pod_annotations: BTreeMap<String, String>,
    /// Where pods may run.
    #[serde(default)]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that pods tolerate.
    #[serde(default)]
    pub tolerations: Vec<Value>,
    /// Where pods prefer to run.
    #[serde(default)]
    pub affinity: Value,
    /// How pods are spread; over nodes and zones when empty.
    #[serde(default)]
    pub topology_spread_constraints: Vec<Value>,
    /// Priority of the pods.
    #[serde(default)]
    pub priority_class_name: Option<String>,
    /// Whether `NetworkPolicies` are made.
    #[serde(default = "yes")]
    pub network_policy: bool,
    /// Format of the pods' logs.
    #[serde(default = "json")]
    pub log_format: String,
    /// Level of the pods' logs.
    #[serde(default = "info")]
    pub log_level: String,
}

/// A store by name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoreConfig {
    /// The name that Repositories use.
    pub name: String,
    /// Its URL.
    pub url: String,
    /// A Secret of the pool's namespace with the standard AWS variables, instead of that for all stores.
    #[serde(default)]
    pub credentials_secret: Option<String>,
    /// How Repositories of this store are replicated that do not say.
    #[serde(default)]
    pub replication: Option<ReplicationConfig>,
}

/// In which further stores Repositories are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplicationConfig {
    /// When a push is acknowledged.
    #[serde(default)]
    pub mode: crds::ReplicationMode,
    /// The further stores.
    pub stores: Vec<String>,
    /// With Synchronous: how many stores hold a push before it is acknowledged.
    #[serde(default)]
    pub quorum: Option<u32>,
}

/// A key service by name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyServiceConfig {
    /// The name that Repositories use.
    pub name: String,
    /// Its address.
    pub url: String,
    /// A Secret of the pool's namespace that proves the pods to it.
    #[serde(default)]
    pub credentials_secret: Option<String>,
}

/// The pool's Service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceConfig {
    /// `ClusterIP`, `NodePort` or `LoadBalancer`.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// Annotations, for the load balancer or external DNS.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Networks that the load balancer admits.
    #[serde(default)]
    pub load_balancer_source_ranges: Vec<String>,
    /// The port of every node, for the type `NodePort`.
    #[serde(default)]
    pub node_port: Option<i32>,
}

/// Git over SSH.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SshConfig {
    /// Whether it is served.
    pub enabled: bool,
    /// The port of the pool's Service.
    pub port: u16,
    /// The port of every node, for the type `NodePort`.
    pub node_port: Option<i32>,
}

impl Default for SshConfig {
    fn default() -> Self {
        Self { enabled: false, port: 22, node_port: None }
    }
}

/// Why the pool is not known.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The file cannot be read.
    #[error("failed to read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file says something that has no meaning.
    #[error("failed to understand {}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl PoolConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or holds a key that is not one of ours.
    pub fn load(path: &Path) -> Result<Self, PoolError> {
        let text = std::fs::read_to_string(path).map_err(|source| PoolError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|reason| PoolError::Invalid { path: path.to_owned(), reason })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (documents, failure) = yaml::parse(text);
        if let Some(failure) = failure {
            return Err(format!("line {}: {}", failure.line, failure.message));
        }
        let document = documents.into_iter().next().ok_or("it is empty")?;
        let pool: Self = serde_json::from_value(document.value).map_err(|error| error.to_string())?;
        if pool.stores.is_empty() {
            return Err(
                "stores: at least one is needed, and the one named 'default' is for Repositories that name none"
                    .to_owned(),
            );
        }
        for (name, replication) in pool.replication() {
            let unknown = replication.stores.iter().find(|store| pool.store_url(store).is_none());
            let unknown = unknown.map(|store| format!("there is no store '{store}'; add it, or name another"));
            if let Some(flaw) = replication.flaw(&name).or(unknown) {
                return Err(format!("stores: replication of '{name}': {flaw}"));
            }
        }
        Ok(pool)
    }

    /// How Repositories of a store are replicated that do not say, by its name.
    #[must_use]
    pub fn replication(&self) -> BTreeMap<String, Arc<Replication>> {
        let of = |store: &StoreConfig| {
            let ReplicationConfig { mode, stores, quorum } = store.replication.clone()?;
            let spec = crds::Replication { mode, stores, quorum, primary: None };
            Some((store.name.clone(), repository::replication::replication(&spec)))
        };
        self.stores.iter().filter_map(of).collect()
    }

    /// The URL of a store.
    #[must_use]
    pub fn store_url(&self, name: &str) -> Option<&str> {
        self.stores.iter().find(|store| store.name == name).map(|store| store.url.as_str())
    }
}

fn if_not_present() -> String {
    "IfNotPresent".to_owned()
}

fn two() -> i32 {
    2
}

fn ten_gibibytes() -> String {
    "10Gi".to_owned()
}

fn cluster_local() -> String {
    "cluster.local".to_owned()
}

fn yes() -> bool {
    true
}

fn sixty() -> u32 {
    60
}

fn json() -> String {
    "json".to_owned()
}

fn info() -> String {
    "info".to_owned()
}

#[cfg(test)]
mod tests;
