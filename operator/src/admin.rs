//! The address that operators and Prometheus use: `/healthz`, `/readyz`, `/status`, `/metrics`. Never part of the data path.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use controllers::Problem;
use notify::{Notifier, TargetStatus};
use prometheus::process_collector::ProcessCollector;
use prometheus::{Encoder as _, Registry, TextEncoder};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Metrics, with those of the process already among them: memory, CPU, file descriptors.
pub(crate) fn registry() -> anyhow::Result<Registry> {
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::for_self())).context("failed to register the process's metrics")?;
    Ok(registry)
}

/// What the admin endpoints show.
#[derive(Clone)]
pub(crate) struct Admin {
    registry: Registry,
    problems: Arc<dyn Fn() -> Vec<Problem> + Send + Sync>,
    /// There while requests are accepted: ready means that it is.
    serving: Arc<Mutex<Option<Serving>>>,
    /// Why they are not yet.
    waiting: Arc<Mutex<String>>,
}

/// Who delivers notifications, if anybody does in this process.
type Serving = Option<Arc<Notifier>>;

/// The answer to `/status`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    manifest_problems: Vec<Problem>,
    notification_targets: Vec<TargetStatus>,
}

impl Admin {
    /// Not ready yet.
    pub(crate) fn new(registry: Registry, problems: Box<dyn Fn() -> Vec<Problem> + Send + Sync>) -> Self {
        Self { registry, problems: problems.into(), serving: Arc::default(), waiting: Arc::default() }
    }

    /// What is waited for before requests are accepted; `/readyz` says so.
    pub(crate) fn waits(&self, reason: String) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// From now on requests are accepted.
    pub(crate) fn serves(&self, notifier: Serving) {
        *self.serving.lock().unwrap_or_else(PoisonError::into_inner) = Some(notifier);
    }

    /// From now on no more requests should come.
    pub(crate) fn stops(&self) {
        *self.serving.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn serving(&self) -> Option<Serving> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Serves the admin endpoints until `stop` is cancelled.
pub(crate) async fn serve(listener: TcpListener, admin: Admin, stop: CancellationToken) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .with_state(admin);
    axum::serve(listener, router)
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
        .context("failed to serve the metrics address")
}

async fn ready(State(admin): State<Admin>) -> impl IntoResponse {
    if admin.serving().is_some() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    let waiting = admin.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let reason = if waiting.is_empty() { "starting or stopping".to_owned() } else { waiting };
    (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"))
}

async fn status(State(admin): State<Admin>) -> impl IntoResponse {
    let manifest_problems = (admin.problems)();
    let notification_targets = admin.serving().flatten().map(|notifier| notifier.status()).unwrap_or_default();
    Json(Status { manifest_problems, notification_targets })
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&admin.registry.gather(), &mut text) {
        Ok(()) => (StatusCode::OK, [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text),
        Err(error) => {
            tracing::error!(%error, "failed to encode metrics");
            (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain")], Vec::new())
        }
    }
}
