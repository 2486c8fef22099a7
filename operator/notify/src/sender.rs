//! Posts one event to one target.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use model::clock::Clock;
use model::event::ReferenceEvent;
use model::notification::Target;
use model::{Namespace, RepositoryPath};
use reqwest::header::{CONTENT_TYPE, USER_AGENT};
use reqwest::{Client, ClientBuilder, redirect};

use crate::ssrf::Filter;
use crate::{render, sign};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(15);

/// Clients of Services that are kept.
const MAX_SERVICES: usize = 256;

/// Tells where Services are.
#[async_trait]
pub trait ServiceAddresses: Send + Sync {
    /// The cluster IP of a Service, from the Service itself: what its name resolves to may be an alias of another namespace's.
    ///
    /// # Errors
    /// Why there is none, for people.
    async fn cluster_ip(&self, namespace: &Namespace, name: &str) -> Result<IpAddr, String>;
}

/// Sends events over HTTP.
#[derive(Clone)]
pub(crate) struct Sender {
    client: Client,
    filter: Filter,
    services: Option<Arc<dyn ServiceAddresses>>,
    /// Clients that find one host at one address.
    service_clients: Arc<Mutex<BTreeMap<(String, IpAddr), Client>>>,
    clock: Arc<dyn Clock>,
}

fn builder() -> ClientBuilder {
    Client::builder().redirect(redirect::Policy::none()).no_proxy().connect_timeout(CONNECT_TIMEOUT).timeout(TIMEOUT)
}

impl Sender {
    pub(crate) fn new(
        filter: Filter,
        services: Option<Arc<dyn ServiceAddresses>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, reqwest::Error> {
        let client = builder().dns_resolver(Arc::new(filter.clone())).build()?;
        Ok(Self { client, filter, services, service_clients: Arc::default(), clock })
    }

    /// The client that may reach a target.
    async fn client(&self, target: &Target, namespace: &Namespace) -> Result<Client, String> {
        let Some(service) = &target.service else {
            self.filter.check(&target.url).map_err(|error| error.to_string())?;
            return Ok(self.client.clone());
        };
        let services = self.services.as_ref().ok_or("there are no Services without a cluster")?;
        let address = services.cluster_ip(namespace, service).await?;
        let host = target.url.host_str().unwrap_or_default().to_owned();
        let mut clients = self.service_clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&(host.clone(), address)) {
            return Ok(client.clone());
        }
        let port = target.url.port_or_known_default().unwrap_or_default();
        let client = builder().resolve(&host, SocketAddr::new(address, port)).build().map_err(reason)?;
        if clients.len() >= MAX_SERVICES {
            clients.clear();
        }
        clients.insert((host, address), client.clone());
        Ok(client)
    }

    /// Delivers; any 2xx is success. The receiver's answer is not read further, and never shown: it may hold anything.
    pub(crate) async fn send(
        &self,
        target: &Target,
        event: &ReferenceEvent,
        path: &RepositoryPath,
    ) -> Result<(), String> {
        let client = self.client(target, &path.namespace).await?;
        let body = render::cloud_event(event, path).map_err(|error| error.to_string())?;
        let mut request = client
            .post(target.url.clone())
            .header(CONTENT_TYPE, render::CONTENT_TYPE)
            .header(USER_AGENT, concat!("codekeep/", env!("CARGO_PKG_VERSION")));
        if let Some(key) = &target.signing_key {
            let (timestamp, signature) = sign::sign(key, self.clock.now(), &body);
            request = request.header(sign::TIMESTAMP, timestamp).header(sign::SIGNATURE, signature);
        }
        let answer = request.body(body).send().await.map_err(reason)?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(format!("the receiver answered {}", answer.status().as_u16()))
        }
    }
}

/// The error with its causes, without the URL, which may hold a token.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
