//! What the feeds said so far, each object checked once, and the state that it all makes. Pure: no I/O, no time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use model::desired::DesiredState;
use serde_json::Value;

use super::feed::{Change, FeedEvent, FeedId, Watch};
use crate::index::{Scope, index};
use crate::manifest::{self, Manifest, Resource};
use crate::problem::{Problem, Severity};

/// What an object is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// The key of an object of this kind, namespace and name.
    pub fn new(kind: impl Into<String>, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }

    fn of(document: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &document["metadata"];
        Self::new(text(&document["kind"]), text(&metadata["namespace"]), text(&metadata["name"]))
    }

    /// What problems of the object are filed under.
    fn file(&self) -> PathBuf {
        PathBuf::from(format!("{}/{}/{}", self.namespace, self.kind, self.name))
    }
}

/// One consistent look at a cluster.
#[derive(Debug, Default)]
pub struct View {
    /// What the servers have to enforce.
    pub desired: Arc<DesiredState>,
    /// Resources of our kinds, good and bad.
    pub resources: BTreeMap<ObjectKey, Observed>,
    /// What is wrong, of every object.
    pub problems: Vec<Problem>,
    /// Namespaces whose credentials may be read.
    pub granted: BTreeSet<String>,
    /// Secrets by namespace and name, of the namespaces that may be read.
    pub(crate) secrets: BTreeMap<ObjectKey, Arc<Value>>,
    /// Why some feed says nothing new, by feed.
    pub failures: BTreeMap<String, String>,
    /// Whether everything was listed once; before, nothing is known.
    pub is_known: bool,
    /// Whether it was made from the last snapshot because the API server does not answer.
    pub is_stale: bool,
}

impl View {
    /// Everything that the pods of one Repository need: it, what governs it, and the Secrets of its namespace.
    #[must_use]
    pub fn documents_for(&self, namespace: &str, repository: &str) -> Vec<Arc<Value>> {
        let own = self.resources.get(&ObjectKey::new("Repository", namespace, repository)).map(|own| &own.document);
        let others = ["AccessPolicy", "NotificationRule"];
        let others =
            others.iter().flat_map(|kind| self.of_namespace(kind, namespace)).map(|(_, found)| &found.document);
        let secrets = self.secrets.iter().filter(|(key, _)| key.namespace == namespace).map(|(_, secret)| secret);
        own.into_iter().chain(others).chain(secrets).cloned().collect()
    }

    /// The resources of a kind in a namespace.
    pub fn of_namespace<'a>(
        &'a self,
        kind: &'a str,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a Observed)> {
        let first = ObjectKey::new(kind, namespace, "");
        let same = move |(key, _): &(&ObjectKey, &Observed)| key.kind == kind && key.namespace == namespace;
        self.resources.range(first..).take_while(same)
    }
}

/// A resource as the API server holds it.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The resource, without status.
    pub document: Arc<Value>,
    /// Its `metadata.generation`.
    pub generation: i64,
    /// The generation that is in effect, if one is.
    pub in_effect: Option<i64>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

/// What the feeds said so far.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    feeds: BTreeMap<FeedId, Feed>,
}

#[derive(Debug, Default)]
struct Feed {
    is_listed: bool,
    listing: Option<BTreeMap<ObjectKey, Entry>>,
    entries: BTreeMap<ObjectKey, Entry>,
    failure: Option<String>,
}

#[derive(Debug, Clone)]
struct Entry {
    document: Arc<Value>,
    problems: Vec<Problem>,
    /// The manifest in effect with its generation: of the last version of the object that was good.
    good: Option<(i64, Arc<Manifest>)>,
}

impl Objects {
    /// Makes room for a feed, which counts as silent until its first list is complete.
    pub(crate) fn open(&mut self, feed: FeedId) {
        self.feeds.entry(feed).or_default();
    }

    /// Forgets a feed and everything that it said.
    pub(crate) fn close(&mut self, feed: &FeedId) {
        self.feeds.remove(feed);
    }

    /// Whether every feed has listed once, or was refused, which then is known.
    pub(crate) fn is_complete(&self) -> bool {
        let refused = |id: &FeedId, feed: &Feed| id.watch == Watch::Secrets && feed.failure.is_some();
        self.feeds.iter().all(|(id, feed)| feed.is_listed || refused(id, feed))
    }

    /// Takes in what a feed said.
    pub(crate) fn apply(&mut self, event: FeedEvent) {
        let Some(feed) = self.feeds.get_mut(&event.feed) else { return };
        let watch = event.feed.watch;
        match event.change {
            Change::ListBegun => feed.listing = Some(BTreeMap::new()),
            Change::Listed(document) => {
                let (key, entry) = feed.entry(watch, document);
                if let Some(listing) = &mut feed.listing {
                    listing.insert(key, entry);
                }
            }
            Change::ListDone => {
                feed.entries = feed.listing.take().unwrap_or_default();
                (feed.is_listed, feed.failure) = (true, None);
            }
            Change::Applied(document) => {
                let (key, entry) = feed.entry(watch, document);
                feed.entries.insert(key, entry);
                feed.failure = None;
            }
            Change::Deleted(document) => drop(feed.entries.remove(&ObjectKey::of(&document))),
            Change::Failed(reason) => feed.failure = Some(reason),
        }
    }

    /// The feeds of Secrets that the state asks for: credentials of namespaces that granted them and have a Repository, the
    /// encryption keys of these, and the signing Secrets that rules name.
    pub(crate) fn wanted_secrets(&self) -> BTreeSet<FeedId> {
        let granted = self.granted();
        let mut wanted = BTreeSet::new();
        for (key, entry) in self.entries() {
            if !granted.contains(&key.namespace) {
                continue;
            }
            let mut want = |fields: String| {
                wanted.insert(FeedId { watch: Watch::Secrets, namespace: key.namespace.clone(), fields });
            };
            match entry.good.as_ref().map(|(_, manifest)| &manifest.resource) {
                Some(Resource::Repository { envelope, .. }) => {
                    want(format!("type={}", crds::GIT_CREDENTIAL));
                    want(format!("type={}", crds::SSH_KEY));
                    let reference = envelope.as_ref().and_then(|envelope| envelope.secret_key_ref.as_ref());
                    if let Some(reference) = reference {
                        want(format!("metadata.name={}", reference.name));
                    }
                }
                Some(Resource::NotificationRule(rule)) => {
                    let webhooks = rule.spec.targets.iter().filter_map(|target| target.webhook.as_ref());
                    let references = webhooks.filter_map(|webhook| webhook.signing_secret_ref.as_ref());
                    references.for_each(|reference| want(format!("metadata.name={}", reference.name)));
                }
                _ => {}
            }
        }
        wanted
    }

    /// The feeds of Secrets that are open.
    pub(crate) fn open_secrets(&self) -> BTreeSet<FeedId> {
        self.feeds.keys().filter(|feed| feed.watch == Watch::Secrets).cloned().collect()
    }

    /// Every object but grants, for a snapshot.
    pub(crate) fn documents(&self) -> Vec<Arc<Value>> {
        self.entries().map(|(_, entry)| Arc::clone(&entry.document)).collect()
    }

    /// Takes in the documents of a snapshot, each as the feed of its kind would have said it.
    pub(crate) fn restore(&mut self, documents: Vec<Value>) {
        for document in documents {
            let watch = match document["kind"].as_str() {
                Some("Repository") => Watch::Repositories,
                Some("AccessPolicy") => Watch::AccessPolicies,
                Some("NotificationRule") => Watch::NotificationRules,
                _ => Watch::Secrets,
            };
            let feed = FeedId { watch, namespace: String::new(), fields: String::new() };
            self.open(feed.clone());
            self.apply(FeedEvent { feed, change: Change::Applied(document) });
        }
    }

    /// What all of it means.
    pub(crate) fn view(&self, scope: &Scope, is_stale: bool) -> View {
        // Two feeds may hold the same Secret: a credential that a rule signs with.
        let all: BTreeMap<&ObjectKey, &Entry> = self.entries().collect();
        let mut manifests: Vec<(&str, Arc<Manifest>)> = all
            .values()
            .filter_map(|entry| entry.good.as_ref().map(|(_, manifest)| (entry.created(), Arc::clone(manifest))))
            .collect();
        // Who was there first keeps what another one wants too, on every server.
        manifests.sort_by(|(created, one), (later, other)| (created, &one.id).cmp(&(later, &other.id)));
        let manifests: Vec<Arc<Manifest>> = manifests.into_iter().map(|(_, manifest)| manifest).collect();
        let indexed = index(&manifests, scope);
        let mut problems: Vec<Problem> = all.values().flat_map(|entry| entry.problems.iter().cloned()).collect();
        problems.extend(indexed.problems);
        problems.sort();
        problems.dedup();
        let mut by_file: BTreeMap<PathBuf, Vec<Problem>> = BTreeMap::new();
        for problem in &problems {
            by_file.entry(problem.file.clone()).or_default().push(problem.clone());
        }
        let (mut resources, mut secrets) = (BTreeMap::new(), BTreeMap::new());
        for (key, entry) in all {
            if key.kind == "Secret" {
                secrets.insert(key.clone(), Arc::clone(&entry.document));
                continue;
            }
            let is_in_effect = |(_, manifest): &&(i64, Arc<Manifest>)| indexed.accepted.contains_key(&manifest.id);
            resources.insert(
                key.clone(),
                Observed {
                    document: Arc::clone(&entry.document),
                    generation: generation(&entry.document),
                    in_effect: entry.good.as_ref().filter(is_in_effect).map(|(generation, _)| *generation),
                    problems: by_file.remove(&key.file()).unwrap_or_default(),
                },
            );
        }
        let failures = self.feeds.iter().filter_map(|(id, feed)| Some((id.to_string(), feed.failure.clone()?)));
        View {
            desired: Arc::new(indexed.desired),
            resources,
            problems,
            granted: self.granted(),
            secrets,
            failures: failures.collect(),
            is_known: true,
            is_stale,
        }
    }

    fn granted(&self) -> BTreeSet<String> {
        let grants = self.feeds.iter().filter(|(id, _)| id.watch == Watch::RoleBindings);
        grants.flat_map(|(_, feed)| feed.entries.keys().map(|key| key.namespace.clone())).collect()
    }

    /// Every object but grants.
    fn entries(&self) -> impl Iterator<Item = (&ObjectKey, &Entry)> {
        let objects = self.feeds.iter().filter(|(id, _)| id.watch != Watch::RoleBindings);
        objects.flat_map(|(_, feed)| feed.entries.iter())
    }
}

impl Feed {
    /// The object, checked unless this very version was checked before.
    fn entry(&self, watch: Watch, document: Value) -> (ObjectKey, Entry) {
        let key = ObjectKey::of(&document);
        let before = self.entries.get(&key);
        let version = |document: &Value| document["metadata"]["resourceVersion"].clone();
        if let Some(before) = before.filter(|before| version(&before.document) == version(&document)) {
            return (key, before.clone());
        }
        if watch == Watch::RoleBindings {
            return (key, Entry { document: Arc::new(Value::Null), problems: vec![], good: None });
        }
        let (manifest, problems) = manifest::read_object(key.file(), &document);
        let is_bad = problems.iter().any(|problem| problem.severity == Severity::Error);
        let is_going = !document["metadata"]["deletionTimestamp"].is_null();
        let good = match manifest {
            _ if is_going => None,
            Some(manifest) if !is_bad => Some((generation(&document), Arc::new(manifest))),
            // A mistake must never look like a deletion. One that is deleted and made anew is another object.
            _ => before
                .filter(|before| before.document["metadata"]["uid"] == document["metadata"]["uid"])
                .and_then(|before| before.good.clone()),
        };
        (key, Entry { document: Arc::new(document), problems, good })
    }
}

impl Entry {
    fn created(&self) -> &str {
        self.document["metadata"]["creationTimestamp"].as_str().unwrap_or_default()
    }
}

fn generation(document: &Value) -> i64 {
    document["metadata"]["generation"].as_i64().unwrap_or_default()
}
