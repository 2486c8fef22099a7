//! Posts one event to one target.

use std::sync::Arc;
use std::time::Duration;

use model::RepositoryPath;
use model::clock::Clock;
use model::event::ReferenceEvent;
use model::notification::Target;
use reqwest::header::{CONTENT_TYPE, USER_AGENT};
use reqwest::{Client, redirect};

use crate::ssrf::Filter;
use crate::{render, sign};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(15);

/// Sends events over HTTP.
#[derive(Clone)]
pub(crate) struct Sender {
    public: Route,
    /// To Services of the cluster, and nothing else.
    services: Route,
    clock: Arc<dyn Clock>,
}

/// A client and the addresses that it may reach.
#[derive(Clone)]
struct Route {
    client: Client,
    filter: Filter,
}

impl Route {
    fn new(filter: Filter) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .dns_resolver(Arc::new(filter.clone()))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .build()?;
        Ok(Self { client, filter })
    }
}

impl Sender {
    /// A sender to what `public` permits, and to Services at the addresses that `services` permits.
    pub(crate) fn new(public: Filter, services: Filter, clock: Arc<dyn Clock>) -> Result<Self, reqwest::Error> {
        Ok(Self { public: Route::new(public)?, services: Route::new(services)?, clock })
    }

    /// Delivers; any 2xx is success. The receiver's answer is not read further, and never shown: it may hold anything.
    pub(crate) async fn send(
        &self,
        target: &Target,
        event: &ReferenceEvent,
        path: &RepositoryPath,
    ) -> Result<(), String> {
        let route = if target.in_cluster { &self.services } else { &self.public };
        route.filter.check(&target.url).map_err(|error| error.to_string())?;
        let body = render::cloud_event(event, path).map_err(|error| error.to_string())?;
        let mut request = route
            .client
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
