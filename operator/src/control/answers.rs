//! What the controller asks.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use controllers::control::{
    BundleSummary, DeletionQuestion, Pushed, Pushes, ReplicaProblem, ReplicaProblemKind, ReplicaSummary,
    ReplicationSummary, RepositorySummary, ResourceState, ServerState, TargetState,
};
use model::RepositoryPath;
use serde::Deserialize;
use store::{ReplicationProblem, ReplicationStatus};

use super::{Control, Operator, Refusal};

/// `GET /repositories/{namespace}/{name}`: opens the repository, which makes it in the store if it is new.
pub(super) async fn repository(
    _: Operator,
    State(control): State<Control>,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<RepositorySummary>, Refusal> {
    let desired = control.view.borrow().desired.clone();
    let is_it = |path: &RepositoryPath, resource: &str| path.namespace.as_str() == namespace && resource == name;
    let config = desired.repositories.iter().find(|(path, config)| is_it(path, &config.resource_name));
    let unknown = || Refusal::new(StatusCode::NOT_FOUND, "this server does not know the Repository");
    let (path, config) = config.ok_or_else(unknown)?;
    let store = control.stores.get(&config.store).ok_or_else(|| Refusal::no_store(&config.store))?;
    let opened = async {
        let repository = store.open(&store.find_or_create(path).await?).await?;
        Ok::<_, store::Error>((repository.snapshot().await?, repository))
    };
    let (snapshot, repository) = opened.await.map_err(|error| Refusal::of_store(&error))?;
    if let Some(problem) = model::desired::object_format_problem(config, snapshot.object_format) {
        return Err(Refusal::new(StatusCode::INSUFFICIENT_STORAGE, problem));
    }
    let wanted = Some(&config.default_branch).filter(|branch| snapshot.refs.get(branch).is_some());
    let head = wanted.or(snapshot.head.as_ref());
    Ok(Json(RepositorySummary {
        repository_id: repository.id().to_string(),
        references: snapshot.refs.len() as u64,
        size_bytes: snapshot.bytes(),
        packs: snapshot.packs.len() as u64,
        retired_bytes: snapshot.upkeep.retired.iter().map(|retired| retired.bytes).sum(),
        default_branch: head.map(|head| head.short().to_string()),
        verified_time: snapshot.upkeep.scrub.as_ref().map(|scrub| time(scrub.at)),
        problems: snapshot.upkeep.scrub.as_ref().map(|scrub| scrub.problems.clone()).unwrap_or_default(),
        mended: snapshot.upkeep.scrub.as_ref().map(|scrub| scrub.mended.clone()).unwrap_or_default(),
        last_push_time: snapshot.last_push.map(time),
        encryption: repository.encryption().map(|in_use| crds::EncryptionStatus {
            data_key_version: Some(in_use.data_key),
            wrapped_by: Some(in_use.wrapped_by.to_string()),
        }),
        replication: repository.replication().map(replication),
        bundle: config.bundle_min_bytes.map(|_| match &snapshot.upkeep.bundle {
            _ if !repository.is_direct() => BundleSummary::NotPossible,
            Some(bundle) => BundleSummary::Offered(bundle.bytes),
            None => BundleSummary::NotYet,
        }),
    }))
}

fn replication(status: ReplicationStatus) -> ReplicationSummary {
    let ReplicationStatus { primary, epoch, members } = status;
    let stores = members.into_iter().map(|member| {
        let kind = |problem: &ReplicationProblem| match problem {
            ReplicationProblem::Unavailable(_) => ReplicaProblemKind::Unavailable,
            ReplicationProblem::Diverged(_) => ReplicaProblemKind::Diverged,
            ReplicationProblem::Unknown(_) => ReplicaProblemKind::UnknownStore,
        };
        let problem = member.problem.map(|it| ReplicaProblem { kind: kind(&it), message: it.to_string() });
        ReplicaSummary {
            name: member.store,
            generation: member.generation,
            lag_entries: member.behind_entries,
            lag_seconds: member.behind.as_secs(),
            problem,
        }
    });
    ReplicationSummary { primary, epoch, stores: stores.collect() }
}

fn time(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `POST /deletions`.
pub(super) async fn delete(
    _: Operator,
    State(control): State<Control>,
    Json(question): Json<DeletionQuestion>,
) -> Result<Json<()>, Refusal> {
    let path = RepositoryPath { namespace: question.namespace, name: question.repository_name };
    if control.view.borrow().desired.repositories.contains_key(&path) {
        return Err(Refusal::new(StatusCode::CONFLICT, format!("{path} is still served here; its data stays")));
    }
    let store = control.stores.get(&question.store);
    let store = store.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "this server has no such store"))?;
    store.delete(&path).await.map_err(|error| Refusal::of_store(&error))?;
    tracing::warn!(repo.name = %path, "data deleted");
    Ok(Json(()))
}

/// Which namespace is asked about.
#[derive(Deserialize)]
pub(super) struct Namespace {
    namespace: String,
}

/// `GET /state`.
pub(super) async fn state(
    _: Operator,
    State(control): State<Control>,
    Query(Namespace { namespace }): Query<Namespace>,
) -> Json<ServerState> {
    let view = control.view.borrow().clone();
    let of_namespace = view.resources.iter().filter(|(key, _)| key.namespace == namespace);
    let resources = of_namespace.map(|(key, observed)| ResourceState {
        kind: key.kind.clone(),
        name: key.name.clone(),
        in_effect: observed.in_effect,
        problems: observed.problems.iter().map(controllers::Problem::text).collect(),
    });
    let of_namespace =
        |repository: &str| repository.strip_prefix(&*namespace).is_some_and(|rest| rest.starts_with('/'));
    let targets = control.notifier.status().into_iter().filter(|status| of_namespace(&status.repository));
    let targets = targets.map(|status| TargetState {
        rule: status.rule,
        target: status.target,
        consecutive_failures: status.consecutive_failures,
        last_error: status.last_error,
        last_success: status.last_success,
    });
    Json(ServerState {
        is_granted: view.granted.contains(&namespace),
        resources: resources.collect(),
        targets: targets.collect(),
    })
}

/// Since which push.
#[derive(Deserialize)]
pub(super) struct After {
    after: u64,
}

/// `GET /pushes`.
pub(super) async fn pushes(
    _: Operator,
    State(control): State<Control>,
    Query(After { after }): Query<After>,
) -> Json<Pushes> {
    let recent = control.gateway.recent_pushes(after);
    let repositories = recent.paths.into_iter();
    let repositories = repositories.map(|path| Pushed { namespace: path.namespace, repository_name: path.name });
    Json(Pushes { next: recent.next, missed: recent.missed, repositories: repositories.collect() })
}
