//! What a dedicated git server asks of the pool: it has no token of the API server, and learns about its own namespace only.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use controllers::control::{
    CertificateAnswer, CertificateQuestion, ServiceAnswer, SnapshotAnswer, TokenReviewAnswer, TokenReviewQuestion,
};
use controllers::workload_name;
use gateway::ServiceName;
use model::policy::Principal;
use model::secret::SecretString;
use serde::Deserialize;
use serde_json::Value;

use super::{Caller, Control, Refusal};

/// How long a question for the next snapshot waits.
const WAIT: Duration = Duration::from_secs(25);
/// How long a signed certificate is valid.
const VALIDITY: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// Whose snapshot, and which one is there.
#[derive(Deserialize)]
pub(super) struct Which {
    repository: String,
    #[serde(default)]
    after: String,
}

/// `GET /snapshot`: answers when there is another one than `after`, or after a while.
pub(super) async fn snapshot(
    Caller(user): Caller,
    State(control): State<Control>,
    Query(which): Query<Which>,
) -> Result<Json<SnapshotAnswer>, Refusal> {
    let namespace = namespace_of(&user, &which.repository, &control)?;
    let mut view = control.view.clone();
    let deadline = tokio::time::Instant::now() + WAIT;
    loop {
        let documents = view.borrow_and_update().documents_for(&namespace, &which.repository);
        let version = version(&documents);
        let is_over = version != which.after || tokio::time::timeout_at(deadline, view.changed()).await.is_err();
        if is_over {
            let documents = documents.iter().map(|document| Value::clone(document)).collect();
            let cluster_id = control.cluster_id.as_deref().map(str::to_owned);
            return Ok(Json(SnapshotAnswer { version, documents, cluster_id }));
        }
    }
}

/// Names a content: by what the API server calls the versions of its parts.
fn version(documents: &[Arc<Value>]) -> String {
    let metadata = documents.iter().map(|document| &document["metadata"]);
    let parts = metadata.map(|metadata| format!("{}:{}", metadata["uid"], metadata["resourceVersion"]));
    let mut parts: Vec<String> = parts.collect();
    parts.sort();
    parts.join(",").replace('"', "")
}

/// `GET /services/{name}`.
pub(super) async fn service(
    Caller(user): Caller,
    State(control): State<Control>,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<ServiceAnswer>, Refusal> {
    let namespace = namespace_of(&user, &which.repository, &control)?.parse().map_err(|_| foreign())?;
    let found = control.services.cluster_ip(&namespace, &name).await;
    let cluster_ip = found.map_err(|reason| Refusal::new(StatusCode::NOT_FOUND, reason))?;
    Ok(Json(ServiceAnswer { cluster_ip }))
}

/// `POST /token-reviews`.
pub(super) async fn review(
    Caller(user): Caller,
    State(control): State<Control>,
    Json(question): Json<TokenReviewQuestion>,
) -> Result<Json<TokenReviewAnswer>, Refusal> {
    let Principal::ServiceAccount { namespace, name, .. } = Principal::authenticated(&user, vec![]) else {
        return Err(foreign());
    };
    let view = control.view.borrow().clone();
    let is_ours = view.of_namespace("Repository", namespace.as_str()).any(|(key, _)| workload_name(&key.name) == name);
    if !is_ours {
        return Err(foreign());
    }
    let answer = control.tokens.review(&SecretString::new(question.token)).await;
    let identity = answer.map_err(|error| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    let (username, groups) = identity.map(|identity| (identity.username, identity.groups)).unzip();
    Ok(Json(TokenReviewAnswer { username, groups: groups.unwrap_or_default() }))
}

/// `POST /certificates`.
pub(super) async fn certificate(
    Caller(user): Caller,
    State(control): State<Control>,
    Json(question): Json<CertificateQuestion>,
) -> Result<Json<CertificateAnswer>, Refusal> {
    let namespace = namespace_of(&user, &question.repository, &control)?;
    // The names that such a server asks for: the Repository's, and that of its own Service.
    let services = [workload_name(&question.repository), question.repository];
    let names: Vec<String> = services
        .into_iter()
        .flat_map(|service| ServiceName { service, namespace: namespace.clone() }.forms(&control.cluster_domain))
        .collect();
    let signed = sign(&control, &question.csr, &names).await;
    let certificate = signed.map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, format!("{error:#}")))?;
    Ok(Json(CertificateAnswer { certificate }))
}

async fn sign(control: &Control, request: &str, names: &[String]) -> anyhow::Result<String> {
    let folder = control.authority.as_deref().context("this server has no certificate authority")?;
    let certificate = tokio::fs::read_to_string(folder.join("tls.crt")).await?;
    let key = tokio::fs::read_to_string(folder.join("tls.key")).await?;
    let authority = pki::Authority::load(&certificate, &key)?;
    Ok(authority.sign_request(request, names, jiff::Timestamp::now(), VALIDITY)?)
}

/// The namespace of a dedicated server, if the caller is the server of that Repository.
fn namespace_of(user: &str, repository: &str, control: &Control) -> Result<String, Refusal> {
    let Principal::ServiceAccount { namespace, name, .. } = Principal::authenticated(user, vec![]) else {
        return Err(foreign());
    };
    let view = control.view.borrow().clone();
    let mut repositories = view.of_namespace("Repository", namespace.as_str());
    let is_its = name == workload_name(repository)
        && repositories.any(|(key, observed)| {
            key.name == repository && observed.document["spec"]["serving"]["mode"] == "Dedicated"
        });
    if is_its { Ok(namespace.to_string()) } else { Err(foreign()) }
}

fn foreign() -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "only the pods of a dedicated Repository may ask this")
}
