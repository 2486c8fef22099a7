//! `AccessPolicy`: who may do what with the repositories of a namespace.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::repository_selector::RepositorySelector;

/// Says who may do what with repositories of its namespace. Nothing is allowed that no statement allows, and a Deny wins over
/// every Allow.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[kube(
    group = "codekeep.dev",
    version = "v1alpha1",
    kind = "AccessPolicy",
    plural = "accesspolicies",
    singular = "accesspolicy",
    shortname = "ckpolicy",
    category = "codekeep",
    namespaced,
    status = "AccessPolicyStatus",
    derive = "PartialEq",
    doc = "Says who may do what with repositories of its namespace. Nothing is allowed that no statement allows, and a Deny wins over every Allow.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Observed", type_ = "integer", json_path = ".status.observedGeneration", priority = 1),
    validation = Rule::new("self.metadata.name.size() <= 63")
        .message("metadata.name must have at most 63 characters, because refused users read it in one line; shorten it")
        .field_path(".metadata.name")
)]
#[serde(rename_all = "camelCase")]
pub struct AccessPolicySpec {
    /// Whom the statements are about.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["kind".into(), "name".into()]))]
    pub subjects: Vec<Subject>,
    /// What they may and may not do.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["sid".into()]))]
    pub statements: Vec<Statement>,
}

/// Somebody who may be allowed or denied something.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.kind == 'Anonymous' || self.name != ''")
        .message("name is missing, and every kind of subject but Anonymous has one; write e.g. {kind: LocalUser, name: alice}")
        .field_path(".name"),
    validation = Rule::new("self.kind != 'Anonymous' || self.name == ''")
        .message("name has no meaning for kind Anonymous, which is everybody; remove name or choose the kind LocalUser")
        .field_path(".name"),
    validation = Rule::new("self.kind != 'LocalUser' || self.name == '' || self.name.matches('^[A-Za-z0-9][A-Za-z0-9._@+=,-]{0,127}$')")
        .message("name of a LocalUser is the user of a credential: at most 128 letters, digits and . _ @ + = , - beginning with a letter or digit; write it exactly as in the Secret")
        .field_path(".name"),
    validation = Rule::new("self.kind != 'ServiceAccount' || self.name == '' || self.name.matches('^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$')")
        .message("name of a ServiceAccount is that of a ServiceAccount in this namespace; write it without system:serviceaccount: and without a namespace")
        .field_path(".name")
)]
pub struct Subject {
    /// What the name is a name of.
    pub kind: SubjectKind,
    /// The user of a git credential (`LocalUser`), a ServiceAccount of this namespace, or a user or group as the API server
    /// authenticates them; empty for Anonymous. Taken literally: wildcards have no meaning here.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub name: String,
}

/// Kinds of subjects.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectKind {
    /// The user of a Secret of type codekeep.dev/git-credential in this namespace.
    LocalUser,
    /// A ServiceAccount of this namespace.
    ServiceAccount,
    /// A user, as the API server authenticates them.
    User,
    /// A group, as the API server authenticates its members.
    Group,
    /// Everybody, also without a credential.
    Anonymous,
}

/// Allows or denies actions on repositories.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.conditions) || !has(self.conditions.references) || !('codecommit:GitPull' in self.actions)")
    .message("conditions.references is about pushes only and would never match codecommit:GitPull; move codecommit:GitPull to a statement of its own without references")
    .field_path(".conditions.references"))]
pub struct Statement {
    /// The statement's name, unique in the policy; a refused user reads it.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"))]
    pub sid: String,
    /// Whether it allows or denies.
    pub effect: Effect,
    /// CodeCommit actions: `codecommit:GitPull` reads a repository, `codecommit:GitPush` changes its references and
    /// `codecommit:OverrideLfsLocks` removes Git LFS locks of others. `*` stands for any run of characters and `?` for one, as in IAM.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new("self.all(a, a == '*' || a.matches('^codecommit:[A-Za-z*?]+$') && ['codecommit:GitPull', 'codecommit:GitPush', 'codecommit:OverrideLfsLocks'].exists(k, k.matches('^' + a.replace('*', '.*').replace('?', '.') + '$')))")
        .message("actions holds one that does not exist; write codecommit:GitPull, codecommit:GitPush, codecommit:OverrideLfsLocks, or a pattern that matches one of them such as codecommit:Git*"))]
    pub actions: Vec<String>,
    /// The repositories it is about.
    pub repositories: RepositorySelector,
    /// What else must hold for the statement to count; all of it must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Conditions>,
}

/// Effects of a statement.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Permits what it matches, unless another statement denies it.
    Allow,
    /// Forbids what it matches, whatever else allows it.
    Deny,
}

/// Circumstances under which a statement counts.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.references) || has(self.sourceAddresses)")
    .message("conditions needs references or sourceAddresses; remove conditions when the statement always counts"))]
pub struct Conditions {
    /// Full reference names that the push must be about, such as `refs/heads/release/*`; each reference of a push is decided by
    /// itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new("self.all(r, r.startsWith('refs/') || r.startsWith('*'))")
        .message("conditions.references holds full reference names; write refs/heads/main instead of main, refs/tags/v* instead of v*"))]
    pub references: Option<Vec<String>>,
    /// Addresses or networks (CIDR) that the client must come from, such as `10.0.0.0/8` or `2001:db8::/32`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 2, max = 49)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new("self.all(a, isIP(a) || isCIDR(a))")
        .message("conditions.sourceAddresses holds something that is no address or network; write 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32"))]
    pub source_addresses: Option<Vec<String>>,
}

/// What was observed of an `AccessPolicy`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct AccessPolicyStatus {
    /// The `metadata.generation` that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling and Stalled, as kstatus reads them, and Accepted and Enforced. Reconciling and Stalled are absent when all is well.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Running git-server pods that may have to enforce this policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub pods: Option<i64>,
    /// Those of them that enforce this very generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub pods_enforcing: Option<i64>,
}
