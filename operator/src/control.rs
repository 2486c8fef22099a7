//! The control port: what the controller and dedicated git servers ask of a git server. Shapes: `controllers::control`.
//!
//! Who asks is told by a token, as on the git port: the controller by its user name, a dedicated server by the `ServiceAccount` of
//! its Repository, and that one learns about its own namespace only.

mod answers;
mod dedicated;
mod promotions;

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use controllers::View;
use controllers::control::PREFIX;
use gateway::{Gateway, Tls, Tokens};
use model::secret::SecretString;
use notify::{Notifier, ServiceAddresses};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::stores::Stores;
pub(crate) use promotions::Promotions;

/// What the answers are made from.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) notifier: Arc<Notifier>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) view: watch::Receiver<Arc<View>>,
    pub(crate) stores: Stores,
    pub(crate) promotions: Promotions,
    pub(crate) operator_identity: Option<Arc<str>>,
    /// Folder of the certificate authority; only the pool has one.
    pub(crate) authority: Option<Arc<PathBuf>>,
    pub(crate) cluster_domain: Arc<str>,
    pub(crate) services: Arc<dyn ServiceAddresses>,
    pub(crate) cluster_id: Option<Arc<str>>,
}

/// Serves the control port until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Tls,
    control: Control,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/repositories/{namespace}/{name}", get(answers::repository))
        .route("/deletions", post(answers::delete))
        .route("/promotions", post(promotions::promote))
        .route("/state", get(answers::state))
        .route("/pushes", get(answers::pushes))
        .route("/snapshot", get(dedicated::snapshot))
        .route("/services/{name}", get(dedicated::service))
        .route("/token-reviews", post(dedicated::review))
        .route("/certificates", post(dedicated::certificate))
        .with_state(control);
    let handle = Handle::new();
    let stopping = handle.clone();
    tokio::spawn(async move {
        stop.cancelled().await;
        stopping.shutdown();
    });
    let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(tls.server_config()));
    axum_server::from_tcp(listener)
        .context("failed to listen on the control port")?
        .acceptor(acceptor)
        .handle(handle)
        .serve(Router::new().nest(PREFIX, router).into_make_service())
        .await
        .context("failed to serve the control port")
}

/// Why a question gets no answer.
#[derive(Debug, Clone)]
pub(super) struct Refusal(StatusCode, String);

impl Refusal {
    fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self(status, reason.into())
    }

    /// This server was not given the store.
    fn no_store(name: &str) -> Self {
        Self(StatusCode::INSUFFICIENT_STORAGE, format!("this server has no store '{name}'"))
    }

    /// The store did not answer, or not well.
    fn of_store(error: &store::Error) -> Self {
        if error.is_locked() {
            return Self(StatusCode::LOCKED, error.to_string());
        }
        let status = if error.kind() == model::error::Kind::Unavailable {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::INSUFFICIENT_STORAGE
        };
        Self(status, format!("the store failed: {error}"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, format!("{}\n", self.1)).into_response()
    }
}

/// A caller whose token holds.
pub(super) struct Caller(String);

impl<S: Send + Sync> FromRequestParts<S> for Caller
where
    Control: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let control = Control::from_ref(state);
        let header = parts.headers.get(header::AUTHORIZATION).and_then(|header| header.to_str().ok());
        let token = header.and_then(|header| header.strip_prefix("Bearer "));
        let refused = || Refusal::new(StatusCode::UNAUTHORIZED, "show a token");
        let token = SecretString::new(token.ok_or_else(refused)?.to_owned());
        match control.tokens.review(&token).await {
            Ok(Some(identity)) => Ok(Self(identity.username)),
            Ok(None) => Err(refused()),
            Err(error) => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
        }
    }
}

/// The controller.
pub(super) struct Operator;

impl<S: Send + Sync> FromRequestParts<S> for Operator
where
    Control: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Caller(user) = Caller::from_request_parts(parts, state).await?;
        let is_operator = Control::from_ref(state).operator_identity.is_some_and(|operator| *operator == *user);
        let forbidden = || Refusal::new(StatusCode::FORBIDDEN, "only the controller may ask this");
        is_operator.then_some(Self).ok_or_else(forbidden)
    }
}
