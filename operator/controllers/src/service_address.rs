//! Asks the API server where a Service is.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use kube::api::Api;

/// The cluster IP of a Service that has one and is no alias.
///
/// # Errors
/// Why there is none, for people.
pub async fn cluster_ip(client: &kube::Client, namespace: &str, name: &str) -> Result<IpAddr, String> {
    let api: Api<Service> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(name).await.map_err(|error| format!("failed to look up the Service '{name}': {error}"))?;
    let spec = found.and_then(|service| service.spec);
    let spec = spec.ok_or_else(|| format!("there is no Service '{name}' in this namespace"))?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return Err(format!(
            "the Service '{name}' is an ExternalName, which may lead anywhere; name one with a cluster IP"
        ));
    }
    let address = spec.cluster_ip.and_then(|address| address.parse().ok());
    address.ok_or_else(|| format!("the Service '{name}' has no cluster IP"))
}
