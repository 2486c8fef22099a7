//! What feeds say, and what it comes to.

use model::desired::Loss;
use serde_json::{Value, json};

use super::feed::Change;
use super::*;

const EVERYWHERE: &str = "";

fn feed(watch: Watch, fields: &str) -> FeedId {
    let namespace = if watch == Watch::Secrets { "team-a" } else { EVERYWHERE };
    FeedId { watch, namespace: namespace.to_owned(), fields: fields.to_owned() }
}

/// An object of team-a; `version` is its generation and resource version.
fn object(kind: &str, name: &str, version: i64, spec: &Value) -> Value {
    json!({"apiVersion": "codekeep.dev/v1alpha1", "kind": kind, "spec": spec,
        "metadata": {"name": name, "namespace": "team-a", "uid": name, "generation": version,
            "resourceVersion": version.to_string(), "creationTimestamp": "2026-01-01T00:00:00Z"}})
}

fn credential(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "type": crds::GIT_CREDENTIAL, "stringData": {"user": "alice", "password": "a-long-random-one"},
        "metadata": {"name": name, "namespace": "team-a", "uid": name, "resourceVersion": "1"}})
}

fn grant() -> Value {
    json!({"kind": "RoleBinding", "metadata": {"name": crds::CREDENTIALS_GRANT, "namespace": "team-a", "resourceVersion": "1"}})
}

fn scope() -> Scope {
    Scope {
        stores: vec!["default".to_owned(), "far".to_owned()],
        replication: BTreeMap::new(),
        own_buckets: false,
        cluster_domain: Some("cluster.local".to_owned()),
        secrets: true,
    }
}

struct Bed(Objects);

impl Bed {
    fn new() -> Self {
        let mut objects = Objects::default();
        for watch in [Watch::Repositories, Watch::AccessPolicies, Watch::NotificationRules, Watch::RoleBindings] {
            objects.open(feed(watch, ""));
            objects.apply(FeedEvent { feed: feed(watch, ""), change: Change::ListBegun });
            objects.apply(FeedEvent { feed: feed(watch, ""), change: Change::ListDone });
        }
        Self(objects)
    }

    fn say(&mut self, watch: Watch, change: Change) {
        self.0.apply(FeedEvent { feed: feed(watch, ""), change });
    }

    fn view(&self) -> View {
        self.0.view(&scope(), false)
    }

    fn in_effect(&self, kind: &str, name: &str) -> Option<i64> {
        self.view().resources.get(&ObjectKey::new(kind, "team-a", name)).and_then(|observed| observed.in_effect)
    }
}

#[test]
fn nothing_is_complete_before_every_list_is() {
    let mut objects = Objects::default();
    objects.open(feed(Watch::Repositories, ""));
    assert!(!objects.is_complete());
    objects.apply(FeedEvent { feed: feed(Watch::Repositories, ""), change: Change::ListBegun });
    assert!(!objects.is_complete());
    objects.apply(FeedEvent { feed: feed(Watch::Repositories, ""), change: Change::ListDone });
    assert!(objects.is_complete());
    objects.open(feed(Watch::Secrets, "type=x"));
    assert!(!objects.is_complete());
    // One that is refused is known to be; others must not wait for it.
    objects.apply(FeedEvent { feed: feed(Watch::Secrets, "type=x"), change: Change::Failed("forbidden".to_owned()) });
    assert!(objects.is_complete());
}

#[test]
fn a_list_replaces_what_was_there_and_only_when_it_is_complete() {
    let mut bed = Bed::new();
    bed.say(Watch::Repositories, Change::Applied(object("Repository", "old", 1, &json!({}))));
    bed.say(Watch::Repositories, Change::ListBegun);
    bed.say(Watch::Repositories, Change::Listed(object("Repository", "new", 1, &json!({}))));
    assert_eq!((bed.in_effect("Repository", "old"), bed.in_effect("Repository", "new")), (Some(1), None));
    bed.say(Watch::Repositories, Change::ListDone);
    assert_eq!((bed.in_effect("Repository", "old"), bed.in_effect("Repository", "new")), (None, Some(1)));
}

#[test]
fn a_version_that_turned_bad_leaves_the_last_good_one_in_effect() {
    let mut bed = Bed::new();
    bed.say(Watch::Repositories, Change::Applied(object("Repository", "hello", 1, &json!({}))));
    bed.say(Watch::Repositories, Change::Applied(object("Repository", "hello", 2, &json!({"defaultBranch": "a b"}))));
    assert_eq!(bed.in_effect("Repository", "hello"), Some(1));
    let view = bed.view();
    let observed = &view.resources[&ObjectKey::new("Repository", "team-a", "hello")];
    assert_eq!(observed.generation, 2);
    assert_eq!(observed.problems[0].reason, "InvalidSpec");
    // The same name with another life is another resource.
    let mut other = object("Repository", "hello", 3, &json!({"defaultBranch": "a b"}));
    other["metadata"]["uid"] = json!("other");
    bed.say(Watch::Repositories, Change::Applied(other));
    assert_eq!(bed.in_effect("Repository", "hello"), None);
}

#[test]
fn a_repository_that_is_being_deleted_is_not_served() {
    let mut bed = Bed::new();
    let mut leaving = object("Repository", "hello", 1, &json!({}));
    bed.say(Watch::Repositories, Change::Applied(leaving.clone()));
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    leaving["metadata"]["resourceVersion"] = json!("2");
    bed.say(Watch::Repositories, Change::Applied(leaving));
    assert!(bed.view().desired.repositories.is_empty());
}

#[test]
fn of_two_repositories_of_one_name_the_older_one_has_it_until_it_is_gone() {
    let mut bed = Bed::new();
    let mut younger = object("Repository", "a-younger", 1, &json!({"repositoryName": "hello"}));
    younger["metadata"]["creationTimestamp"] = json!("2026-01-02T00:00:00Z");
    let older = object("Repository", "hello", 1, &json!({}));
    bed.say(Watch::Repositories, Change::Applied(younger));
    bed.say(Watch::Repositories, Change::Applied(older.clone()));
    let view = bed.view();
    let refused = &view.resources[&ObjectKey::new("Repository", "team-a", "a-younger")];
    assert_eq!((refused.in_effect, refused.problems[0].reason), (None, "NameConflict"));
    bed.say(Watch::Repositories, Change::Deleted(older));
    assert_eq!(bed.in_effect("Repository", "a-younger"), Some(1));
}

#[test]
fn secrets_are_wanted_only_where_they_are_granted_and_used() {
    let mut bed = Bed::new();
    assert!(bed.0.wanted_secrets().is_empty());
    bed.say(Watch::Repositories, Change::Applied(object("Repository", "hello", 1, &json!({}))));
    assert!(bed.0.wanted_secrets().is_empty(), "not granted");
    bed.say(Watch::RoleBindings, Change::Applied(grant()));
    let credentials = feed(Watch::Secrets, &format!("type={}", crds::GIT_CREDENTIAL));
    let keys = feed(Watch::Secrets, &format!("type={}", crds::SSH_KEY));
    assert_eq!(bed.0.wanted_secrets(), BTreeSet::from([credentials.clone(), keys.clone()]));
    let webhook = json!({"url": "https://ci.example.com/", "signingSecretRef": {"name": "hook-key", "key": "key"}});
    let rule = json!({"repositories": {"names": ["*"]}, "eventTypes": ["codecommit-repository-branches-and-tags-created"],
        "targets": [{"name": "ci", "webhook": webhook}]});
    bed.say(Watch::NotificationRules, Change::Applied(object("NotificationRule", "tell-ci", 1, &rule)));
    let signing = feed(Watch::Secrets, "metadata.name=hook-key");
    assert_eq!(bed.0.wanted_secrets(), BTreeSet::from([credentials.clone(), keys, signing]));

    bed.0.open(credentials.clone());
    bed.0.apply(FeedEvent { feed: credentials.clone(), change: Change::Applied(credential("alice-git")) });
    assert_eq!(bed.view().desired.credentials.len(), 1);
    bed.say(Watch::RoleBindings, Change::Deleted(grant()));
    assert!(bed.0.wanted_secrets().is_empty());
    bed.0.close(&credentials);
    assert!(bed.view().desired.credentials.is_empty(), "a grant that is taken back takes effect");
}

#[test]
fn a_snapshot_says_the_same_as_what_it_was_made_from() {
    let mut bed = Bed::new();
    bed.say(Watch::Repositories, Change::Applied(object("Repository", "hello", 1, &json!({}))));
    let credentials = feed(Watch::Secrets, "type=x");
    bed.0.open(credentials.clone());
    bed.0.apply(FeedEvent { feed: credentials, change: Change::Applied(credential("alice-git")) });
    let mut restored = Objects::default();
    restored.restore(bed.0.documents().iter().map(|document| Value::clone(document)).collect());
    let (was, is) = (bed.view().desired, restored.view(&scope(), true).desired);
    assert_eq!(was.repositories, is.repositories);
    assert_eq!(was.credentials, is.credentials);
}

#[test]
fn pods_of_one_repository_learn_about_their_namespace_only() {
    let mut bed = Bed::new();
    bed.say(Watch::Repositories, Change::Applied(object("Repository", "hello", 1, &json!({}))));
    bed.say(Watch::Repositories, Change::Applied(object("Repository", "secret", 1, &json!({}))));
    let mut foreign = object("Repository", "hello", 1, &json!({}));
    foreign["metadata"]["namespace"] = json!("team-b");
    bed.say(Watch::Repositories, Change::Applied(foreign));
    let documents = bed.view().documents_for("team-a", "hello");
    let names: Vec<String> =
        documents.iter().map(|one| format!("{}/{}", one["metadata"]["namespace"], one["metadata"]["name"])).collect();
    assert_eq!(names, [r#""team-a"/"hello""#]);
}

#[test]
fn a_bucket_of_its_own_is_for_its_own_pods() {
    let spec = json!({"serving": {"mode": "Dedicated", "dedicated": {"storage": {"url": "s3://own-bucket"}}}});
    let mut bed = Bed::new();
    bed.say(Watch::Repositories, Change::Applied(object("Repository", "hello", 1, &spec)));
    assert!(bed.view().desired.repositories.is_empty(), "the pool has no way to that bucket");
    assert_eq!(bed.in_effect("Repository", "hello"), Some(1));
    let own = Scope { own_buckets: true, ..scope() };
    assert_eq!(bed.0.view(&own, false).desired.repositories.len(), 1);
}

#[test]
fn replication_is_the_resources_or_the_default_of_its_store() {
    let mut bed = Bed::new();
    bed.say(Watch::Repositories, Change::Applied(object("Repository", "plain", 1, &json!({}))));
    let spec = json!({"replication": {"mode": "Synchronous", "stores": ["far", "fra"], "quorum": 2, "primary": "far"}});
    let mut own = object("Repository", "own", 1, &spec);
    own["metadata"]["annotations"] = json!({"codekeep.dev/accept-loss": "own"});
    bed.say(Watch::Repositories, Change::Applied(own));
    let spec = json!({"serving": {"mode": "Dedicated", "dedicated": {"storage": {"url": "s3://own-bucket"}}}});
    bed.say(Watch::Repositories, Change::Applied(object("Repository", "bucket", 1, &spec)));
    let default: Arc<Replication> = Arc::new("Asynchronous:far".parse().unwrap());
    let scope =
        Scope { own_buckets: true, replication: [("default".to_owned(), Arc::clone(&default))].into(), ..scope() };
    let view = bed.0.view(&scope, false);
    let of = |name: &str| view.desired.repositories[&format!("team-a/{name}").parse().unwrap()].replication.clone();
    assert_eq!((of("plain"), of("bucket")), (Some(default), None));
    let own = of("own").unwrap();
    assert_eq!((own.to_string().as_str(), own.primary.as_deref()), ("Synchronous:far+fra:2", Some("far")));
    let loss = |name: &str| view.desired.repositories[&format!("team-a/{name}").parse().unwrap()].loss;
    assert_eq!((loss("plain"), loss("own")), (Loss::Refused, Loss::Accepted));
    // A name that is no store's is told, and the repository served.
    let problems: Vec<String> = view.problems.iter().map(ToString::to_string).collect();
    let told =
        "team-a/Repository/own: warning: spec.replication.stores[1]: there is no store 'fra' here; did you mean far?";
    assert_eq!(problems, [told]);
    assert_eq!(view.problems[0].reason, "UnknownStore");
    assert_eq!(bed.in_effect("Repository", "own"), Some(1));
}
