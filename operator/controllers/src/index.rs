//! What good resources mean together: one [`DesiredState`], and what is wrong between them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use model::Namespace;
use model::desired::{Credential, DesiredState, RepositoryConfig, SshCredential};
use model::policy::{Policy, PolicySet, Subject};
use model::replication::Replication;

use crate::manifest::{Holds, Id, Manifest, Resource};
use crate::problem::{Finding, Problem, did_you_mean};
use crate::secret::Secret;
use crate::{notification_rule, repository};

/// The outcome.
pub(crate) struct Indexed {
    pub(crate) desired: DesiredState,
    /// What took effect.
    pub(crate) accepted: BTreeMap<Id, Arc<Manifest>>,
    pub(crate) problems: Vec<Problem>,
}

/// Which repositories are served here.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// The stores that are there, by name.
    pub(crate) stores: Vec<String>,
    /// How repositories of a store are replicated that do not say, by its name.
    pub(crate) replication: BTreeMap<String, Arc<Replication>>,
    /// Whether repositories with a bucket of their own are served: by pods of their own they are.
    pub(crate) own_buckets: bool,
    /// The cluster's DNS domain; without a cluster there are no Services.
    pub(crate) cluster_domain: Option<String>,
    /// Whether Secrets are among the resources; without them no rule can be complete.
    pub(crate) secrets: bool,
}

impl Scope {
    /// That a store is not there, and which one may be meant.
    pub(crate) fn no_such_store(&self, name: &str) -> String {
        let hint = did_you_mean(name, self.stores.iter().map(String::as_str));
        format!("there is no store '{name}' here{hint}")
    }
}

/// The reason of a name that is no store's.
pub(crate) const UNKNOWN_STORE: &str = "UnknownStore";

/// Joins resources. Where two want the same thing the earlier one of the list has it.
pub(crate) fn index(manifests: &[Arc<Manifest>], scope: &Scope) -> Indexed {
    let mut index = Index { scope, accepted: BTreeMap::new(), problems: vec![], desired: DesiredState::default() };
    for manifest in manifests {
        match index.accepted.entry(manifest.id.clone()) {
            Entry::Vacant(entry) => drop(entry.insert(Arc::clone(manifest))),
            Entry::Occupied(entry) => {
                let message = format!("{} is there twice, also in {}; remove one", manifest.id, place(entry.get()));
                index.problems.push(manifest.origin.problem(Finding::error("metadata.name", message)));
            }
        }
    }
    // In the order of the list, not of the names: the earlier one wins.
    let kept: Vec<&Arc<Manifest>> =
        manifests.iter().filter(|one| index.accepted.get(&one.id).is_some_and(|kept| Arc::ptr_eq(kept, one))).collect();
    index.add_repositories(&kept);
    index.add_credentials(&kept);
    index.add_ssh_keys(&kept);
    index.add_policies(&kept);
    index.add_rules(&kept);
    Indexed { desired: index.desired, accepted: index.accepted, problems: index.problems }
}

struct Index<'a> {
    scope: &'a Scope,
    accepted: BTreeMap<Id, Arc<Manifest>>,
    problems: Vec<Problem>,
    desired: DesiredState,
}

impl Index<'_> {
    fn refuse(&mut self, manifest: &Manifest, finding: Finding) {
        self.problems.push(manifest.origin.problem(finding));
        self.accepted.remove(&manifest.id);
    }

    fn add_repositories(&mut self, manifests: &[&Arc<Manifest>]) {
        let mut owners: BTreeMap<_, &Manifest> = BTreeMap::new();
        let secrets = Secrets::among(manifests);
        for manifest in manifests {
            let Resource::Repository { config, envelope } = &manifest.resource else { continue };
            if let Some(finding) = self.unknown_store(config) {
                self.refuse(manifest, finding);
            } else if let Some(owner) = owners.get(&config.path) {
                let message =
                    format!("{} is the name of {} already, {}; choose another", config.path, owner.id, place(owner));
                self.refuse(manifest, Finding::error("spec.repositoryName", message).because("NameConflict"));
            } else {
                owners.insert(&config.path, manifest);
                if config.own_bucket && !self.scope.own_buckets {
                    continue;
                }
                let mut config = Arc::clone(config);
                let (replication, findings) = repository::replication::settled(&config, self.scope);
                self.problems.extend(findings.into_iter().map(|finding| manifest.origin.problem(finding)));
                if config.replication != replication {
                    Arc::make_mut(&mut config).replication = replication;
                }
                if let Some(envelope) = envelope.as_ref().filter(|_| self.scope.secrets) {
                    let named = envelope.secret_key_ref.as_ref().map(|reference| reference.name.as_str());
                    let secret = named.and_then(|name| secrets.get(&manifest.id.namespace, name));
                    let (envelope, findings) = repository::encryption::with_secret(envelope, secret);
                    self.problems.extend(findings.into_iter().map(|finding| manifest.origin.problem(finding)));
                    Arc::make_mut(&mut config).encryption.envelope = Some(envelope);
                }
                self.desired.repositories.insert(config.path.clone(), config);
            }
        }
    }

    fn unknown_store(&self, config: &RepositoryConfig) -> Option<Finding> {
        let is_known = config.own_bucket || self.scope.stores.contains(&config.store);
        (!is_known)
            .then(|| Finding::error("spec.store", self.scope.no_such_store(&config.store)).because(UNKNOWN_STORE))
    }

    fn add_credentials(&mut self, manifests: &[&Arc<Manifest>]) {
        let mut owners: BTreeMap<_, (&Credential, &Manifest)> = BTreeMap::new();
        for manifest in manifests {
            let Resource::Secret { holds: Holds::Credential(credential), .. } = &manifest.resource else { continue };
            let key = (credential.namespace.clone(), credential.username.clone());
            // Two passwords for one user are how a password is changed without a pause; two users would be a riddle.
            match owners.get(&key) {
                Some((owner, first)) if owner.user != credential.user => {
                    let message =
                        format!("another user signs in by the same name, {}; choose another username", place(first));
                    self.refuse(manifest, Finding::error("metadata.name", message));
                    continue;
                }
                _ => drop(owners.insert(key, (credential, manifest))),
            }
            self.desired.credentials.entry(credential.namespace.clone()).or_default().push(Arc::clone(credential));
        }
    }

    fn add_ssh_keys(&mut self, manifests: &[&Arc<Manifest>]) {
        for manifest in manifests {
            let Resource::Secret { holds: Holds::SshKeys(credential), .. } = &manifest.resource else { continue };
            let SshCredential { namespace, user, keys, .. } = &**credential;
            for key in keys {
                if let Err(owner) = self.desired.ssh_keys.add(key, namespace, user) {
                    // The others count: whose they are is no riddle.
                    let key = key.fingerprint();
                    let message = format!("the key {key} is user {owner}'s already; each user needs keys of their own");
                    self.problems.push(manifest.origin.problem(Finding::error("metadata.name", message)));
                }
            }
        }
    }

    /// Without a cluster nobody says who the user of a token is.
    fn warn_of_tokens(&mut self, policy: &Policy, manifest: &Manifest) {
        if self.scope.cluster_domain.is_some() {
            return;
        }
        for (index, subject) in policy.subjects.iter().enumerate() {
            if matches!(subject, Subject::ServiceAccount(_) | Subject::User(_) | Subject::Group(_)) {
                let message = "never matches without a cluster, whose API server would have to say who it is";
                let finding = Finding::warning(format!("spec.subjects[{index}]"), message);
                self.problems.push(manifest.origin.problem(finding));
            }
        }
    }

    fn add_policies(&mut self, manifests: &[&Arc<Manifest>]) {
        let mut policies: Vec<(&Policy, &Manifest)> = manifests
            .iter()
            .filter_map(|manifest| match &manifest.resource {
                Resource::AccessPolicy(policy) => Some((policy, &***manifest)),
                _ => None,
            })
            .collect();
        for (policy, manifest) in &policies {
            self.warn_of_tokens(policy, manifest);
        }
        loop {
            let all: Vec<Policy> = policies.iter().map(|(policy, _)| (*policy).clone()).collect();
            let errors = match PolicySet::compile(&all) {
                Ok(compiled) => {
                    self.desired.policies = compiled;
                    return;
                }
                Err(errors) => errors,
            };
            // Each compiled by itself, so this does not happen; if it does, those that are good still count.
            let before = policies.len();
            for error in errors {
                let is_bad = |(policy, _): &(&Policy, &Manifest)| policy.name == error.policy;
                for (_, manifest) in policies.extract_if(.., |policy| is_bad(policy)) {
                    self.refuse(manifest, Finding::error("spec.statements", error.reason.clone()));
                }
            }
            if policies.len() == before {
                return;
            }
        }
    }

    fn add_rules(&mut self, manifests: &[&Arc<Manifest>]) {
        if !self.scope.secrets {
            return;
        }
        let secrets = Secrets::among(manifests);
        for manifest in manifests {
            let Resource::NotificationRule(resource) = &manifest.resource else { continue };
            let namespace = &manifest.id.namespace;
            let find = |name: &str| secrets.get(namespace, name);
            match notification_rule::rule(resource, namespace, self.scope.cluster_domain.as_deref(), &find) {
                Ok(rule) => self.desired.rules.push(Arc::new(rule)),
                Err(findings) => findings.into_iter().for_each(|finding| self.refuse(manifest, finding)),
            }
        }
    }
}

/// Secrets by namespace and name.
struct Secrets<'a>(BTreeMap<(&'a str, &'a str), &'a Secret>);

impl<'a> Secrets<'a> {
    fn among(manifests: &[&'a Arc<Manifest>]) -> Self {
        let secrets = manifests.iter().filter_map(|manifest| match &manifest.resource {
            Resource::Secret { secret, .. } => {
                Some(((manifest.id.namespace.as_str(), manifest.id.name.as_str()), secret))
            }
            _ => None,
        });
        Self(secrets.collect())
    }

    fn get(&self, namespace: &Namespace, name: &str) -> Option<&'a Secret> {
        self.0.get(&(namespace.as_str(), name)).copied()
    }
}

/// Where a document is: `file:line`, or the object itself in a cluster.
fn place(manifest: &Manifest) -> String {
    manifest.origin.place()
}
