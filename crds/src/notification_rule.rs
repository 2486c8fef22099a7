//! `NotificationRule`: which events of which repositories go where.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::repository_selector::RepositorySelector;

/// Sends events of repositories of its namespace to targets, at least once and in order per repository.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[kube(
    group = "codekeep.dev",
    version = "v1alpha1",
    kind = "NotificationRule",
    plural = "notificationrules",
    singular = "notificationrule",
    shortname = "ckrule",
    category = "codekeep",
    namespaced,
    status = "NotificationRuleStatus",
    derive = "PartialEq",
    doc = "Sends events of repositories of its namespace to targets, at least once and in order per repository.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Observed", type_ = "integer", json_path = ".status.observedGeneration", priority = 1),
    validation = Rule::new("self.metadata.name.size() <= 63")
        .message("metadata.name must have at most 63 characters, because it is part of the key of a delivery cursor; shorten it")
        .field_path(".metadata.name")
)]
#[serde(rename_all = "camelCase")]
pub struct NotificationRuleSpec {
    /// The repositories whose events are sent.
    pub repositories: RepositorySelector,
    /// The event types that are sent, spelled as CodeCommit's notification rules spell them.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub event_types: Vec<EventType>,
    /// Short names of the branches and tags whose events are sent, such as `main` or `release/*`; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new("self.all(b, !b.startsWith('refs/'))")
        .message("branches holds short names; write main instead of refs/heads/main, v* instead of refs/tags/v*"))]
    pub branches: Option<Vec<String>>,
    /// Where the events are sent; each target gets all of them, and one that is down delays only itself.
    #[schemars(length(min = 1, max = 10))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub targets: Vec<Target>,
}

/// Types of events.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// A branch or tag was created.
    #[serde(rename = "codecommit-repository-branches-and-tags-created")]
    BranchesAndTagsCreated,
    /// A branch or tag was moved.
    #[serde(rename = "codecommit-repository-branches-and-tags-updated")]
    BranchesAndTagsUpdated,
    /// A branch or tag was deleted.
    #[serde(rename = "codecommit-repository-branches-and-tags-deleted")]
    BranchesAndTagsDeleted,
}

/// A receiver of events.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.webhook)")
    .message("a target needs exactly one kind of receiver; add webhook: {url: https://...}"))]
pub struct Target {
    /// The target's name, unique in the rule. Delivery goes on under this name where it stopped, also at another address.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Posts each event as a `CloudEvent` to an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
}

/// An address that events are posted to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.url) != has(self.service)")
    .message("a webhook needs exactly one of url and service; write url: https://... or service: {name: ...}"))]
pub struct Webhook {
    /// The address, http or https; or `service` in its place. Private, loopback and link-local networks are refused unless the platform team permits them.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = Rule::new("self.matches('^https?://')")
            .message("webhook.url must begin with https:// or http://; write the whole address"),
        validation = Rule::new("isURL(self)")
            .message("webhook.url is not a valid address; write https://HOST[:PORT]/PATH and percent-encode special characters"),
        validation = Rule::new("!self.matches('^[a-z]+:[/]+[^/?#]*@')")
            .message("webhook.url must not hold a user or password, which everybody who reads the rule would see; remove the part before '@' and use signingSecretRef"),
        validation = Rule::new("!self.contains('#')")
            .message("webhook.url must not hold a fragment, which is never sent; remove '#' and what follows")
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A Service of this namespace that the events are posted to, whatever its network; only one with a cluster IP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceTarget>,
    /// The Secret whose key signs each request (HMAC-SHA256 over timestamp and body); requests are not signed without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret_ref: Option<SecretKeyRef>,
}

/// A port of a Service of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceTarget {
    /// Name of the Service.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Port of the Service.
    #[schemars(range(min = 1, max = 65_535))]
    #[serde(default = "default_port")]
    pub port: i32,
    /// Path of the request, beginning with `/`.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/[^#\s]*$"))]
    #[serde(default = "default_path")]
    pub path: String,
    /// Protocol; with `HTTPS` the certificate must be for the Service's name and from an authority that the servers trust.
    #[serde(default)]
    pub scheme: Scheme,
}

/// Protocols of a webhook to a Service.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Scheme {
    /// Plain HTTP: inside the cluster, and signed if a signing Secret is named.
    #[default]
    #[serde(rename = "HTTP")]
    Http,
    /// HTTP over TLS.
    #[serde(rename = "HTTPS")]
    Https,
}

fn default_port() -> i32 {
    80
}

fn default_path() -> String {
    "/".to_owned()
}

/// One entry of a Secret of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Key of the entry.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._A-Za-z0-9]+$"))]
    pub key: String,
}

/// What was observed of a `NotificationRule`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct NotificationRuleStatus {
    /// The `metadata.generation` that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling and Stalled, as kstatus reads them, and Accepted, `ResolvedRefs` and Delivering. Reconciling and Stalled are absent when all is well.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// When an event was delivered last, as far as the running pods know; moves at most once a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success_time: Option<Time>,
    /// Failures in a row of the target that fails most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub consecutive_failures: Option<i64>,
}
