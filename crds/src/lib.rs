//! The Kubernetes API types of Codekeep, `codekeep.dev/v1alpha1`, and the manifests generated from them.
//!
//! Types only: what a field means to a server is decided in `controllers`. The doc comment of a field is its description in
//! `kubectl explain`; what can be checked about a resource by itself is checked by its schema, CEL rules included, so that the
//! API server and `codekeep serve` refuse the same things with the same words.
//!
//! Every string, list and map has an upper bound: the API server prices CEL rules by them.

#![expect(unreachable_pub, reason = "the derive of schemas copies each public type into the body of a function")]

mod access_policy;
mod bundle_uri;
mod credential;
mod definition;
mod encryption;
mod notification_rule;
mod replication;
mod repository;
mod repository_selector;
mod yaml;

pub use access_policy::{
    AccessPolicy, AccessPolicySpec, AccessPolicyStatus, Conditions, Effect, Statement, Subject, SubjectKind,
};
pub use bundle_uri::BundleUri;
pub use credential::{GIT_CREDENTIAL, SSH_KEY};
pub use definition::{Definition, definitions, manifests};
pub use encryption::{Encryption, EncryptionStatus, Envelope, KeyServiceRef};
pub use notification_rule::{
    EventType, NotificationRule, NotificationRuleSpec, NotificationRuleStatus, Scheme, SecretKeyRef, ServiceTarget,
    Target, Webhook,
};
pub use replication::{ReplicaStatus, Replication, ReplicationMode, ReplicationStatus};
pub use repository::{
    Dedicated, DedicatedStorage, DeletionPolicy, Limits, LocalSecretRef, ObjectFormat, Repository, RepositorySpec,
    RepositoryStatus, Resources, Serving, ServingMode,
};
pub use repository_selector::{LabelSelector, RepositorySelector};

/// The API group of our kinds.
pub const GROUP: &str = "codekeep.dev";

/// The version of our kinds.
pub const VERSION: &str = "v1alpha1";

/// On a Repository with `deletionPolicy: Delete`: its value is the resource's own name, and only then is data deleted.
pub const CONFIRM_DELETION: &str = "codekeep.dev/confirm-deletion";

/// On a Repository with `spec.replication.primary`: its value is the resource's own name, and then that store is promoted even if pushes
/// that only the old primary holds are lost by it.
pub const ACCEPT_LOSS: &str = "codekeep.dev/accept-loss";

/// Name of the `RoleBinding` by which a namespace lets the git servers read its credentials.
pub const CREDENTIALS_GRANT: &str = "codekeep-credentials";

/// On a resource: a value that changes asks for a reconcile at once; status repeats the value that was acted upon.
pub const REQUESTED_AT: &str = "codekeep.dev/requested-at";

#[cfg(test)]
mod tests;
