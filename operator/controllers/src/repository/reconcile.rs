//! Reconciles a `Repository`: check, build, apply, prove with a real `ls-refs`, report.

use std::time::Duration;

use kube::ResourceExt as _;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube_runtime::controller::Action;
use serde_json::{Value, json};

use super::replication;
use super::serving::{self, Served};
use super::status::{self, Found};
use crate::cluster::Observed;
use crate::control::{DeletionQuestion, PromotionAnswer, PromotionQuestion};
use crate::controller::{Context, GitServerError, Kind, ReconcileError, Summary, about};
use crate::problem::Severity;

/// The finalizer of a Repository whose data goes with it.
const DATA_FINALIZER: &str = "codekeep.dev/data";
/// When a Repository that is well is looked at again.
const RESYNC: Duration = Duration::from_mins(10);
/// When something is looked at again that others work on.
const SOON: Duration = Duration::from_secs(5);
/// How long servers may take to see that a Repository is being deleted.
const LAST_REQUESTS: Duration = Duration::from_secs(3);

/// One look at a Repository.
pub(crate) async fn reconcile(object: &DynamicObject, context: &Context) -> Result<Action, ReconcileError> {
    let namespace = object.namespace().unwrap_or_default();
    if object.metadata.deletion_timestamp.is_some() {
        return delete(object, &namespace, context).await;
    }
    let Some(observed) = context.observed(Kind::Repository, object) else { return Ok(Action::await_change()) };
    let view = context.view();
    keep_finalizer(object, &observed, context).await?;
    let mut found = Found::new(object, &observed, &view);
    if let Some(problem) = observed.problems.iter().find(|problem| problem.severity == Severity::Error) {
        found.refused = Some((problem.reason, problem.text()));
        report(object, &found, context).await?;
        return Ok(Action::await_change());
    }
    let repository: crds::Repository = match serde_json::from_value((*observed.document).clone()) {
        Ok(repository) => repository,
        Err(error) => {
            found.refused = Some(("InvalidSpec", error.to_string()));
            report(object, &found, context).await?;
            return Ok(Action::await_change());
        }
    };
    found.served = Some(serving::apply(object, &repository, context).await?);
    if !repository.spec.suspend {
        prove(object, &mut found, &repository, context).await;
    }
    report(object, &found, context).await?;
    Ok(if found.is_settled(repository.spec.suspend) {
        Action::requeue(about(found.replication_waits().unwrap_or(RESYNC), object))
    } else if found.is_new() {
        // Servers see it any moment now.
        Action::requeue(Duration::from_millis(50))
    } else {
        Action::requeue(about(SOON, object))
    })
}

/// Asks through the Service, as a client would.
async fn prove(object: &DynamicObject, found: &mut Found<'_>, repository: &crds::Repository, context: &Context) {
    let Some(Served { place: Some(place), .. }) = found.served.clone() else { return };
    let (namespace, name) = (&object.namespace().unwrap_or_default(), &object.name_any());
    let repository_name = repository.spec.repository_name.as_deref().unwrap_or(name);
    let authority = context.servers().authority;
    let path = format!("{namespace}/{repository_name}");
    let (answered, summary) = tokio::join!(
        context.git.ls_refs(&place, &authority, &path),
        context.git.summary(&place, &authority, namespace, name),
    );
    // Nobody at the Service: those behind it may say why.
    let (answered, summary) = match why_nobody(&answered, found, context).await {
        Some(reason) => (Err(GitServerError::NotReady(reason.clone())), Err(GitServerError::NotReady(reason))),
        None => (answered, summary),
    };
    (found.answered, found.summary) = (Some(answered), Some(summary));
    found.primary = repository.spec.replication.as_ref().and_then(|replication| replication.primary.clone());
    found.promotion = promote(object, found, repository, context).await;
    if matches!(found.promotion, Some(Ok(Some(_)))) {
        found.summary = Some(context.git.summary(&place, &authority, namespace, name).await);
    }
}

/// Has the store promoted that the resource names, if another one is the primary: the git servers know, or knew before their store went away.
async fn promote(
    object: &DynamicObject,
    found: &Found<'_>,
    repository: &crds::Repository,
    context: &Context,
) -> Option<Result<Option<PromotionAnswer>, GitServerError>> {
    let place = found.served.as_ref()?.place.as_ref()?;
    let to = found.primary.as_deref()?;
    let is_due = match found.summary.as_ref()? {
        // A server that does not know the store as one of the repository's has not seen the resource as it is now.
        Ok(summary) => summary.replication.as_ref()?.stores.iter().any(|replica| replica.name == to),
        Err(error) if error.is_storage() => {
            object.data["status"]["replication"]["primary"].as_str().is_some_and(|primary| primary != to)
        }
        Err(_) => false,
    };
    if !is_due {
        return None;
    }
    let name = object.name_any();
    let question = PromotionQuestion {
        namespace: object.namespace()?.parse().ok()?,
        repository_name: repository.spec.repository_name.as_ref().unwrap_or(&name).parse().ok()?,
        to: to.to_owned(),
        accept_loss: object.annotations().get(crds::ACCEPT_LOSS) == Some(&name),
    };
    Some(context.git.promote(place, &context.servers().authority, &question).await)
}

/// What the pods of the pool wait for, when none of them takes requests.
async fn why_nobody(answered: &Result<(), GitServerError>, found: &Found<'_>, context: &Context) -> Option<String> {
    let is_pool = found.served.as_ref().is_some_and(|served| served.mode == crds::ServingMode::Shared);
    if !is_pool || !matches!(answered, Err(GitServerError::Unreachable { .. })) {
        return None;
    }
    context.git.waits_for(*context.servers().starting.first()?).await
}

async fn report(object: &DynamicObject, found: &Found<'_>, context: &Context) -> Result<(), ReconcileError> {
    let (status, summary) = status::status(object, found, context);
    let before = &object.data["status"];
    let changed = condition(before, "Ready")["reason"] != summary.reason();
    context.write_status(Kind::Repository, object, &status).await?;
    // "Not yet" is no news of one that was just made; what somebody has to change is.
    if changed && !(found.is_new() && matches!(summary, Summary::Progressing { .. })) {
        context.tell(Kind::Repository, object, !summary.is_ready(), summary.reason(), summary.message()).await;
    }
    let news =
        news_of_replication(before, &status, found).into_iter().chain(news_of_verification(before, &status, found));
    for (is_warning, reason, note) in news {
        context.tell(Kind::Repository, object, is_warning, &reason, &note).await;
    }
    Ok(())
}

/// A condition of a status; null when it is not there.
fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let all = status["conditions"].as_array();
    all.and_then(|all| all.iter().find(|condition| condition["type"] == kind)).unwrap_or(&Value::Null)
}

/// Events: whether it is a warning, reason and note.
fn news_of_replication(before: &Value, after: &Value, found: &Found<'_>) -> Vec<(bool, String, String)> {
    let mut news = vec![];
    let primary = |status: &Value| status["replication"]["primary"].as_str().map(str::to_owned);
    if let (Some(was), Some(primary)) = (primary(before), primary(after))
        && was != primary
    {
        let answer = found.promotion.as_ref().and_then(|promotion| promotion.as_ref().ok()?.as_ref());
        news.push((false, "Promoted".to_owned(), replication::promoted(&primary, answer)));
    }
    let (was, is) = (condition(before, "Replicated"), condition(after, "Replicated"));
    // That all is well again is news too; that it is from the start is not.
    if was["reason"] != is["reason"] && (is["status"] == "False" || was["status"] == "False" && is["status"] == "True")
    {
        let text = |field: &str| is[field].as_str().unwrap_or_default().to_owned();
        news.push((is["status"] == "False", text("reason"), text("message")));
    }
    news
}

/// That the servers have written something anew is told once, when the verification that did it has come to its end.
fn news_of_verification(before: &Value, after: &Value, found: &Found<'_>) -> Option<(bool, String, String)> {
    let Some(Ok(summary)) = &found.summary else { return None };
    let (first, all) = (summary.mended.first()?, summary.mended.len());
    let is_new = before["lastVerifiedTime"] != after["lastVerifiedTime"];
    is_new.then(|| (true, "Mended".to_owned(), format!("{first} ({all} in all)")))
}

/// The finalizer is there exactly while deleting the resource would delete data.
async fn keep_finalizer(object: &DynamicObject, observed: &Observed, context: &Context) -> Result<(), ReconcileError> {
    let is_there = object.finalizers().iter().any(|finalizer| finalizer == DATA_FINALIZER);
    if is_there == deletes_data(&observed.document) {
        return Ok(());
    }
    set_finalizer(object, !is_there, context).await
}

async fn set_finalizer(object: &DynamicObject, wanted: bool, context: &Context) -> Result<(), ReconcileError> {
    let mut finalizers: Vec<&String> =
        object.finalizers().iter().filter(|finalizer| *finalizer != DATA_FINALIZER).collect();
    let ours = DATA_FINALIZER.to_owned();
    if wanted {
        finalizers.push(&ours);
    }
    // With the version that was read: somebody else's finalizer must not be lost.
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": object.resource_version()}});
    let api = context.api(Kind::Repository, &object.namespace().unwrap_or_default());
    match api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        outcome => Ok(outcome.map(drop)?),
    }
}

/// Whether the resource says twice that its data goes with it.
fn deletes_data(document: &Value) -> bool {
    let confirmed = &document["metadata"]["annotations"][crds::CONFIRM_DELETION];
    document["spec"]["deletionPolicy"] == "Delete" && *confirmed == document["metadata"]["name"]
}

/// A Repository that is on its way out: its objects go with it, its data only if it says so.
async fn delete(object: &DynamicObject, namespace: &str, context: &Context) -> Result<Action, ReconcileError> {
    let name = object.name_any();
    if !object.finalizers().iter().any(|finalizer| finalizer == DATA_FINALIZER) {
        return Ok(Action::await_change());
    }
    let document = serde_json::to_value(object).unwrap_or_default();
    if !deletes_data(&document) {
        context.tell(Kind::Repository, object, false, "DataRetained", "the data stays in the bucket").await;
        set_finalizer(object, false, context).await?;
        return Ok(Action::await_change());
    }
    let since = object.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    let waited = since.and_then(|since| Duration::try_from(context.now() - since).ok()).unwrap_or_default();
    if waited < LAST_REQUESTS {
        return Ok(Action::requeue(LAST_REQUESTS.saturating_sub(waited)));
    }
    let Some(deletion) = question(&document, namespace, &name) else {
        // Never served, so there is no data.
        set_finalizer(object, false, context).await?;
        return Ok(Action::await_change());
    };
    let place = serving::place_of_data(object, &document, context).await?;
    let authority = context.servers().authority;
    if let Err(error) = context.git.delete(&place, &authority, &deletion).await {
        context.tell(Kind::Repository, object, true, "DeletionFailed", &error.to_string()).await;
        return Err(error.into());
    }
    context.tell(Kind::Repository, object, false, "DataDeleted", "the data was deleted from the bucket").await;
    set_finalizer(object, false, context).await?;
    Ok(Action::await_change())
}

fn question(document: &Value, namespace: &str, name: &str) -> Option<DeletionQuestion> {
    Some(DeletionQuestion {
        namespace: namespace.parse().ok()?,
        repository_name: document["spec"]["repositoryName"].as_str().unwrap_or(name).parse().ok()?,
        store: document["spec"]["store"].as_str().unwrap_or("default").to_owned(),
    })
}
