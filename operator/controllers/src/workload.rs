//! The Kubernetes objects of a group of git-server pods: the shared pool and dedicated workloads are built by the same code.
//!
//! Pure: objects as the API server is asked to have them, for server-side apply. Everything satisfies Pod Security "restricted".

mod clients;

use serde_json::{Map, Value, json};

use crate::pool::{KeyServiceConfig, PoolConfig};
pub(crate) use clients::{alias_service, authority_map};

/// The port of git over HTTPS in a pod.
pub(crate) const GIT_PORT: u16 = 8443;
/// The port of git over SSH in a pod.
pub(crate) const SSH_PORT: u16 = 2_222;
/// The port of the controller and of dedicated pods.
pub(crate) const CONTROL_PORT: u16 = 9443;
/// The port of health and metrics.
pub(crate) const METRICS_PORT: u16 = 9090;
/// The Secret with our own certificate authority, and the `ConfigMap` with its certificate.
pub(crate) const AUTHORITY: &str = "codekeep-ca";
/// The Secret with the pool's SSH host keys.
pub(crate) const HOST_KEYS: &str = "codekeep-ssh-host-keys";
/// Who applies our objects.
pub(crate) const FIELD_MANAGER: &str = "codekeep-controller";
/// The label of objects that the controller makes, and its value.
pub(crate) const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "codekeep-controller");
/// The label with the name of the Repository that an object is for.
pub(crate) const REPOSITORY_LABEL: &str = "codekeep.dev/repository";

/// Where the bucket's keys are mounted.
const STORE_CREDENTIALS: &str = "/etc/codekeep/store";
/// Where credentials of key services are mounted, each in a folder of its name.
const KEY_SERVICES: &str = "/etc/codekeep/key-services";
/// Where the SSH host keys are mounted.
const SSH_HOST_KEYS: &str = "/etc/codekeep/ssh";
/// Time for the removal of a stopping pod from every node's Service table, in seconds.
const DRAIN_SECONDS: u32 = 5;
/// Room beside the cache on the local disk, in MiB: packs that are being received, and maintenance.
const ROOM_MIB: u64 = 20 << 10;

/// A group of git-server pods.
#[derive(Debug, Clone)]
pub(crate) struct Workload<'a> {
    pub(crate) pool: &'a PoolConfig,
    pub(crate) namespace: &'a str,
    /// Name of all its objects but the Service.
    pub(crate) name: String,
    /// Name of its Service.
    pub(crate) service: String,
    pub(crate) replicas: i32,
    pub(crate) resources: Value,
    pub(crate) cache_size: String,
    pub(crate) tls_secret: Option<String>,
    pub(crate) store_secret: Option<String>,
    /// Who owns its objects.
    pub(crate) owner: Value,
    pub(crate) kind: WorkloadKind<'a>,
}

/// What kind of group it is.
#[derive(Debug, Clone)]
pub(crate) enum WorkloadKind<'a> {
    /// The pool: its pods follow the API server and hold the authority's key.
    Pool {
        /// Namespaces that are followed; all when empty.
        watch_namespaces: &'a [String],
    },
    /// Pods of one Repository: they follow the pool and hold no API token.
    Dedicated {
        /// Name of the Repository.
        repository: &'a str,
        /// The stores that it is kept in, as `NAME=URL`.
        stores: Vec<String>,
        /// The default of its own store for replication, as `NAME=MODE:STORES`; empty without one.
        replication: String,
        /// Namespace of the pool.
        pool_namespace: &'a str,
    },
}

impl Workload<'_> {
    /// Whether its pods serve SSH: those of the pool, when it is turned on. Pods of one Repository live in its namespace, whose people
    /// must not get at host keys that stand for others.
    fn serves_ssh(&self) -> bool {
        self.pool.ssh.enabled && matches!(self.kind, WorkloadKind::Pool { .. })
    }

    /// Key services whose credentials are mounted: none in a tenant's namespace.
    fn key_services(&self) -> &[KeyServiceConfig] {
        if matches!(self.kind, WorkloadKind::Pool { .. }) { &self.pool.key_services } else { &[] }
    }

    /// Stores with credentials of their own, as volume, name and Secret: none in a tenant's namespace.
    fn store_secrets(&self) -> impl Iterator<Item = (String, &str, &str)> {
        let stores = if matches!(self.kind, WorkloadKind::Pool { .. }) { self.pool.stores.as_slice() } else { &[] };
        // A store's name may be too long for a part of a volume's.
        stores.iter().enumerate().filter_map(|(index, store)| {
            Some((format!("store-{index}"), store.name.as_str(), store.credentials_secret.as_deref()?))
        })
    }

    fn component_labels(&self) -> Map<String, Value> {
        let mut labels = Map::new();
        labels.insert("app.kubernetes.io/name".to_owned(), json!("codekeep"));
        labels.insert("app.kubernetes.io/instance".to_owned(), json!(self.name));
        labels.insert("app.kubernetes.io/component".to_owned(), json!("git-server"));
        if let WorkloadKind::Dedicated { repository, .. } = &self.kind {
            labels.insert(REPOSITORY_LABEL.to_owned(), json!(repository));
        }
        labels
    }

    fn metadata(&self, name: &str) -> Value {
        let mut labels = self.component_labels();
        labels.insert("app.kubernetes.io/part-of".to_owned(), json!("codekeep"));
        labels.insert("app.kubernetes.io/version".to_owned(), json!(env!("CARGO_PKG_VERSION")));
        labels.insert(MANAGED_BY.0.to_owned(), json!(MANAGED_BY.1));
        json!({"name": name, "namespace": self.namespace, "labels": labels, "ownerReferences": [self.owner]})
    }

    /// All objects but the Service, whose turn comes when pods are there.
    pub(crate) fn objects(&self) -> Vec<Value> {
        let mut objects = vec![];
        if matches!(self.kind, WorkloadKind::Dedicated { .. }) {
            objects.push(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": self.metadata(&self.name),
                "automountServiceAccountToken": false}));
        }
        objects.push(self.deployment());
        objects.push(
            json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": self.metadata(&self.name),
            "spec": {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow",
                "selector": {"matchLabels": self.component_labels()}}}),
        );
        if self.pool.network_policy {
            objects.push(self.network_policy());
        }
        objects
    }

    /// The Service in front of the pods.
    pub(crate) fn service(&self) -> Value {
        let mut metadata = self.metadata(&self.service);
        let mut spec = json!({
            "type": "ClusterIP",
            "selector": self.component_labels(),
            "ports": [
                {"name": "https", "port": 443, "targetPort": "https", "protocol": "TCP", "appProtocol": "https"},
                {"name": "control", "port": CONTROL_PORT, "targetPort": "control", "protocol": "TCP"},
            ],
        });
        if matches!(self.kind, WorkloadKind::Pool { .. }) {
            let service = &self.pool.service;
            if let Some(kind) = &service.kind {
                spec["type"] = json!(kind);
            }
            if let Some(port) = service.node_port {
                spec["ports"][0]["nodePort"] = json!(port);
            }
            if self.serves_ssh()
                && let Some(ports) = spec["ports"].as_array_mut()
            {
                let mut port =
                    json!({"name": "ssh", "port": self.pool.ssh.port, "targetPort": "ssh", "protocol": "TCP"});
                if let Some(of_nodes) = self.pool.ssh.node_port {
                    port["nodePort"] = json!(of_nodes);
                }
                ports.push(port);
            }
            if !service.load_balancer_source_ranges.is_empty() {
                spec["loadBalancerSourceRanges"] = json!(service.load_balancer_source_ranges);
            }
            if !service.annotations.is_empty() {
                metadata["annotations"] = json!(service.annotations);
            }
        }
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    }

    fn deployment(&self) -> Value {
        let labels = self.component_labels();
        let mut pod_labels = labels.clone();
        pod_labels.insert("app.kubernetes.io/part-of".to_owned(), json!("codekeep"));
        for (name, value) in &self.pool.pod_labels {
            pod_labels.entry(name.clone()).or_insert_with(|| json!(value));
        }
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": self.metadata(&self.name),
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": labels},
                // One more first, then one less: a rollout never has fewer pods than asked for.
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                "minReadySeconds": 2,
                "revisionHistoryLimit": 3,
                "template": {
                    "metadata": {"labels": pod_labels, "annotations": self.pod_annotations()},
                    "spec": self.pod(),
                },
            },
        })
    }

    fn pod_annotations(&self) -> Value {
        let mut annotations = json!({"kubectl.kubernetes.io/default-container": "git-server"});
        for (name, value) in &self.pool.pod_annotations {
            annotations[name] = json!(value);
        }
        annotations
    }

    fn pod(&self) -> Value {
        let is_pool = matches!(self.kind, WorkloadKind::Pool { .. });
        let pool = self.pool;
        // Pods of one rollout among themselves: counted with those they replace, all could come to be on one node.
        let spread = |key: &str| {
            json!({"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": self.component_labels()}, "matchLabelKeys": ["pod-template-hash"]})
        };
        let mut pod = json!({
            "serviceAccountName": if is_pool { &pool.service_account_name } else { &self.name },
            "automountServiceAccountToken": is_pool,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": pool.grace_period_seconds + DRAIN_SECONDS + 5,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"}},
            "topologySpreadConstraints": [spread("kubernetes.io/hostname"), spread("topology.kubernetes.io/zone")],
            "containers": [self.container()],
            "volumes": self.volumes(),
        });
        if is_pool {
            if !pool.image_pull_secrets.is_empty() {
                pod["imagePullSecrets"] = json!(pool.image_pull_secrets);
            }
            if !pool.topology_spread_constraints.is_empty() {
                pod["topologySpreadConstraints"] = json!(pool.topology_spread_constraints);
            }
            for (field, value) in [
                ("nodeSelector", json!(pool.node_selector)),
                ("tolerations", json!(pool.tolerations)),
                ("affinity", pool.affinity.clone()),
                ("priorityClassName", json!(pool.priority_class_name)),
            ] {
                if !is_empty(&value) {
                    pod[field] = value;
                }
            }
        }
        pod
    }

    fn container(&self) -> Value {
        let probe = |path: &str| json!({"path": path, "port": "metrics", "scheme": "HTTP"});
        let mut container = json!({
            "name": "git-server",
            "image": self.pool.image,
            "imagePullPolicy": self.pool.image_pull_policy,
            "args": ["serve"],
            "env": self.environment(),
            "ports": [
                {"name": "https", "containerPort": GIT_PORT, "protocol": "TCP"},
                {"name": "control", "containerPort": CONTROL_PORT, "protocol": "TCP"},
                {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
            ],
            "startupProbe": {"httpGet": probe("/healthz"), "periodSeconds": 1, "failureThreshold": 120},
            "livenessProbe": {"httpGet": probe("/healthz"), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
            "readinessProbe": {"httpGet": probe("/readyz"), "periodSeconds": 2, "timeoutSeconds": 3, "failureThreshold": 2},
            "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true,
                "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumeMounts": self.mounts(),
        });
        if self.serves_ssh()
            && let Some(ports) = container["ports"].as_array_mut()
        {
            ports.push(json!({"name": "ssh", "containerPort": SSH_PORT, "protocol": "TCP"}));
        }
        if !is_empty(&self.resources) {
            container["resources"] = self.resources.clone();
        }
        if let Some(secret) = &self.store_secret {
            // The kubelet names a Secret that is missing here, and not for a volume. The volume shows keys that are exchanged.
            container["envFrom"] = json!([{"secretRef": {"name": secret}}]);
        }
        container
    }

    fn environment(&self) -> Value {
        let pool = self.pool;
        let mut env = Environment::default();
        env.set("CODEKEEP_LISTEN", format!("0.0.0.0:{GIT_PORT}"));
        env.set("CODEKEEP_CONTROL_LISTEN", format!("0.0.0.0:{CONTROL_PORT}"));
        env.set("CODEKEEP_METRICS_LISTEN", format!("0.0.0.0:{METRICS_PORT}"));
        if self.serves_ssh() {
            env.set("CODEKEEP_SSH_LISTEN", format!("0.0.0.0:{SSH_PORT}"));
            env.set("CODEKEEP_SSH_HOST_KEYS", SSH_HOST_KEYS);
        }
        env.set("CODEKEEP_CACHE", "/cache/packs");
        env.set("CODEKEEP_CACHE_SIZE", &self.cache_size);
        env.set("CODEKEEP_SNAPSHOT", "/run/codekeep/snapshot.json");
        env.set("CODEKEEP_SERVICE", &self.service);
        env.set("CODEKEEP_CLUSTER_DOMAIN", &pool.cluster_domain);
        env.set("CODEKEEP_OPERATOR_IDENTITY", self.operator_identity());
        env.set("CODEKEEP_WEBHOOK_ALLOW_CIDR", pool.webhook_allow_cidrs.join(","));
        env.set("CODEKEEP_GRACE_PERIOD", pool.grace_period_seconds.to_string());
        env.set("CODEKEEP_DRAIN_DELAY", DRAIN_SECONDS.to_string());
        env.set("CODEKEEP_LOG_FORMAT", &pool.log_format);
        env.set("CODEKEEP_LOG_LEVEL", &pool.log_level);
        env.set("TMPDIR", "/cache");
        if self.store_secret.is_some() || self.store_secrets().next().is_some() {
            env.set("CODEKEEP_STORE_CREDENTIALS", STORE_CREDENTIALS);
        }
        if self.tls_secret.is_some() {
            env.set("CODEKEEP_TLS_CERT", "/etc/codekeep/tls/tls.crt");
            env.set("CODEKEEP_TLS_KEY", "/etc/codekeep/tls/tls.key");
        }
        let services = self.key_services().iter().map(|service| format!("{}={}", service.name, service.url));
        env.set("CODEKEEP_KEY_SERVICE", services.collect::<Vec<_>>().join(","));
        if self.key_services().iter().any(|service| service.credentials_secret.is_some()) {
            env.set("CODEKEEP_KEY_SERVICE_CREDENTIALS", KEY_SERVICES);
        }
        match &self.kind {
            WorkloadKind::Pool { watch_namespaces } => {
                let stores: Vec<String> =
                    pool.stores.iter().map(|store| format!("{}={}", store.name, store.url)).collect();
                env.set("CODEKEEP_STORE", stores.join(","));
                let replication = pool.replication();
                let replication = replication.iter().map(|(store, replication)| format!("{store}={replication}"));
                env.set("CODEKEEP_STORE_REPLICATION", replication.collect::<Vec<_>>().join(","));
                env.set("CODEKEEP_TLS_AUTHORITY", "/etc/codekeep/ca");
                env.set("CODEKEEP_WATCH_NAMESPACES", watch_namespaces.join(","));
                env.set("CODEKEEP_TOKEN_AUDIENCE", pool.token_audiences.join(","));
                env.set("CODEKEEP_ACCEPT_API_SERVER_AUDIENCE", pool.accept_api_server_audience.to_string());
            }
            WorkloadKind::Dedicated { repository, stores, replication, pool_namespace } => {
                let (name, domain) = (&pool.name, &pool.cluster_domain);
                env.set("CODEKEEP_STORE", stores.join(","));
                env.set("CODEKEEP_STORE_REPLICATION", replication);
                env.set("CODEKEEP_CONTROL_URL", format!("https://{name}.{pool_namespace}.svc.{domain}:{CONTROL_PORT}"));
                env.set("CODEKEEP_CONTROL_CA", "/etc/codekeep/ca/ca.crt");
                env.set("CODEKEEP_CONTROL_TOKEN", "/var/run/secrets/codekeep/token");
                env.set("CODEKEEP_REPOSITORY", *repository);
            }
        }
        let mut list = env.0;
        for (name, path) in [("CODEKEEP_NAMESPACE", "metadata.namespace"), ("CODEKEEP_POD_NAME", "metadata.name")] {
            list.push(json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}));
        }
        if matches!(self.kind, WorkloadKind::Pool { .. }) {
            list.extend(pool.env.iter().cloned());
        }
        Value::Array(list)
    }

    fn operator_identity(&self) -> String {
        let namespace = match self.kind {
            WorkloadKind::Pool { .. } => self.namespace,
            WorkloadKind::Dedicated { pool_namespace, .. } => pool_namespace,
        };
        format!("system:serviceaccount:{namespace}:{}", controller_account(&self.pool.name))
    }

    fn mounts(&self) -> Value {
        let mut mounts = vec![
            json!({"name": "cache", "mountPath": "/cache"}),
            json!({"name": "state", "mountPath": "/run/codekeep"}),
            json!({"name": "ca", "mountPath": "/etc/codekeep/ca", "readOnly": true}),
        ];
        if self.store_secret.is_some() {
            mounts.push(json!({"name": "store", "mountPath": STORE_CREDENTIALS, "readOnly": true}));
        }
        for (volume, store, _) in self.store_secrets() {
            let path = format!("{STORE_CREDENTIALS}/{store}");
            mounts.push(json!({"name": volume, "mountPath": path, "readOnly": true}));
        }
        if self.tls_secret.is_some() {
            mounts.push(json!({"name": "tls", "mountPath": "/etc/codekeep/tls", "readOnly": true}));
        }
        if self.serves_ssh() {
            mounts.push(json!({"name": "ssh", "mountPath": SSH_HOST_KEYS, "readOnly": true}));
        }
        if matches!(self.kind, WorkloadKind::Dedicated { .. }) {
            mounts.push(json!({"name": "token", "mountPath": "/var/run/secrets/codekeep", "readOnly": true}));
        }
        for service in self.key_services().iter().filter(|service| service.credentials_secret.is_some()) {
            let (volume, path) = (format!("keys-{}", service.name), format!("{KEY_SERVICES}/{}", service.name));
            mounts.push(json!({"name": volume, "mountPath": path, "readOnly": true}));
        }
        Value::Array(mounts)
    }

    fn volumes(&self) -> Value {
        let mut cache = json!({"sizeLimit": self.disk_limit()});
        if let Some(medium) = &self.pool.cache_medium {
            cache["medium"] = json!(medium);
        }
        let mut volumes = vec![
            json!({"name": "cache", "emptyDir": cache}),
            // Holds credentials, so it is memory and never reaches a disk.
            json!({"name": "state", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}),
        ];
        match self.kind {
            WorkloadKind::Pool { .. } => {
                volumes.push(json!({"name": "ca", "secret": {"secretName": AUTHORITY, "defaultMode": 0o440}}));
            }
            WorkloadKind::Dedicated { .. } => {
                volumes.push(json!({"name": "ca", "configMap": {"name": AUTHORITY}}));
                // Only the git servers of the pool accept it; the API server does not.
                volumes.push(json!({"name": "token", "projected": {"sources": [
                    {"serviceAccountToken": {"audience": crds::GROUP, "expirationSeconds": 3600, "path": "token"}}]}}));
            }
        }
        if let Some(secret) = &self.store_secret {
            volumes.push(
                json!({"name": "store", "secret": {"secretName": secret, "defaultMode": 0o440, "optional": true}}),
            );
        }
        for (volume, _, secret) in self.store_secrets() {
            volumes.push(json!({"name": volume, "secret": {"secretName": secret, "defaultMode": 0o440}}));
        }
        if let Some(secret) = &self.tls_secret {
            volumes.push(json!({"name": "tls", "secret": {"secretName": secret, "defaultMode": 0o440}}));
        }
        for service in self.key_services() {
            if let Some(secret) = &service.credentials_secret {
                let volume = format!("keys-{}", service.name);
                volumes.push(json!({"name": volume, "secret": {"secretName": secret, "defaultMode": 0o440}}));
            }
        }
        if self.serves_ssh() {
            volumes.push(json!({"name": "ssh", "secret": {"secretName": HOST_KEYS, "defaultMode": 0o440}}));
        }
        Value::Array(volumes)
    }

    /// The cache, and room for what is being worked on.
    fn disk_limit(&self) -> String {
        let cache = model::quantity::parse_bytes(&self.cache_size).unwrap_or(10 << 30);
        format!("{}Mi", (cache >> 20) + ROOM_MIB)
    }

    fn network_policy(&self) -> Value {
        let mut control = vec![json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {
            "app.kubernetes.io/name": "codekeep", "app.kubernetes.io/component": "controller"}}})];
        if matches!(self.kind, WorkloadKind::Pool { .. }) {
            control.push(json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {
                "app.kubernetes.io/name": "codekeep", "app.kubernetes.io/component": "git-server"}}}));
        }
        let mut public =
            vec![json!({"port": "https", "protocol": "TCP"}), json!({"port": "metrics", "protocol": "TCP"})];
        if self.serves_ssh() {
            public.push(json!({"port": "ssh", "protocol": "TCP"}));
        }
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": self.metadata(&self.name),
            "spec": {
                "podSelector": {"matchLabels": self.component_labels()},
                "policyTypes": ["Ingress"],
                "ingress": [
                    {"ports": public},
                    {"ports": [{"port": "control", "protocol": "TCP"}], "from": control},
                ],
            },
        })
    }
}

/// The `ServiceAccount` of the controller: the chart names it after the pool's.
pub(crate) fn controller_account(pool_name: &str) -> String {
    format!("{}-controller", pool_name.strip_suffix("-git").unwrap_or(pool_name))
}

#[derive(Default)]
struct Environment(Vec<Value>);

impl Environment {
    /// Empty values are left out: the flag's default holds.
    fn set(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.0.push(json!({"name": name, "value": value}));
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
