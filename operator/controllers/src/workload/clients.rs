//! What clients of a namespace find: the Service of their Repository, and what proves the servers.

use serde_json::{Value, json};

use super::{AUTHORITY, MANAGED_BY, REPOSITORY_LABEL};

/// The Service of a Repository: an alias of the Service of the pods that serve it, so that changing them is one write and nothing
/// that a client connected to vanishes at once.
pub(crate) fn alias_service(target: &str, namespace: &str, name: &str, owner: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "ownerReferences": [owner], "labels": {
            "app.kubernetes.io/name": "codekeep", "app.kubernetes.io/component": "git-server",
            "app.kubernetes.io/part-of": "codekeep", MANAGED_BY.0: MANAGED_BY.1, REPOSITORY_LABEL: name}},
        "spec": {
            "type": "ExternalName",
            "externalName": target,
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "appProtocol": "https"}],
        },
    })
}

/// What proves git servers, for the clients of a namespace: the certificate, and the host keys if there are any.
pub(crate) fn authority_map(namespace: &str, certificates: &str, known_hosts: &str) -> Value {
    let mut data = json!({"ca.crt": certificates});
    if !known_hosts.is_empty() {
        data["known_hosts"] = json!(known_hosts);
    }
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": AUTHORITY, "namespace": namespace, "labels": {
            "app.kubernetes.io/name": "codekeep", "app.kubernetes.io/part-of": "codekeep", MANAGED_BY.0: MANAGED_BY.1}},
        "data": data,
    })
}
