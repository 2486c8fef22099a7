//! In which further stores a Repository is kept.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Further stores that hold the same as `spec.store`, and when a push counts as kept. Together with the first one they are the stores of
/// the repository; one of them is the primary, which takes pushes, and the others are its replicas.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.mode == 'Synchronous' || !has(self.quorum)")
        .message("replication.quorum is about mode Synchronous only; write mode: Synchronous, or remove quorum")
        .field_path(".quorum"),
    validation = Rule::new("!has(self.quorum) || self.quorum <= 1 + size(self.stores)")
        .message("replication.quorum must not be more than there are stores, which are spec.store and replication.stores; lower it, or add stores")
        .field_path(".quorum")
)]
pub struct Replication {
    /// Asynchronous: a push is acknowledged when the primary holds it, and the replicas get it within seconds. Synchronous: when `quorum`
    /// of the stores hold it.
    #[serde(default)]
    pub mode: ReplicationMode,
    /// The further stores, by the names that the platform team gave them.
    #[schemars(
        length(min = 1, max = 4),
        inner(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Atomic, validation = Rule::new("self.all(one, self.exists_one(other, other == one))")
        .message("replication.stores names a store twice; remove one of them"))]
    pub stores: Vec<String>,
    /// With Synchronous: how many stores hold a push before it is acknowledged, the primary among them; all of them without it. With fewer
    /// than all, pushes go on while a replica is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 5))]
    pub quorum: Option<u32>,
    /// The store that is to be the primary, one of `spec.store` and `stores`: to change it promotes that store. Without it the primary
    /// stays where it is, which is `spec.store` at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub primary: Option<String>,
}

/// When a push to a replicated repository is acknowledged.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReplicationMode {
    /// When the primary holds it.
    #[default]
    Asynchronous,
    /// When `quorum` of the stores hold it.
    Synchronous,
}

/// Where the repository is kept now.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationStatus {
    /// The store that takes pushes.
    #[schemars(length(max = 63))]
    pub primary: String,
    /// How often another store has become the primary.
    #[schemars(range(min = 0))]
    pub epoch: i64,
    /// Seconds for which the replica that is furthest behind has not had everything; 0 below ten seconds, and rounded down.
    #[schemars(range(min = 0))]
    pub lag_seconds: i64,
    /// The replicas.
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub stores: Vec<ReplicaStatus>,
}

/// What a replica holds.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStatus {
    /// Name of the store.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Number of the last entry of the log that it holds.
    #[schemars(range(min = 0))]
    pub generation: i64,
    /// Entries of the log that it does not hold yet; 0 while it is less than ten seconds behind.
    #[schemars(range(min = 0))]
    pub lag_entries: i64,
    /// Seconds for which it has not had everything; 0 below ten seconds, and rounded down.
    #[schemars(range(min = 0))]
    pub lag_seconds: i64,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}
