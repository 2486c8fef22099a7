//! What the controller, the git servers of the pool and dedicated git servers say to each other over the control port.
//!
//! JSON over HTTPS; who asks is told by a `ServiceAccount` token. Paths are in the constants, shapes in the types.

use model::{Namespace, RepositoryName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Prefix of every path.
pub const PREFIX: &str = "/control/v1";

/// `POST /control/v1/deletions`: deletes the data of a repository that is not served any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletionQuestion {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its `repositoryName`.
    pub repository_name: RepositoryName,
    /// The store that holds it.
    pub store: String,
}

/// `GET /control/v1/repositories/{namespace}/{resource}`: what the store says of a Repository; made there if it is new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RepositorySummary {
    /// Its id in the store.
    pub repository_id: String,
    /// Number of references.
    pub references: u64,
    /// Bytes of its packs.
    pub size_bytes: u64,
    /// The branch that HEAD names, by its short name; none while it is empty.
    pub default_branch: Option<String>,
    /// When the last push was acknowledged (RFC 3339).
    pub last_push_time: Option<String>,
    /// Number of its packs.
    pub packs: u64,
    /// Bytes of packs that wait for deletion.
    pub retired_bytes: u64,
    /// When everything that the store holds of it was last read and verified (RFC 3339).
    pub verified_time: Option<String>,
    /// What was not sound then, one line for each problem.
    pub problems: Vec<String>,
    /// What one store had lost or had damaged then, and has been written anew from another one.
    #[serde(default)]
    pub mended: Vec<String>,
    /// How its data is encrypted, where Codekeep does it.
    #[serde(default)]
    pub encryption: Option<crds::EncryptionStatus>,
    /// Where it is kept, if that is more than one store.
    #[serde(default)]
    pub replication: Option<ReplicationSummary>,
    /// What clients may read from the bucket, where the resource wants it.
    #[serde(default)]
    pub bundle: Option<BundleSummary>,
}

/// The bundle of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BundleSummary {
    /// There is one, of so many bytes.
    Offered(u64),
    /// Maintenance has not made it.
    NotYet,
    /// Clients do not reach the bucket, or may not.
    NotPossible,
}

/// Where a repository is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationSummary {
    /// The store that takes pushes.
    pub primary: String,
    /// How often another store has become the primary.
    pub epoch: u64,
    /// The others.
    pub stores: Vec<ReplicaSummary>,
}

/// What a replica holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaSummary {
    /// Name of the store.
    pub name: String,
    /// Number of the last entry of the log that it holds.
    pub generation: u64,
    /// Entries that it does not hold.
    pub lag_entries: u64,
    /// Seconds for which it has not had everything.
    pub lag_seconds: u64,
    /// What is wrong with it.
    #[serde(default)]
    pub problem: Option<ReplicaProblem>,
}

/// What is wrong with a replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaProblem {
    /// Its kind.
    pub kind: ReplicaProblemKind,
    /// In words.
    pub message: String,
}

/// Kinds of problems of a replica, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ReplicaProblemKind {
    /// It holds something else.
    Diverged,
    /// The server has no store of that name.
    UnknownStore,
    /// It does not answer, or refuses.
    Unavailable,
}

/// `POST /control/v1/promotions`: makes another store the primary of a repository. Answered with 202 while that is under way, which is to be
/// asked again; with 409 when it could lose pushes and `acceptLoss` is false; with 422 when it is no store of the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromotionQuestion {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its `repositoryName`.
    pub repository_name: RepositoryName,
    /// The store.
    pub to: String,
    /// Whether pushes may be lost that only the old primary holds.
    pub accept_loss: bool,
}

/// What a promotion came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromotionAnswer {
    /// The store that takes pushes now.
    pub primary: String,
    /// Its epoch.
    pub epoch: u64,
    /// Number of the last entry of the log from before.
    pub generation: u64,
    /// The store that took pushes before.
    pub was: Option<String>,
    /// Whether this question changed it.
    pub is_new: bool,
    /// Entries that the old primary holds and nobody else; unknown when it could not be asked.
    pub left_behind: Option<u64>,
}

/// `GET /control/v1/state?namespace=NAMESPACE`: what a server knows about a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerState {
    /// Whether the namespace lets its credentials be read.
    pub is_granted: bool,
    /// Its resources.
    pub resources: Vec<ResourceState>,
    /// How notifications go.
    pub targets: Vec<TargetState>,
}

/// What a server makes of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceState {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The generation that is enforced.
    pub in_effect: Option<i64>,
    /// Why the last generation is not, and warnings.
    pub problems: Vec<String>,
}

/// How deliveries to one target for one repository go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetState {
    /// The rule.
    pub rule: String,
    /// Its target.
    pub target: String,
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// The last failure, while it lasts.
    pub last_error: Option<String>,
    /// The last success of this server (RFC 3339).
    pub last_success: Option<String>,
}

/// `GET /control/v1/pushes?after=NUMBER`: repositories that this server took pushes for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pushes {
    /// What to ask for next.
    pub next: u64,
    /// Whether some are missing, because they are too many or the server started anew.
    pub missed: bool,
    /// The repositories.
    pub repositories: Vec<Pushed>,
}

/// A repository that was pushed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pushed {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its `repositoryName`.
    pub repository_name: RepositoryName,
}

/// `GET /control/v1/snapshot?repository=NAME&after=VERSION`: everything that a dedicated server needs; waits up to half a minute
/// for another version than `after`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotAnswer {
    /// Names this content.
    pub version: String,
    /// The resources, with Secrets.
    pub documents: Vec<Value>,
    /// The cluster's identity.
    pub cluster_id: Option<String>,
}

/// `GET /control/v1/services/NAME`: where a Service of the dedicated server's namespace is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAnswer {
    /// Its cluster IP.
    pub cluster_ip: std::net::IpAddr,
}

/// `POST /control/v1/token-reviews`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenReviewQuestion {
    /// The token.
    pub token: String,
}

/// Whose token it is, if it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenReviewAnswer {
    /// The user as the API server names them; none when the token does not hold.
    pub username: Option<String>,
    /// Their groups.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// `POST /control/v1/certificates`: a certificate for the names of a dedicated Repository's Service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateQuestion {
    /// Name of the Repository.
    pub repository: String,
    /// The certificate signing request (PEM).
    pub csr: String,
}

/// The certificate.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateAnswer {
    /// The chain (PEM).
    pub certificate: String,
}
