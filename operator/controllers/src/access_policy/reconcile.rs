//! Reconciles an `AccessPolicy`: asks every git server of the pool which generation it enforces, and reports.

use std::time::Duration;

use kube::ResourceExt as _;
use kube::api::DynamicObject;
use kube_runtime::controller::Action;
use serde_json::json;

use crate::control::{ResourceState, ServerState};
use crate::controller::{Conditions, Context, Kind, ReconcileError, Status, Summary, about};
use crate::problem::Severity;

/// When a policy that every server enforces is looked at again.
const RESYNC: Duration = Duration::from_mins(10);
/// When servers are asked again that do not enforce it yet; then ever more rarely.
const SOON: Duration = Duration::from_millis(250);
/// When servers are asked again that have had their time.
const LATER: Duration = Duration::from_secs(10);

/// One look at an `AccessPolicy`.
pub(crate) async fn reconcile(object: &DynamicObject, context: &Context) -> Result<Action, ReconcileError> {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let Some(observed) = context.observed(Kind::AccessPolicy, object) else { return Ok(Action::await_change()) };
    let generation = observed.generation;
    let mut conditions = Conditions::new(&object.data["status"], generation, context.now());
    let refused = observed.problems.iter().find(|problem| problem.severity == Severity::Error);
    let servers = context.states(&namespace).await;
    let enforcing = servers.iter().flatten().filter(|state| in_effect(state, &name) == Some(generation)).count();
    let summary = match refused {
        Some(problem) => Summary::Stalled { reason: problem.reason, message: problem.text() },
        None if servers.is_empty() => {
            Summary::Progressing { reason: "NoPods", message: "no git server runs".to_owned() }
        }
        None if enforcing == servers.len() => {
            let message = format!("enforced by all {enforcing} git servers{}", hint(object, &servers));
            Summary::Ready { reason: "Enforced", message }
        }
        None => {
            let message = format!("enforced by {enforcing} of {} git servers", servers.len());
            Summary::Progressing { reason: "SomePods", message }
        }
    };
    conditions.summarize(&summary);
    match refused {
        Some(problem) => conditions.set("Accepted", Status::False, problem.reason, problem.text()),
        None => conditions.set("Accepted", Status::True, "Accepted", warnings(&observed, "every statement is good")),
    }
    let (is_enforced, reason) = match &summary {
        Summary::Ready { .. } => (Status::True, "AllPods"),
        _ if servers.is_empty() => (Status::False, "NoPods"),
        _ => (Status::False, "SomePods"),
    };
    conditions.set(
        "Enforced",
        is_enforced,
        reason,
        format!("{enforcing} of {} git servers run generation {generation}", servers.len()),
    );
    let changed = conditions.old_reason("Ready") != Some(summary.reason());
    let status = json!({"observedGeneration": generation, "conditions": conditions.into_json(),
        "pods": servers.len(), "podsEnforcing": enforcing});
    context.write_status(Kind::AccessPolicy, object, &status).await?;
    if changed && !matches!(summary, Summary::Progressing { .. }) {
        context.tell(Kind::AccessPolicy, object, !summary.is_ready(), summary.reason(), summary.message()).await;
    }
    Ok(match summary {
        Summary::Ready { .. } => Action::requeue(about(RESYNC, object)),
        Summary::Progressing { .. } if conditions_are_young(object, context) => Action::requeue(SOON),
        Summary::Progressing { .. } => Action::requeue(about(LATER, object)),
        _ => Action::await_change(),
    })
}

/// Whether the resource changed a moment ago, so that servers are just taking it in.
fn conditions_are_young(object: &DynamicObject, context: &Context) -> bool {
    let observed = object.data["status"]["observedGeneration"].as_i64();
    let created = object.metadata.creation_timestamp.as_ref();
    observed != object.metadata.generation
        || created.is_some_and(|created| (context.now() - created.0).get_seconds() < 10)
}

fn in_effect(state: &ServerState, name: &str) -> Option<i64> {
    let is_it = |resource: &&ResourceState| resource.kind == Kind::AccessPolicy.name() && resource.name == name;
    state.resources.iter().find(is_it).and_then(|resource| resource.in_effect)
}

/// What a user of passwords has to do besides.
fn hint(object: &DynamicObject, servers: &[Option<ServerState>]) -> String {
    let subjects = object.data["spec"]["subjects"].as_array().into_iter().flatten();
    let names_users = subjects.into_iter().any(|subject| subject["kind"] == "LocalUser");
    if !names_users || servers.iter().flatten().any(|state| state.is_granted) {
        return String::new();
    }
    let namespace = object.namespace().unwrap_or_default();
    format!(
        "; but passwords of its LocalUsers cannot be read (CredentialsNotGranted): kubectl -n {namespace} create rolebinding {grant} \
         --clusterrole={grant} --serviceaccount=<namespace of codekeep>:codekeep-git",
        grant = crds::CREDENTIALS_GRANT
    )
}

/// Warnings about a resource that is in effect, or `otherwise`.
pub(crate) fn warnings(observed: &crate::cluster::Observed, otherwise: &str) -> String {
    let warnings = observed.problems.iter().filter(|problem| problem.severity == Severity::Warning);
    let warnings: Vec<String> = warnings.map(crate::Problem::text).collect();
    if warnings.is_empty() { otherwise.to_owned() } else { warnings.join("; ") }
}
