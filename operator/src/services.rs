//! Where Services are: the API server knows, and for a dedicated server the pool asks it.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use controllers::PoolClient;
use model::Namespace;
use notify::ServiceAddresses;

/// The API server; without it an event waits, as it does without its receiver.
pub(crate) struct ApiServices(pub(crate) kube::Client);

#[async_trait]
impl ServiceAddresses for ApiServices {
    async fn cluster_ip(&self, namespace: &Namespace, name: &str) -> Result<IpAddr, String> {
        controllers::cluster_ip(&self.0, namespace.as_str(), name).await
    }
}

/// The pool; it tells about the namespace of the dedicated server only.
pub(crate) struct PoolServices(pub(crate) Arc<PoolClient>);

#[async_trait]
impl ServiceAddresses for PoolServices {
    async fn cluster_ip(&self, _: &Namespace, name: &str) -> Result<IpAddr, String> {
        self.0.service(name).await.map(|answer| answer.cluster_ip).map_err(|error| error.to_string())
    }
}
