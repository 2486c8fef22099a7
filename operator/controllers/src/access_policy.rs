//! What an `AccessPolicy` means, and whether the git servers enforce one.

pub(crate) mod reconcile;

use model::policy::{Action, Effect, Labels, Policy, PolicySet, RepositorySelector, Statement, Subject, Wildcard};
use model::{Namespace, RepositoryPath};
use serde_json::Value;

use crate::problem::Finding;

/// The policy that a resource describes, or what its schema could not see.
pub(crate) fn policy(resource: &crds::AccessPolicy, namespace: &Namespace) -> Result<Policy, Vec<Finding>> {
    let policy = Policy {
        namespace: namespace.clone(),
        name: resource.metadata.name.clone().unwrap_or_default(),
        subjects: resource.spec.subjects.iter().map(subject).collect(),
        statements: resource.spec.statements.iter().map(statement).collect(),
    };
    match PolicySet::compile(std::slice::from_ref(&policy)) {
        Ok(_) => Ok(policy),
        Err(errors) => Err(errors
            .into_iter()
            .map(|error| {
                let index =
                    policy.statements.iter().position(|statement| statement.sid == error.sid).unwrap_or_default();
                Finding::error(format!("spec.statements[{index}]"), error.reason)
            })
            .collect()),
    }
}

fn subject(subject: &crds::Subject) -> Subject {
    let name = subject.name.clone();
    match subject.kind {
        crds::SubjectKind::Anonymous => Subject::Anonymous,
        crds::SubjectKind::LocalUser => Subject::LocalUser(name),
        crds::SubjectKind::ServiceAccount => Subject::ServiceAccount(name),
        crds::SubjectKind::User => Subject::User(name),
        crds::SubjectKind::Group => Subject::Group(name),
    }
}

/// Whether a policy has a statement about the repository.
pub(crate) fn speaks_of(document: &Value, path: &RepositoryPath, labels: &Labels) -> bool {
    let Ok(policy) = serde_json::from_value::<crds::AccessPolicy>(document.clone()) else { return false };
    policy.spec.statements.iter().any(|statement| selector(&statement.repositories).matches(path, labels))
}

fn statement(statement: &crds::Statement) -> Statement {
    let conditions = statement.conditions.clone().unwrap_or_default();
    Statement {
        sid: statement.sid.clone(),
        effect: match statement.effect {
            crds::Effect::Allow => Effect::Allow,
            crds::Effect::Deny => Effect::Deny,
        },
        actions: Action::ALL
            .into_iter()
            .filter(|action| statement.actions.iter().any(|text| names(text, *action)))
            .collect(),
        repositories: selector(&statement.repositories),
        references: wildcards(conditions.references.as_deref().unwrap_or_default()),
        source_addresses: conditions.source_addresses.unwrap_or_default(),
    }
}

fn names(text: &str, action: Action) -> bool {
    Wildcard::new(text).matches(action.as_str().as_bytes())
}

/// The repositories that a policy or rule is about.
pub(crate) fn selector(selector: &crds::RepositorySelector) -> RepositorySelector {
    RepositorySelector {
        names: selector.names.as_deref().map(wildcards),
        match_labels: selector.selector.as_ref().map(|selector| selector.match_labels.clone()),
    }
}

/// The patterns of these texts.
pub(crate) fn wildcards(texts: &[String]) -> Vec<Wildcard> {
    texts.iter().map(Wildcard::new).collect()
}
