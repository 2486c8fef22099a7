//! What the servers have to enforce: the checked, resolved content of all manifests, as one snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::ObjectFormat;
use crate::encryption::Encryption;
use crate::limits::Limits;
use crate::name::{Namespace, RepositoryName, RepositoryPath};
use crate::notification::Rule;
use crate::policy::{Labels, PolicySet};
use crate::ref_name::RefName;
use crate::replication::Replication;
use crate::secret::SecretString;
use crate::ssh_key::{SshKeys, SshPublicKey};

/// One snapshot; published whole, never changed in place.
#[derive(Debug, Clone, Default)]
pub struct DesiredState {
    /// Repositories by path.
    pub repositories: BTreeMap<RepositoryPath, Arc<RepositoryConfig>>,
    /// Who may do what.
    pub policies: PolicySet,
    /// Credentials by namespace.
    pub credentials: BTreeMap<Namespace, Vec<Arc<Credential>>>,
    /// SSH public keys, and whose they are.
    pub ssh_keys: SshKeys,
    /// Notification rules.
    pub rules: Vec<Arc<Rule>>,
}

impl DesiredState {
    /// The repositories of a namespace, found without looking at those of others.
    pub fn in_namespace(&self, namespace: &Namespace) -> impl Iterator<Item = &Arc<RepositoryConfig>> {
        let begin = RepositoryPath { namespace: namespace.clone(), name: RepositoryName::least() };
        let from_there = self.repositories.range(begin..).map(|(_, config)| config);
        from_there.take_while(move |config| config.path.namespace == *namespace)
    }
}

/// A checked `Repository`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryConfig {
    /// Namespace and `repositoryName`.
    pub path: RepositoryPath,
    /// `metadata.name`.
    pub resource_name: String,
    /// `metadata.labels`.
    pub labels: Labels,
    /// What the repository is for.
    pub description: String,
    /// Where `HEAD` points once that branch exists.
    pub default_branch: RefName,
    /// What names its objects.
    pub object_format: ObjectFormat,
    /// Name of the store that holds it.
    pub store: String,
    /// Whether it has pods of its own.
    pub dedicated: bool,
    /// Whether its data is in a bucket that only its own pods reach.
    pub own_bucket: bool,
    /// What a push may cost.
    pub limits: Limits,
    /// What happens to the data when the manifest goes.
    pub deletion: Deletion,
    /// How old a state a read may show.
    pub max_staleness: Duration,
    /// How its data is encrypted at rest.
    pub encryption: Encryption,
    /// Where else it is kept.
    pub replication: Option<Arc<Replication>>,
    /// Whether another store becomes its primary one even if pushes are lost by it.
    pub loss: Loss,
    /// From how many bytes of packs on clients are offered a bundle; never without.
    pub bundle_min_bytes: Option<u64>,
    /// Whether clients are turned away.
    pub suspended: bool,
}

/// What is to be said when a repository names objects by something else than its manifest says; nothing if it does not.
#[must_use]
pub fn object_format_problem(config: &RepositoryConfig, found: Option<ObjectFormat>) -> Option<String> {
    let (wanted, found) = (config.object_format, found?);
    (wanted != found).then(|| {
        format!("the repository holds objects of {found}, and spec.objectFormat says {wanted}; write {found} there")
    })
}

/// What happens to the data of a repository whose manifest is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It stays in the bucket; the same manifest finds it again.
    Retain,
    /// It is deleted: asked for by `deletionPolicy: Delete` and confirmed by the annotation.
    Delete,
}

/// What happens to pushes that only the old primary store of a repository holds, when another one takes its place and that one does not
/// answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The old one stays the primary.
    Refused,
    /// They are lost: confirmed by the annotation.
    Accepted,
}

/// A checked Secret of type `codekeep.dev/git-credential`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Namespace of the Secret.
    pub namespace: Namespace,
    /// Name of the Secret.
    pub secret_name: String,
    /// The name that policies use.
    pub user: String,
    /// What the person types.
    pub username: String,
    /// How the password is checked.
    pub secret: CredentialSecret,
}

/// How a password is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSecret {
    /// Against the password itself.
    Password(SecretString),
    /// Against its `argon2id` hash in PHC form.
    Hash(SecretString),
}

/// A checked Secret of type `codekeep.dev/ssh-key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshCredential {
    /// Namespace of the Secret.
    pub namespace: Namespace,
    /// Name of the Secret.
    pub secret_name: String,
    /// The name that policies use.
    pub user: String,
    /// The user's keys.
    pub keys: Vec<SshPublicKey>,
}
