//! Which events a notification rule selects, and where they go.

use url::Url;

use crate::RepositoryPath;
use crate::event::{EventType, ReferenceEvent};
use crate::name::Namespace;
use crate::policy::{Labels, RepositorySelector, Wildcard};
use crate::secret::SecretString;

/// A checked notification rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its namespace; it selects repositories of this namespace only.
    pub namespace: Namespace,
    /// Its name.
    pub name: String,
    /// The repositories it selects.
    pub repositories: RepositorySelector,
    /// The event types it selects.
    pub event_types: Vec<EventType>,
    /// Branches and tags by short name; empty selects all.
    pub branches: Vec<Wildcard>,
    /// Where the events go.
    pub targets: Vec<Target>,
}

/// A receiver of events over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name, unique within the rule.
    pub name: String,
    /// Where to post.
    pub url: Url,
    /// The Service of the rule's own namespace that it names: that one is reached, whatever the name resolves to.
    pub service: Option<String>,
    /// Key of the signature; requests are unsigned without one.
    pub signing_key: Option<SecretString>,
}

impl Rule {
    /// Whether the rule is about this repository.
    #[must_use]
    pub fn selects(&self, path: &RepositoryPath, labels: &Labels) -> bool {
        self.namespace == path.namespace && self.repositories.matches(path, labels)
    }

    /// Whether the rule wants this event of a repository that it selects.
    #[must_use]
    pub fn wants(&self, event: &ReferenceEvent) -> bool {
        let typed = EventType::of(event).is_some_and(|kind| self.event_types.contains(&kind));
        let short = event.reference.short();
        typed && (self.branches.is_empty() || self.branches.iter().any(|branch| branch.matches(short)))
    }
}
