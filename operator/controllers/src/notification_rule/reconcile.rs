//! Reconciles a `NotificationRule`: asks the git servers whether its Secrets are there and how its deliveries go, and reports.

use std::time::Duration;

use kube::ResourceExt as _;
use kube::api::DynamicObject;
use kube_runtime::controller::Action;
use serde_json::{Value, json};

use crate::access_policy::reconcile::warnings;
use crate::control::{ServerState, TargetState};
use crate::controller::{Conditions, Context, Kind, ReconcileError, Status, Summary, about};
use crate::problem::Severity;

/// How often deliveries are looked at.
const EVERY: Duration = Duration::from_secs(10);
/// The last success is written at most this often, so that busy repositories do not keep the API server busy.
const SUCCESS_EVERY_S: i64 = 60;

/// One look at a `NotificationRule`.
pub(crate) async fn reconcile(object: &DynamicObject, context: &Context) -> Result<Action, ReconcileError> {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let Some(observed) = context.observed(Kind::NotificationRule, object) else { return Ok(Action::await_change()) };
    let generation = observed.generation;
    let mut conditions = Conditions::new(&object.data["status"], generation, context.now());
    // The controller reads no Secrets, so what it misses of them is for the servers to say.
    let refused = observed
        .problems
        .iter()
        .find(|problem| problem.severity == Severity::Error && problem.reason != "SecretNotFound");
    let servers: Vec<ServerState> = context.states(&namespace).await.iter().flatten().cloned().collect();
    let unresolved = unresolved(&servers, &name, &namespace);
    let deliveries = Deliveries::of(&servers, &name);
    let summary = match (refused, &unresolved) {
        (Some(problem), _) => Summary::Stalled { reason: problem.reason, message: problem.text() },
        (None, Some((reason, message))) => Summary::Stalled { reason, message: message.clone() },
        (None, None) if deliveries.failures > 0 => {
            Summary::Progressing { reason: "Failing", message: deliveries.text() }
        }
        (None, None) => Summary::Ready { reason: "Delivering", message: deliveries.text() },
    };
    conditions.summarize(&summary);
    match refused {
        Some(problem) => conditions.set("Accepted", Status::False, problem.reason, problem.text()),
        None => conditions.set("Accepted", Status::True, "Accepted", warnings(&observed, "the rule is good")),
    }
    match &unresolved {
        Some((reason, message)) => conditions.set("ResolvedRefs", Status::False, reason, message.as_str()),
        None => conditions.set("ResolvedRefs", Status::True, "Resolved", "everything that it names is there"),
    }
    let (is_delivering, reason) = match (deliveries.failures, &deliveries.last_success) {
        (1.., _) => (Status::False, "Failing"),
        (0, Some(_)) => (Status::True, "Delivering"),
        (0, None) => (Status::True, "Idle"),
    };
    conditions.set("Delivering", is_delivering, reason, deliveries.text());
    let changed = conditions.old_reason("Ready") != Some(summary.reason());
    let mut status = json!({"observedGeneration": generation, "conditions": conditions.into_json(),
        "consecutiveFailures": deliveries.failures});
    if let Some(time) = last_success(&object.data["status"], &deliveries) {
        status["lastSuccessTime"] = json!(time);
    }
    context.write_status(Kind::NotificationRule, object, &status).await?;
    if changed {
        context.tell(Kind::NotificationRule, object, !summary.is_ready(), summary.reason(), summary.message()).await;
    }
    Ok(Action::requeue(about(EVERY, object)))
}

/// What the rule names and the servers do not find.
fn unresolved(servers: &[ServerState], name: &str, namespace: &str) -> Option<(&'static str, String)> {
    let resources = servers.iter().flat_map(|state| state.resources.iter().map(move |resource| (state, resource)));
    let (state, resource) = resources
        .filter(|(_, resource)| resource.kind == Kind::NotificationRule.name() && resource.name == name)
        .find(|(_, resource)| resource.in_effect.is_none() && !resource.problems.is_empty())?;
    let problem = resource.problems.join("; ");
    if state.is_granted {
        return Some(("SecretNotFound", problem));
    }
    let grant = crds::CREDENTIALS_GRANT;
    Some((
        "CredentialsNotGranted",
        format!(
            "{problem} (Secrets of {namespace} cannot be read: create the RoleBinding {grant} to the ClusterRole {grant})"
        ),
    ))
}

/// How deliveries go, over all servers.
struct Deliveries {
    /// Failures in a row of the target that fails most, on the server that works on it.
    failures: u32,
    last_error: Option<String>,
    last_success: Option<String>,
}

impl Deliveries {
    fn of(servers: &[ServerState], rule: &str) -> Self {
        let targets = servers.iter().flat_map(|state| &state.targets).filter(|target| target.rule == rule);
        let targets: Vec<&TargetState> = targets.collect();
        let worst = targets.iter().max_by_key(|target| target.consecutive_failures);
        let last_success = targets.iter().filter_map(|target| target.last_success.as_deref()).max();
        Self {
            failures: worst.map_or(0, |target| target.consecutive_failures),
            last_error: worst.and_then(|target| Some(format!("{}: {}", target.target, target.last_error.as_ref()?))),
            last_success: last_success.map(str::to_owned),
        }
    }

    fn text(&self) -> String {
        match (self.failures, &self.last_error) {
            (0, _) if self.last_success.is_some() => "events are delivered".to_owned(),
            (0, _) => "no event yet".to_owned(),
            // No number here: it would be a write for each try.
            (_, error) => {
                format!("events are not delivered, and are tried again; {}", error.as_deref().unwrap_or_default())
            }
        }
    }
}

/// The time to show: the newest, but not for each event.
fn last_success(before: &Value, deliveries: &Deliveries) -> Option<String> {
    let parse = |text: &str| text.parse::<jiff::Timestamp>().ok();
    let shown = before["lastSuccessTime"].as_str();
    let Some(newest) = deliveries.last_success.as_deref().and_then(parse) else { return shown.map(str::to_owned) };
    match shown.and_then(|text| Some((text, parse(text)?))) {
        Some((text, before)) if newest.as_second() - before.as_second() < SUCCESS_EVERY_S => Some(text.to_owned()),
        _ => Some(newest.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
    }
}
