//! The status of a `Repository`, from what a reconcile found. Pure.

use std::time::Duration;

use kube::ResourceExt as _;
use kube::api::DynamicObject;
use model::{AccountId, Namespace, RepositoryPath};
use serde_json::{Value, json};

use super::replication;
use super::serving::Served;
use crate::access_policy;
use crate::cluster::{Observed, View};
use crate::control::{BundleSummary, PromotionAnswer, RepositorySummary};
use crate::controller::{Conditions, Context, GitServerError, Status, Summary};
use crate::host_keys;

/// Fields of the status that a git server knows.
const FACTS: [&str; 10] = [
    "repositoryId",
    "references",
    "sizeBytes",
    "packs",
    "retiredBytes",
    "lastVerifiedTime",
    "defaultBranch",
    "lastPushTime",
    "encryption",
    "replication",
];

/// What a reconcile found out.
pub(crate) struct Found<'a> {
    observed: &'a Observed,
    /// Number of policies of the namespace that are in effect and speak of the repository.
    policies: usize,
    /// Whether it is to be kept in more than one store.
    is_replicated: bool,
    /// Whether the status said something before.
    was_reported: bool,
    /// Why the resource is not in effect.
    pub(crate) refused: Option<(&'static str, String)>,
    pub(crate) served: Option<Served>,
    pub(crate) answered: Option<Result<(), GitServerError>>,
    pub(crate) summary: Option<Result<RepositorySummary, GitServerError>>,
    /// The primary store that the resource asks for.
    pub(crate) primary: Option<String>,
    /// What became of the promotion to it; nothing yet while it is under way.
    pub(crate) promotion: Option<Result<Option<PromotionAnswer>, GitServerError>>,
}

impl<'a> Found<'a> {
    pub(crate) fn new(object: &DynamicObject, observed: &'a Observed, view: &View) -> Self {
        let namespace = object.namespace().unwrap_or_default();
        Self {
            observed,
            policies: policies(object, &namespace, view),
            is_replicated: is_replicated(object, &namespace, view),
            was_reported: object.data["status"]["conditions"].as_array().is_some_and(|all| !all.is_empty()),
            refused: None,
            served: None,
            answered: None,
            summary: None,
            primary: None,
            promotion: None,
        }
    }

    /// When its replication is worth a look, if that is sooner than usual.
    pub(crate) fn replication_waits(&self) -> Option<Duration> {
        if matches!(self.promotion, Some(Err(_))) {
            return Some(replication::TROUBLED);
        }
        match &self.summary.as_ref()?.as_ref().ok()?.replication {
            // The server that was asked has not seen the resource as it is now.
            Some(summary) if self.primary.as_ref().is_some_and(|wanted| *wanted != summary.primary) => {
                Some(replication::ON_ITS_WAY)
            }
            Some(summary) => replication::look_again(summary),
            None => self.is_replicated.then_some(replication::ON_ITS_WAY),
        }
    }

    /// Whether nothing is left to wait for.
    pub(crate) fn is_settled(&self, is_suspended: bool) -> bool {
        let waits = self.served.as_ref().is_none_or(|served| served.waiting_for.is_some() || served.lingers);
        let proven = matches!(self.answered, Some(Ok(()))) && matches!(self.summary, Some(Ok(_)));
        !waits && (proven || is_suspended)
    }

    /// Whether it was never reported on.
    pub(crate) fn is_new(&self) -> bool {
        !self.was_reported
    }
}

fn path(object: &DynamicObject, namespace: &str) -> Option<RepositoryPath> {
    let name = object.name_any();
    let name = object.data["spec"]["repositoryName"].as_str().unwrap_or(&name);
    Some(RepositoryPath { namespace: namespace.parse().ok()?, name: name.parse().ok()? })
}

/// Whether it is to be kept in more than one store, by its own word or by the default of its store.
fn is_replicated(object: &DynamicObject, namespace: &str, view: &View) -> bool {
    let config = path(object, namespace).and_then(|path| view.desired.repositories.get(&path));
    config.is_some_and(|config| config.replication.is_some())
}

/// How many policies in effect speak of the repository.
fn policies(object: &DynamicObject, namespace: &str, view: &View) -> usize {
    let Some(path) = path(object, namespace) else { return 0 };
    let labels = object.labels();
    view.of_namespace("AccessPolicy", path.namespace.as_str())
        .filter(|(_, policy)| policy.in_effect.is_some() && access_policy::speaks_of(&policy.document, &path, labels))
        .count()
}

/// The status, and how the resource is as a whole.
pub(crate) fn status(object: &DynamicObject, found: &Found<'_>, context: &Context) -> (Value, Summary) {
    let generation = found.observed.generation;
    let mut conditions = Conditions::new(&object.data["status"], generation, context.now());
    let summary = summarize(object, found);
    conditions.summarize(&summary);
    storage_ready(&mut conditions, found);
    serving_ready(&mut conditions, found);
    intact(&mut conditions, found);
    encrypted(&mut conditions, found);
    replicated(&mut conditions, object, found);
    bundle_offered(&mut conditions, found);
    if found.policies > 0 {
        let message = format!("AccessPolicies that speak of it: {}", found.policies);
        conditions.set("PolicyAccepted", Status::True, "PoliciesInEffect", message);
    } else {
        let message = "no AccessPolicy of this namespace speaks of it, so nobody may read or write it; apply one";
        conditions.set("PolicyAccepted", Status::False, "NoPolicy", message);
    }
    let mut status = addresses(object, context);
    let is_shared =
        found.served.as_ref().map_or_else(|| before_mode(object), |served| served.mode) == crds::ServingMode::Shared;
    if context.pool.ssh.enabled && is_shared {
        status["cloneUrlSsh"] = json!(ssh_address(object, context));
    }
    status["observedGeneration"] = json!(generation);
    status["conditions"] = conditions.into_json();
    let before = &object.data["status"];
    match &found.summary {
        Some(Ok(summary)) => facts(&mut status, summary),
        // What was known stays.
        _ => keep(&mut status, before, &FACTS),
    }
    match &found.served {
        Some(served) => status["servingMode"] = json!(served.mode),
        None => keep(&mut status, before, &["servingMode"]),
    }
    if let Some(requested) = object.annotations().get(crds::REQUESTED_AT) {
        status["lastHandledReconcileAt"] = json!(requested.chars().take(256).collect::<String>());
    }
    (status, summary)
}

fn summarize(object: &DynamicObject, found: &Found<'_>) -> Summary {
    if let Some((reason, message)) = &found.refused {
        return Summary::Stalled { reason, message: message.clone() };
    }
    if object.data["spec"]["suspend"] == true {
        let message = "spec.suspend is true: clients are turned away, and the data stays".to_owned();
        return Summary::NotReady { reason: "Suspended", message };
    }
    if let Some(Err(error)) = found.summary.as_ref().map(Result::as_ref)
        && error.is_key()
    {
        return Summary::Progressing { reason: "EncryptionKeyUnavailable", message: error.to_string() };
    }
    if let Some(Err(error)) = found.summary.as_ref().map(Result::as_ref)
        && error.is_storage()
    {
        return Summary::Progressing { reason: "StorageNotReady", message: error.to_string() };
    }
    match (&found.served, &found.answered) {
        (Some(Served { place: None, waiting_for, .. }), _) => Summary::Progressing {
            reason: "WorkloadNotReady",
            message: waiting_for.clone().unwrap_or_else(|| "its Service has no address yet".to_owned()),
        },
        (Some(served), Some(Ok(()))) => {
            let message = match (served.mode, &served.waiting_for) {
                (crds::ServingMode::Shared, None) => "served by the shared pool".to_owned(),
                (crds::ServingMode::Dedicated, None) => "served by pods of its own".to_owned(),
                (crds::ServingMode::Shared, Some(waiting)) => {
                    format!("served by the shared pool until pods of its own are ready; {waiting}")
                }
                (crds::ServingMode::Dedicated, Some(waiting)) => format!("served by pods of its own; {waiting}"),
            };
            Summary::Ready { reason: "Serving", message }
        }
        (_, Some(Err(error))) => Summary::Progressing { reason: "ServingNotReady", message: error.to_string() },
        (_, None | Some(Ok(()))) => {
            Summary::Progressing { reason: "ServingNotReady", message: "not asked yet".to_owned() }
        }
    }
}

fn storage_ready(conditions: &mut Conditions, found: &Found<'_>) {
    match &found.summary {
        Some(Ok(_)) => conditions.set("StorageReady", Status::True, "Available", "the store answers"),
        Some(Err(error)) if error.is_storage() => {
            conditions.set("StorageReady", Status::False, "StorageNotReady", error.to_string());
        }
        Some(Err(error)) => conditions.set("StorageReady", Status::Unknown, "Unknown", error.to_string()),
        None => conditions.set("StorageReady", Status::Unknown, "Unknown", "not asked"),
    }
}

fn serving_ready(conditions: &mut Conditions, found: &Found<'_>) {
    match (&found.answered, &found.served) {
        (Some(Ok(())), _) => {
            conditions.set("ServingReady", Status::True, "LsRefsAnswered", "ls-refs was answered through the Service");
        }
        (Some(Err(error)), _) => conditions.set("ServingReady", Status::False, "LsRefsFailed", error.to_string()),
        (None, Some(Served { waiting_for: Some(waiting), .. })) => {
            conditions.set("ServingReady", Status::False, "PodsNotReady", waiting.as_str());
        }
        (None, _) => conditions.set("ServingReady", Status::Unknown, "Unknown", "not asked"),
    }
}

/// Set once there is something to say: a new repository was never verified.
fn intact(conditions: &mut Conditions, found: &Found<'_>) {
    let Some(Ok(RepositorySummary { verified_time: Some(time), problems, .. })) = &found.summary else { return };
    match problems.as_slice() {
        [] => conditions.set(
            "Intact",
            Status::True,
            "Verified",
            format!("every byte in the store was verified at {time}"),
        ),
        [first, ..] => {
            let message = format!(
                "{first} ({} in all, found at {time}); restore the objects from a replica or a back-up",
                problems.len()
            );
            conditions.set("Intact", Status::False, "Damaged", message);
        }
    }
}

/// Set where Codekeep encrypts, or should.
fn encrypted(conditions: &mut Conditions, found: &Found<'_>) {
    match &found.summary {
        Some(Ok(RepositorySummary { encryption: Some(encryption), .. })) => {
            let data_key = encryption.data_key_version.unwrap_or_default();
            let wrapped_by = encryption.wrapped_by.as_deref().unwrap_or_default();
            let message =
                format!("data key {data_key} encrypts what is written; the data keys are wrapped by {wrapped_by}");
            conditions.set("Encrypted", Status::True, "EnvelopeEncryption", message);
        }
        Some(Err(error)) if error.is_key() => {
            conditions.set("Encrypted", Status::False, "EncryptionKeyUnavailable", error.to_string());
        }
        _ => {}
    }
}

/// Set where it is, or should be, in more than one store.
fn replicated(conditions: &mut Conditions, object: &DynamicObject, found: &Found<'_>) {
    if matches!(found.promotion, Some(Ok(None)))
        && let Some((reason, message)) = conditions.old_false("Replicated")
    {
        // An earlier try failed, perhaps: until this one is over, nothing else is known.
        conditions.set("Replicated", Status::False, &reason, message);
        return;
    }
    let resource = object.name_any();
    let known = replication::Known {
        is_wanted: found.is_replicated,
        resource: &resource,
        problems: &found.observed.problems,
        summary: found.summary.as_ref().map(|said| said.as_ref().map(|summary| summary.replication.as_ref())),
        failure: found.promotion.as_ref().and_then(|promotion| promotion.as_ref().err()),
    };
    if let Some((status, reason, message)) = known.condition() {
        conditions.set("Replicated", status, reason, message);
    }
}

/// Set where it is wanted.
fn bundle_offered(conditions: &mut Conditions, found: &Found<'_>) {
    let Some(Ok(RepositorySummary { bundle: Some(bundle), .. })) = &found.summary else { return };
    let (status, reason, message) = match bundle {
        BundleSummary::Offered(bytes) => {
            (Status::True, "Offered", format!("clients that ask for it read a bundle of {bytes} bytes from the bucket"))
        }
        BundleSummary::NotYet => {
            let message = "there is none: maintenance makes one when the packs have spec.bundleURI.minSize, and again after its branch was rewound";
            (Status::False, "NotYet", message.to_owned())
        }
        BundleSummary::NotPossible => {
            let message = "spec.bundleURI has no effect: the store's URL does not let clients reach the bucket (lfs-direct), or the repository is \
                           in several stores; ask the platform team, or remove it";
            (Status::False, "NotPossible", message.to_owned())
        }
    };
    conditions.set("BundleOffered", status, reason, message);
}

/// What follows from the names alone.
fn addresses(object: &DynamicObject, context: &Context) -> Value {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let repository_name = object.data["spec"]["repositoryName"].as_str().unwrap_or(&name);
    let host = context.host(&name, &namespace);
    let mut status = json!({"cloneURL": format!("https://{host}/{namespace}/{repository_name}")});
    if let Some(url) = &context.pool.external_url {
        let base = url.as_str().trim_end_matches('/');
        status["externalCloneURL"] = json!(format!("{base}/{namespace}/{repository_name}"));
    }
    if let Ok(namespace) = namespace.parse::<Namespace>() {
        let account = AccountId::of(&namespace);
        status["arn"] = json!(format!("arn:aws:codecommit:{}:{account}:{repository_name}", context.region));
        status["accountId"] = json!(account);
    }
    status
}

/// How it was served when it was last looked at.
fn before_mode(object: &DynamicObject) -> crds::ServingMode {
    match object.data["status"]["servingMode"].as_str() {
        Some("Dedicated") => crds::ServingMode::Dedicated,
        _ => crds::ServingMode::Shared,
    }
}

/// Its address over SSH, which the pool serves.
fn ssh_address(object: &DynamicObject, context: &Context) -> String {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let repository_name = object.data["spec"]["repositoryName"].as_str().unwrap_or(&name);
    let host = context.host(&name, &namespace);
    host_keys::clone_url(&host, &format!("{namespace}/{repository_name}"), context.pool.ssh.port)
}

fn facts(status: &mut Value, summary: &RepositorySummary) {
    status["repositoryId"] = json!(summary.repository_id);
    status["references"] = json!(summary.references);
    status["sizeBytes"] = json!(summary.size_bytes);
    status["packs"] = json!(summary.packs);
    status["retiredBytes"] = json!(summary.retired_bytes);
    if let Some(encryption) = &summary.encryption {
        status["encryption"] = json!(encryption);
    }
    if let Some(summary) = &summary.replication {
        status["replication"] = json!(replication::status(summary));
    }
    if let Some(time) = &summary.verified_time {
        status["lastVerifiedTime"] = json!(time);
    }
    if let Some(branch) = &summary.default_branch {
        status["defaultBranch"] = json!(branch);
    }
    if let Some(time) = &summary.last_push_time {
        status["lastPushTime"] = json!(time);
    }
}

fn keep(status: &mut Value, before: &Value, fields: &[&str]) {
    for field in fields {
        if !before[field].is_null() {
            status[field] = before[field].clone();
        }
    }
}
