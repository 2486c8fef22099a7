//! `Repository`: one Git repository.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A private Git repository, kept in an object store.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[kube(
    group = "codekeep.dev",
    version = "v1alpha1",
    kind = "Repository",
    plural = "repositories",
    singular = "repository",
    shortname = "repo",
    shortname = "ckrepo",
    category = "codekeep",
    namespaced,
    status = "RepositoryStatus",
    derive = "PartialEq",
    doc = "A private Git repository, kept in an object store.",
    selectable = ".spec.store",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message"),
    printcolumn(name = "Clone URL", type_ = "string", json_path = ".status.cloneURL"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Default Branch", type_ = "string", json_path = ".spec.defaultBranch", priority = 1),
    printcolumn(name = "Store", type_ = "string", json_path = ".spec.store", priority = 1),
    printcolumn(name = "Repository Id", type_ = "string", json_path = ".status.repositoryId", priority = 1),
    printcolumn(name = "Description", type_ = "string", json_path = ".spec.description", priority = 1),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$')")
        .message("metadata.name must be 1 to 63 lower case letters, digits and '-', begin with a letter and end with a letter or digit, because it names a Service; put any other name in spec.repositoryName")
        .field_path(".metadata.name"),
    validation = Rule::new("(has(self.spec.repositoryName) ? self.spec.repositoryName : self.metadata.name) == (has(oldSelf.spec.repositoryName) ? oldSelf.spec.repositoryName : oldSelf.metadata.name)")
        .message("spec.repositoryName is immutable, because clone URLs hold it; create a second Repository and push to it instead")
        .field_path(".spec.repositoryName")
)]
#[serde(rename_all = "camelCase")]
pub struct RepositorySpec {
    /// What the repository is for, in at most 1,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub description: Option<String>,
    /// The name in clone URLs, by CodeCommit's rules: 1 to 100 letters, digits, `.`, `_` and `-`; `/` may separate segments.
    /// Defaults to `metadata.name`. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^[A-Za-z0-9._/-]+$"))]
    #[x_kube(
        validation = Rule::new("!self.endsWith('.git')")
            .message("repositoryName must not end in .git; leave the ending out, clients may add it to the URL"),
        validation = Rule::new("!self.startsWith('/') && !self.endsWith('/') && !self.contains('//')")
            .message("repositoryName must not begin or end with '/' or contain '//'; write segments such as team/app"),
        validation = Rule::new("!self.matches('(^|/)[.]{1,2}(/|$)')")
            .message("repositoryName must not have '.' or '..' as a segment; use a real name for it"),
        validation = Rule::new("!self.matches('(^|/)-') && !self.matches('[.]lock(/|$)')")
            .message("repositoryName must not have a segment that begins with '-' or ends in .lock; rename that segment")
    )]
    pub repository_name: Option<String>,
    /// The branch that HEAD names, by its short name, such as `main`. While it does not exist, the branch of the first push
    /// takes its place.
    #[serde(default = "default_branch")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(
        validation = Rule::new("!self.startsWith('refs/')")
            .message("defaultBranch is a short branch name; write main instead of refs/heads/main"),
        validation = Rule::new("!self.matches('[[:cntrl:] ~^:?*\\\\[\\\\\\\\]') && !self.contains('..') && !self.contains('@{') && self != '@'")
            .message("defaultBranch must not contain spaces, control characters, any of ~ ^ : ? * [ \\, '..' or '@{', as git check-ref-format says; rename it"),
        validation = Rule::new("!self.startsWith('/') && !self.endsWith('/') && !self.contains('//') && !self.matches('(^|/)[.]') && !self.endsWith('.') && !self.matches('(^|/)-') && !self.matches('[.]lock(/|$)')")
            .message("defaultBranch must have segments separated by single '/', none beginning with '.' or '-' or ending in .lock, and must not end in '.'; rename it")
    )]
    pub default_branch: String,
    /// The store that holds the repository, by the name that the platform team gave it. Immutable.
    #[serde(default = "default_store")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("store is immutable, because the data does not move with it; create a second Repository in the other store and push to it"))]
    pub store: String,
    /// What one push may cost; a push beyond a limit is refused as a whole.
    #[serde(default)]
    pub limits: Limits,
    /// What happens to the data in the store when this resource is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Turns every client away while `true`; the data stays. (A boolean as in Job and `CronJob`.)
    #[serde(default)]
    pub suspend: bool,
}

fn default_branch() -> String {
    "main".to_owned()
}

fn default_store() -> String {
    "default".to_owned()
}

/// What happens to the data of a deleted Repository.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DeletionPolicy {
    /// The data stays; a Repository of the same namespace and name finds it again.
    #[default]
    Retain,
    /// The data is deleted, if the annotation `codekeep.dev/confirm-deletion` holds the resource's name.
    Delete,
}

/// What one push may cost. Sizes are whole numbers with an optional suffix: `500M`, `4Gi`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!quantity(self.packSize).isGreaterThan(quantity(self.inflatedSize))")
        .message("limits.packSize must not exceed limits.inflatedSize, which a pack would reach first; raise inflatedSize or lower packSize")
        .field_path(".packSize"),
    validation = Rule::new("!quantity(self.objectSize).isGreaterThan(quantity(self.inflatedSize))")
        .message("limits.objectSize must not exceed limits.inflatedSize, which one object would reach first; raise inflatedSize or lower objectSize")
        .field_path(".objectSize")
)]
pub struct Limits {
    /// Size of the pack that a push sends.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^([1-9][0-9]{0,14}|[1-9][0-9]{0,5}([kMGT]|[KMGT]i))$"))]
    #[serde(default = "default_pack_size")]
    pub pack_size: String,
    /// Size of all objects of a push together, inflated. Deltas may not make more than 512 times the pack either.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^([1-9][0-9]{0,14}|[1-9][0-9]{0,5}([kMGT]|[KMGT]i))$"))]
    #[serde(default = "default_inflated_size")]
    pub inflated_size: String,
    /// Size of one object, inflated.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^([1-9][0-9]{0,14}|[1-9][0-9]{0,5}([kMGT]|[KMGT]i))$"))]
    #[serde(default = "default_object_size")]
    pub object_size: String,
    /// Number of objects that a push sends.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    #[serde(default = "default_objects")]
    pub objects: i64,
    /// Length of a chain of deltas; git itself makes 50 at most unless told otherwise.
    #[schemars(range(min = 1, max = 65_535))]
    #[serde(default = "default_delta_depth")]
    pub delta_depth: i64,
    /// Number of references that a push creates, moves and deletes.
    #[schemars(range(min = 1, max = 1_000_000))]
    #[serde(default = "default_references")]
    pub references: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pack_size: default_pack_size(),
            inflated_size: default_inflated_size(),
            object_size: default_object_size(),
            objects: default_objects(),
            delta_depth: default_delta_depth(),
            references: default_references(),
        }
    }
}

fn default_pack_size() -> String {
    "4Gi".to_owned()
}

fn default_inflated_size() -> String {
    "2Ti".to_owned()
}

fn default_object_size() -> String {
    "512Mi".to_owned()
}

fn default_objects() -> i64 {
    20_000_000
}

fn default_delta_depth() -> i64 {
    4_095
}

fn default_references() -> i64 {
    20_000
}

/// What was observed of a Repository.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryStatus {
    /// The `metadata.generation` that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling and Stalled, as kstatus reads them. Reconciling and Stalled are absent when all is well.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// What to give to `git clone`.
    #[serde(default, rename = "cloneURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub clone_url: Option<String>,
    /// The 12-digit account id of the namespace, as in `alice-at-123456789012` and in ARNs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    pub account_id: Option<String>,
    /// The random id under which the store holds the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub repository_id: Option<String>,
}
