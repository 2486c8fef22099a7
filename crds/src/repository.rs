//! `Repository`: one Git repository.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bundle_uri::BundleUri;
use crate::encryption::{Encryption, EncryptionStatus};
use crate::replication::{Replication, ReplicationStatus};

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
    printcolumn(name = "Serving", type_ = "string", json_path = ".status.servingMode", priority = 1),
    printcolumn(name = "Store", type_ = "string", json_path = ".spec.store", priority = 1),
    printcolumn(name = "Primary", type_ = "string", json_path = ".status.replication.primary", priority = 1),
    printcolumn(name = "Replication Lag", type_ = "integer", json_path = ".status.replication.lagSeconds", priority = 1),
    printcolumn(name = "Last Push", type_ = "date", json_path = ".status.lastPushTime", priority = 1),
    printcolumn(name = "Repository Id", type_ = "string", json_path = ".status.repositoryId", priority = 1),
    printcolumn(name = "Description", type_ = "string", json_path = ".spec.description", priority = 1),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$')")
        .message("metadata.name must be 1 to 63 lower case letters, digits and '-', begin with a letter and end with a letter or digit, because it names a Service; put any other name in spec.repositoryName")
        .field_path(".metadata.name"),
    validation = Rule::new("(has(self.spec.repositoryName) ? self.spec.repositoryName : self.metadata.name) == (has(oldSelf.spec.repositoryName) ? oldSelf.spec.repositoryName : oldSelf.metadata.name)")
        .message("spec.repositoryName is immutable, because clone URLs hold it; create a second Repository and push to it instead")
        .field_path(".spec.repositoryName"),
    validation = Rule::new("(has(self.spec.serving.dedicated) && has(self.spec.serving.dedicated.storage) && has(self.spec.serving.dedicated.storage.url) ? self.spec.serving.dedicated.storage.url : '') == (has(oldSelf.spec.serving) && has(oldSelf.spec.serving.dedicated) && has(oldSelf.spec.serving.dedicated.storage) && has(oldSelf.spec.serving.dedicated.storage.url) ? oldSelf.spec.serving.dedicated.storage.url : '')")
        .message("spec.serving.dedicated.storage.url is immutable, because the data does not move with it; create a second Repository with that bucket and push to it")
        .field_path(".spec.serving"),
    validation = Rule::new("(has(self.spec.encryption) && has(self.spec.encryption.envelope)) == (has(oldSelf.spec.encryption) && has(oldSelf.spec.encryption.envelope))")
        .message("spec.encryption.envelope cannot be added or removed, because the data does not change by itself; create a second Repository and push to it")
        .field_path(".spec.encryption"),
    validation = Rule::new("(has(self.spec.objectFormat) ? self.spec.objectFormat : 'sha1') == (has(oldSelf.spec.objectFormat) ? oldSelf.spec.objectFormat : 'sha1')")
        .message("spec.objectFormat is immutable, because it is part of every object's name; create a second Repository and push a converted copy to it")
        .field_path(".spec.objectFormat"),
    validation = Rule::new("!has(self.spec.replication) || !(self.spec.store in self.spec.replication.stores)")
        .message("spec.replication.stores must not name spec.store, which holds the repository anyhow; remove it there")
        .field_path(".spec.replication.stores"),
    validation = Rule::new("!has(self.spec.replication) || !has(self.spec.replication.primary) || self.spec.replication.primary == self.spec.store || self.spec.replication.primary in self.spec.replication.stores")
        .message("spec.replication.primary must be spec.store or one of spec.replication.stores; name one of these, or add it there")
        .field_path(".spec.replication.primary"),
    validation = Rule::new("!has(self.spec.replication) || !has(self.spec.serving.dedicated) || !has(self.spec.serving.dedicated.storage) || !has(self.spec.serving.dedicated.storage.url)")
        .message("spec.replication is for stores of the platform team, and spec.serving.dedicated.storage.url is a bucket of the repository's own; remove spec.replication, and let the bucket replicate itself or use codekeep store mirror")
        .field_path(".spec.replication"),
    validation = Rule::new("!has(self.spec.bundleURI) || !has(self.spec.encryption) && !has(self.spec.replication)")
        .message("spec.bundleURI is for repositories that lie in one bucket as clients read them; remove it, or spec.encryption and spec.replication")
        .field_path(".spec.bundleURI")
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
    /// The hash function that names objects, as `git init --object-format` has it. Clients have to use the same one. Immutable.
    #[serde(default)]
    pub object_format: ObjectFormat,
    /// The store that holds the repository, by the name that the platform team gave it. Immutable.
    #[serde(default = "default_store")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("store is immutable, because the data does not move with it; create a second Repository in the other store and push to it"))]
    pub store: String,
    /// What one push may cost; a push beyond a limit is refused as a whole.
    #[serde(default)]
    pub limits: Limits,
    /// Where the git-server pods of the repository run.
    #[serde(default)]
    pub serving: Serving,
    /// How the data is encrypted at rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// In which further stores it is kept. Without it the platform team's default for `spec.store` holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<Replication>,
    /// Offers clients that ask for it (`git clone` with `transfer.bundleURI=true`) to read the history of the default branch from the bucket,
    /// where the platform team lets them reach it; the condition `BundleOffered` says whether there is something to read. Whoever was given
    /// the address may read it for 15 minutes.
    #[serde(default, rename = "bundleURI", skip_serializing_if = "Option::is_none")]
    pub bundle_uri: Option<BundleUri>,
    /// What happens to the data in the store when this resource is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Reads may show the repository as it was up to this many seconds ago, which saves them a request to the store. With 0 a fetch
    /// shows every push that was acknowledged before it, on every pod. Pushes never work on old state.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0, max = 3600))]
    pub max_staleness_seconds: u32,
    /// Turns every client away while `true`; the data stays. (A boolean as in Job and `CronJob`.)
    #[serde(default)]
    pub suspend: bool,
}

fn default_branch() -> String {
    "main".to_owned()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn default_store() -> String {
    "default".to_owned()
}

/// What names objects.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "lowercase")]
pub enum ObjectFormat {
    /// SHA-1, with detection of collisions: every client of Git understands it.
    #[default]
    Sha1,
    /// SHA-256: for git from 2.29 on and few other clients.
    Sha256,
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

/// Where git-server pods run.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.mode == 'Dedicated' || !has(self.dedicated) || !has(self.dedicated.storage) || !has(self.dedicated.storage.url)")
        .message("mode must stay Dedicated for a repository with a bucket of its own, which the shared pool cannot read; write mode: Dedicated")
        .field_path(".mode")
)]
pub struct Serving {
    /// Shared: the pool of the platform team. Dedicated: pods of the repository's own, in its namespace. May be changed while
    /// clients push.
    #[serde(default)]
    pub mode: ServingMode,
    /// How Dedicated pods look; without meaning while the mode is Shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedicated: Option<Dedicated>,
}

/// Which pods serve a repository.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ServingMode {
    /// The pool that the platform team runs for all repositories.
    #[default]
    Shared,
    /// Pods of the repository's own.
    Dedicated,
}

/// A workload of a repository's own.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Dedicated {
    /// Number of pods.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: i32,
    /// CPU and memory of each pod.
    #[serde(default)]
    pub resources: Resources,
    /// Local disk of each pod for cached packs: a whole number with a suffix, such as `10Gi`.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^([1-9][0-9]{0,14}|[1-9][0-9]{0,5}([kMGT]|[KMGT]i))$"))]
    #[serde(default = "default_cache_size")]
    pub cache_size: String,
    /// Where the data is and with which credentials the pods reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<DedicatedStorage>,
    /// A Secret of type kubernetes.io/tls of this namespace with the certificate that the pods show; without it they show one of
    /// Codekeep's own certificate authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_secret_ref: Option<LocalSecretRef>,
}

impl Default for Dedicated {
    fn default() -> Self {
        Self {
            replicas: default_replicas(),
            resources: Resources::default(),
            cache_size: default_cache_size(),
            storage: None,
            tls_secret_ref: None,
        }
    }
}

/// The bucket of a dedicated workload.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct DedicatedStorage {
    /// A bucket of the repository's own, such as `s3://team-a-code/git?region=eu-west-1`; without it the store that `spec.store`
    /// names. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 6, max = 1024))]
    #[x_kube(
        validation = Rule::new("self.matches('^s3://[a-z0-9][-a-z0-9.]{1,61}[a-z0-9]([/?].*)?$')")
            .message("storage.url names a bucket; write s3://BUCKET[/PREFIX][?region=&endpoint=&path-style=true]"),
        validation = Rule::new("!self.matches('[[:cntrl:] ,]')")
            .message("storage.url must not contain spaces, commas or control characters; percent-encode them")
    )]
    pub url: Option<String>,
    /// A Secret of this namespace with the entries `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`. The credentials of the shared
    /// pool never leave its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<LocalSecretRef>,
}

/// A Secret of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LocalSecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// CPU and memory of a pod.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What each pod is sure to get, such as `cpu: 500m` and `memory: 512Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("additionalProperties" = {"type": "string", "maxLength": 32}, "maxProperties" = 8))]
    #[x_kube(merge_strategy = MapMerge::Granular, validation = Rule::new("self.all(k, isQuantity(self[k]))")
        .message("resources.requests holds something that is no quantity; write cpu: 500m, memory: 512Mi"))]
    pub requests: Option<BTreeMap<String, String>>,
    /// What no pod may exceed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("additionalProperties" = {"type": "string", "maxLength": 32}, "maxProperties" = 8))]
    #[x_kube(merge_strategy = MapMerge::Granular, validation = Rule::new("self.all(k, isQuantity(self[k]))")
        .message("resources.limits holds something that is no quantity; write cpu: '2', memory: 1Gi"))]
    pub limits: Option<BTreeMap<String, String>>,
}

fn default_replicas() -> i32 {
    2
}

fn default_cache_size() -> String {
    "10Gi".to_owned()
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
    /// Size of one Git LFS object.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^([1-9][0-9]{0,14}|[1-9][0-9]{0,5}([kMGT]|[KMGT]i))$"))]
    #[serde(default = "default_lfs_object_size")]
    pub lfs_object_size: String,
    /// Size of all Git LFS objects of the repository together; without it there is no limit. Each server counts what it takes and
    /// learns of the rest within minutes, so a little more may get in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^([1-9][0-9]{0,14}|[1-9][0-9]{0,5}([kMGT]|[KMGT]i))$"))]
    pub lfs_storage: Option<String>,
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
            lfs_object_size: default_lfs_object_size(),
            lfs_storage: None,
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

fn default_lfs_object_size() -> String {
    "5Gi".to_owned()
}

/// What was observed of a Repository.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryStatus {
    /// The `metadata.generation` that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling and Stalled, as kstatus reads them, and `StorageReady`, `ServingReady`, `Encrypted`,
    /// `Replicated`, `BundleOffered` and `PolicyAccepted`.
    /// Reconciling and Stalled are absent when all is well.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// What to give to `git clone`.
    #[serde(default, rename = "cloneURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub clone_url: Option<String>,
    /// What to give to `git clone` outside the cluster, where the platform team gave the servers an external address.
    #[serde(default, rename = "externalCloneURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub external_clone_url: Option<String>,
    /// What to give to `git clone` over SSH, where the platform team turned it on; the `ConfigMap` `codekeep-ca` of the namespace has
    /// the host keys as `known_hosts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub clone_url_ssh: Option<String>,
    /// The name of the repository in `AccessPolicy` decisions and in the CodeCommit API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub arn: Option<String>,
    /// The 12-digit account id of the namespace, as in `alice-at-123456789012` and in ARNs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    pub account_id: Option<String>,
    /// The random id under which the store holds the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub repository_id: Option<String>,
    /// Which pods serve it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving_mode: Option<ServingMode>,
    /// The branch that HEAD names now, by its short name; absent while the repository is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub default_branch: Option<String>,
    /// Number of branches, tags and other references.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub references: Option<i64>,
    /// Size of its packs in the bucket, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub size_bytes: Option<i64>,
    /// Number of packs that hold its objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub packs: Option<i64>,
    /// Bytes of packs that nothing needs any more and that maintenance deletes after the grace period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub retired_bytes: Option<i64>,
    /// How the data is encrypted now, where Codekeep does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<EncryptionStatus>,
    /// Where it is kept now, if that is more than one store; the condition `Replicated` says the same in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<ReplicationStatus>,
    /// When everything that the store holds of it was last read and verified; the condition `Intact` says what was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_verified_time: Option<Time>,
    /// When the last push was acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_push_time: Option<Time>,
    /// The value of the annotation `codekeep.dev/requested-at` that was acted upon last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
}
