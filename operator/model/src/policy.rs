//! Who may do what: statements as in IAM, decided by Cedar.
//!
//! Deny by default; an explicit `Deny` wins. Text of users is never pasted into Cedar code: wildcards are matched here, and
//! Cedar gets the set of patterns that matched as data in the request's context.
//!
//! A statement with `references` is only about requests that name references (a push), as CodeCommit documents it for the
//! condition key `codecommit:References`: a `GitPull` matches neither an `Allow` nor a `Deny` that has that condition.

mod compile;
mod wildcard;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use compile::NamespacePolicies;
pub use compile::PolicyError;
pub use wildcard::Wildcard;

use crate::RefName;
use crate::name::{Namespace, RepositoryPath};

/// Labels of a resource.
pub type Labels = BTreeMap<String, String>;

/// What a client wants to do; named as CodeCommit names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read a repository by clone or fetch.
    GitPull,
    /// Change references of a repository by push.
    GitPush,
    /// Remove Git LFS locks of others. CodeCommit has no LFS; the name follows its `OverridePullRequestApprovalRules`.
    OverrideLfsLocks,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 3] = [Self::GitPull, Self::GitPush, Self::OverrideLfsLocks];

    /// The action as policies spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GitPull => "codecommit:GitPull",
            Self::GitPush => "codecommit:GitPush",
            Self::OverrideLfsLocks => "codecommit:OverrideLfsLocks",
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// Nobody that we know.
    Anonymous,
    /// A user of a credential in a namespace.
    LocalUser {
        /// The credential's namespace.
        namespace: Namespace,
        /// The credential's `user`.
        name: String,
    },
    /// A `ServiceAccount`, as the API server authenticated it.
    ServiceAccount {
        /// Its namespace.
        namespace: Namespace,
        /// Its name.
        name: String,
        /// Its groups.
        groups: Arc<[String]>,
    },
    /// Anybody else whom the API server authenticated.
    User {
        /// The user name.
        name: String,
        /// The groups.
        groups: Arc<[String]>,
    },
}

/// How the API server writes the user of a `ServiceAccount`: `system:serviceaccount:NAMESPACE:NAME`.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

impl Principal {
    /// The principal of a user that the API server authenticated.
    #[must_use]
    pub fn authenticated(username: &str, groups: Vec<String>) -> Self {
        let groups: Arc<[String]> = groups.into();
        let account = username.strip_prefix(SERVICE_ACCOUNT).and_then(|rest| rest.split_once(':'));
        match account.and_then(|(namespace, name)| Some((namespace.parse().ok()?, name))) {
            Some((namespace, name)) if !name.is_empty() => {
                Self::ServiceAccount { namespace, name: name.to_owned(), groups }
            }
            _ => Self::User { name: username.to_owned(), groups },
        }
    }

    /// The namespace that the principal is of, if it is of one.
    #[must_use]
    pub fn namespace(&self) -> Option<&Namespace> {
        match self {
            Self::LocalUser { namespace, .. } | Self::ServiceAccount { namespace, .. } => Some(namespace),
            Self::Anonymous | Self::User { .. } => None,
        }
    }

    /// The user name that the API server gives, if it is the API server that knows them.
    #[must_use]
    pub fn kubernetes_user(&self) -> Option<String> {
        match self {
            Self::Anonymous | Self::LocalUser { .. } => None,
            Self::ServiceAccount { namespace, name, .. } => Some(format!("{SERVICE_ACCOUNT}{namespace}:{name}")),
            Self::User { name, .. } => Some(name.clone()),
        }
    }

    /// The groups that the API server gives.
    fn groups(&self) -> &[String] {
        match self {
            Self::Anonymous | Self::LocalUser { .. } => &[],
            Self::ServiceAccount { groups, .. } | Self::User { groups, .. } => groups,
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::LocalUser { namespace, name } => write!(f, "{namespace}/{name}"),
            Self::ServiceAccount { namespace, name, .. } => {
                write!(f, "{SERVICE_ACCOUNT}{namespace}:{}", name.escape_debug())
            }
            // The name of an identity provider's choice: nothing in it may break a line of a log or of an answer.
            Self::User { name, .. } => write!(f, "{}", name.escape_debug()),
        }
    }
}

/// Whom a policy is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Everybody, also without a credential.
    Anonymous,
    /// A user of a credential in the policy's namespace.
    LocalUser(String),
    /// A `ServiceAccount` of the policy's namespace.
    ServiceAccount(String),
    /// A user, as the API server authenticates them.
    User(String),
    /// A group, as the API server authenticates its members.
    Group(String),
}

/// The effect of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Permits what it matches.
    Allow,
    /// Forbids what it matches, whatever else permits it.
    Deny,
}

/// Selects repositories of a namespace: by name, by labels, or by both.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepositorySelector {
    /// Patterns of repository names; `None` does not restrict.
    pub names: Option<Vec<Wildcard>>,
    /// Labels that must all be present with these values; `None` does not restrict.
    pub match_labels: Option<Labels>,
}

impl RepositorySelector {
    /// Whether it selects the repository.
    #[must_use]
    pub fn matches(&self, path: &RepositoryPath, labels: &Labels) -> bool {
        let name = path.name.as_str().as_bytes();
        let by_name = self.names.as_ref().is_none_or(|names| names.iter().any(|pattern| pattern.matches(name)));
        let has = |(key, value): (&String, &String)| labels.get(key) == Some(value);
        by_name && self.match_labels.as_ref().is_none_or(|wanted| wanted.iter().all(has))
    }
}

/// One statement of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Its name in decisions.
    pub sid: String,
    /// What it does.
    pub effect: Effect,
    /// The actions it is about.
    pub actions: Vec<Action>,
    /// The repositories it is about.
    pub repositories: RepositorySelector,
    /// Patterns of full reference names; empty does not restrict.
    pub references: Vec<Wildcard>,
    /// Client networks (CIDR); empty does not restrict.
    pub source_addresses: Vec<String>,
}

/// A checked `AccessPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its namespace; it is about repositories of this namespace only.
    pub namespace: Namespace,
    /// Its name.
    pub name: String,
    /// Whom it is about.
    pub subjects: Vec<Subject>,
    /// What they may and may not do.
    pub statements: Vec<Statement>,
}

/// Which references a request is about.
#[derive(Debug, Clone, Copy)]
pub enum ReferenceScope<'a> {
    /// None: the request is about the repository as a whole.
    Whole,
    /// Any: could a push of some reference be permitted? Asked before a client has said which.
    Any,
    /// This one.
    One(&'a RefName),
}

/// A question to the policies.
#[derive(Debug, Clone, Copy)]
pub struct AccessRequest<'a> {
    /// Who.
    pub principal: &'a Principal,
    /// What.
    pub action: Action,
    /// Where.
    pub repository: &'a RepositoryPath,
    /// The repository's labels.
    pub labels: &'a Labels,
    /// Which references.
    pub reference: ReferenceScope<'a>,
    /// The client's address.
    pub source: IpAddr,
}

/// The answer, with the statement that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// A statement permits it and none forbids it.
    Allowed {
        /// The policy.
        policy: String,
        /// Its statement.
        sid: String,
    },
    /// A statement forbids it.
    ExplicitlyDenied {
        /// The policy.
        policy: String,
        /// Its statement.
        sid: String,
    },
    /// No statement permits it.
    NotAllowed,
}

impl Decision {
    /// Whether the request may go on.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }
}

/// All policies, compiled. Cheap to clone; without policies it denies everything.
#[derive(Debug, Clone, Default)]
pub struct PolicySet {
    namespaces: BTreeMap<Namespace, Arc<NamespacePolicies>>,
}

impl PolicySet {
    /// Compiles policies, all or none.
    ///
    /// # Errors
    /// The statements that Cedar refuses, such as those with a malformed network.
    pub fn compile(policies: &[Policy]) -> Result<Self, Vec<PolicyError>> {
        let mut by_namespace: BTreeMap<Namespace, Vec<&Policy>> = BTreeMap::new();
        for policy in policies {
            by_namespace.entry(policy.namespace.clone()).or_default().push(policy);
        }
        let mut errors = Vec::new();
        let mut namespaces = BTreeMap::new();
        for (namespace, policies) in by_namespace {
            match NamespacePolicies::compile(&policies) {
                Ok(compiled) => drop(namespaces.insert(namespace, Arc::new(compiled))),
                Err(mut more) => errors.append(&mut more),
            }
        }
        if errors.is_empty() { Ok(Self { namespaces }) } else { Err(errors) }
    }

    /// Decides a request.
    #[must_use]
    pub fn evaluate(&self, request: &AccessRequest<'_>) -> Decision {
        self.namespaces
            .get(&request.repository.namespace)
            .map_or(Decision::NotAllowed, |policies| policies.evaluate(request))
    }

    /// Decides a request for each of many references; references that match the same patterns are decided once.
    #[must_use]
    pub fn evaluate_references(&self, request: &AccessRequest<'_>, references: &[RefName]) -> Vec<Decision> {
        let Some(policies) = self.namespaces.get(&request.repository.namespace) else {
            return vec![Decision::NotAllowed; references.len()];
        };
        let mut decided: HashMap<Vec<usize>, Decision> = HashMap::new();
        references
            .iter()
            .map(|name| {
                let one = AccessRequest { reference: ReferenceScope::One(name), ..*request };
                decided.entry(policies.matching_references(name)).or_insert_with(|| policies.evaluate(&one)).clone()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
