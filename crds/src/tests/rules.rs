//! Each rule with something that it refuses; what it does not refuse are the samples.

use std::collections::BTreeSet;

use kube::core::cel::{ErrorKind, Validator};
use serde_json::{Value, json};

use super::{rules_of, walk_all};
use crate::definitions;

fn repository(spec: &Value) -> Value {
    json!({"apiVersion": "codekeep.dev/v1alpha1", "kind": "Repository", "metadata": {"name": "hello", "namespace": "team-a"}, "spec": spec})
}

fn policy(subject: &Value, statement: &Value) -> Value {
    let mut whole =
        json!({"sid": "work", "effect": "Allow", "actions": ["codecommit:GitPull"], "repositories": {"names": ["*"]}});
    whole.as_object_mut().unwrap().extend(statement.as_object().unwrap().clone());
    json!({"apiVersion": "codekeep.dev/v1alpha1", "kind": "AccessPolicy", "metadata": {"name": "developers"},
        "spec": {"subjects": [subject], "statements": [whole]}})
}

fn notification(spec: &Value) -> Value {
    let mut whole = json!({"repositories": {"names": ["*"]}, "eventTypes": ["codecommit-repository-branches-and-tags-created"],
        "targets": [{"name": "ci", "webhook": {"url": "https://ci.example.com/hook"}}]});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"apiVersion": "codekeep.dev/v1alpha1", "kind": "NotificationRule", "metadata": {"name": "tell-ci"}, "spec": whole})
}

fn webhook(url: &str) -> Value {
    notification(&json!({"targets": [{"name": "ci", "webhook": {"url": url}}]}))
}

fn named(mut object: Value, name: &str) -> Value {
    object["metadata"]["name"] = json!(name);
    object
}

/// Messages of the rules that refuse `object`.
fn refused(object: &Value, old: Option<&Value>) -> Vec<String> {
    let definition = definitions().into_iter().find(|definition| object["kind"] == definition.kind).unwrap();
    match Validator::new().validate(definition.schema(), object, old) {
        Ok(()) => vec![],
        Err(errors) => errors
            .into_iter()
            .map(|error| {
                assert_eq!(error.kind, ErrorKind::ValidationFailure, "{error}");
                error.message
            })
            .collect(),
    }
}

fn alice() -> Value {
    json!({"kind": "LocalUser", "name": "alice"})
}

fn storage(url: &str, mode: &str) -> Value {
    repository(&json!({"serving": {"mode": mode, "dedicated": {"storage": {"url": url}}}}))
}

fn resources(list: &str) -> Value {
    repository(&json!({"serving": {"mode": "Dedicated", "dedicated": {"resources": {list: {"cpu": "much"}}}}}))
}

/// Objects that a rule refuses, with a part of its message.
fn bad() -> Vec<(Value, &'static str)> {
    let branch = |name: &str| repository(&json!({"defaultBranch": name}));
    let name = |name: &str| repository(&json!({"repositoryName": name}));
    let limits = |limits: &Value| repository(&json!({"limits": limits}));
    let subject = |subject: &Value| policy(subject, &json!({}));
    let statement = |statement: &Value| policy(&alice(), statement);
    vec![
        (named(repository(&json!({})), "3d"), "names a Service"),
        (named(repository(&json!({})), "a.b"), "names a Service"),
        (name("a.git"), "end in .git"),
        (name("a//b"), "contain '//'"),
        (name("/a"), "contain '//'"),
        (name("a/../b"), "as a segment"),
        (name("."), "as a segment"),
        (name("a/-b"), "begins with '-'"),
        (name("a.lock/b"), "begins with '-'"),
        (branch("refs/heads/main"), "write main instead"),
        (branch("a b"), "git check-ref-format"),
        (branch("a\\b"), "git check-ref-format"),
        (branch("a[b"), "git check-ref-format"),
        (branch("a..b"), "git check-ref-format"),
        (branch("a@{b"), "git check-ref-format"),
        (branch("a\u{7f}b"), "git check-ref-format"),
        (branch("-a"), "separated by single"),
        (branch(".a"), "separated by single"),
        (branch("a/"), "separated by single"),
        (branch("a."), "separated by single"),
        (branch("a.lock"), "separated by single"),
        (limits(&json!({"packSize": "3Ti"})), "limits.packSize"),
        (limits(&json!({"objectSize": "2G", "inflatedSize": "1Gi", "packSize": "1"})), "limits.objectSize"),
        (named(policy(&alice(), &json!({})), &"a".repeat(64)), "refused users read it"),
        (subject(&json!({"kind": "LocalUser"})), "name is missing"),
        (subject(&json!({"kind": "Anonymous", "name": "alice"})), "no meaning for kind Anonymous"),
        (subject(&json!({"kind": "LocalUser", "name": "a:b"})), "user of a credential"),
        (
            subject(&json!({"kind": "ServiceAccount", "name": "system:serviceaccount:a:b"})),
            "without system:serviceaccount:",
        ),
        (statement(&json!({"actions": ["codecommit:GitPul"]})), "actions holds one that does not exist"),
        (statement(&json!({"actions": ["codecommit:GitPull", "Git*"]})), "actions holds one that does not exist"),
        (statement(&json!({"actions": ["codecommit:Git[PL]ull"]})), "actions holds one that does not exist"),
        (statement(&json!({"conditions": {"references": ["refs/heads/main"]}})), "about pushes only"),
        (statement(&json!({"conditions": {}})), "needs references or sourceAddresses"),
        (
            statement(&json!({"actions": ["codecommit:GitPush"], "conditions": {"references": ["main"]}})),
            "full reference names",
        ),
        (statement(&json!({"conditions": {"sourceAddresses": ["10.0.0.0/33"]}})), "no address or network"),
        (statement(&json!({"repositories": {}})), "names, selector or both"),
        (notification(&json!({"repositories": {}})), "names, selector or both"),
        (named(notification(&json!({})), &"a".repeat(64)), "delivery cursor"),
        (notification(&json!({"branches": ["refs/heads/main"]})), "short names"),
        (notification(&json!({"targets": [{"name": "ci"}]})), "exactly one kind"),
        (webhook("ftp://example.com"), "begin with https://"),
        (webhook("https://exa mple.com/"), "not a valid address"),
        (webhook("https://user:secret@example.com/"), "user or password"),
        (webhook("https://user@example.com/"), "user or password"),
        (webhook("https:///user@example.com/"), "user or password"),
        (webhook("https://example.com/#part"), "fragment"),
        (branch("a^b"), "git check-ref-format"),
    ]
}

fn encrypted() -> Value {
    repository(&json!({"encryption": {"envelope": {"secretKeyRef": {"name": "keys", "key": "1"}}}}))
}

fn replicated(replication: &Value) -> Value {
    repository(&json!({"replication": replication}))
}

/// The same for replication.
fn bad_replication() -> Vec<(Value, &'static str)> {
    let mut own = storage("s3://own-bucket", "Dedicated");
    own["spec"]["replication"] = json!({"stores": ["far"]});
    vec![
        (replicated(&json!({"stores": ["far", "third", "far"]})), "names a store twice"),
        (replicated(&json!({"stores": ["far", "default"]})), "must not name spec.store"),
        (repository(&json!({"store": "near", "replication": {"stores": ["near"]}})), "must not name spec.store"),
        (replicated(&json!({"stores": ["far"], "quorum": 2})), "about mode Synchronous only"),
        (replicated(&json!({"mode": "Asynchronous", "stores": ["far"], "quorum": 2})), "about mode Synchronous only"),
        (replicated(&json!({"mode": "Synchronous", "stores": ["far"], "quorum": 3})), "more than there are stores"),
        (replicated(&json!({"stores": ["far"], "primary": "third"})), "must be spec.store or one of"),
        (
            repository(&json!({"store": "near", "replication": {"stores": ["far"], "primary": "default"}})),
            "must be spec.store or one of",
        ),
        (own, "a bucket of the repository's own"),
    ]
}

/// The same for serving and for targets.
fn bad_in_a_cluster() -> Vec<(Value, &'static str)> {
    vec![
        (
            notification(
                &json!({"targets": [{"name": "ci", "webhook": {"url": "https://a.example", "service": {"name": "ci"}}}]}),
            ),
            "exactly one of url and service",
        ),
        (notification(&json!({"targets": [{"name": "ci", "webhook": {}}]})), "exactly one of url and service"),
        (storage("s3://own-bucket", "Shared"), "must stay Dedicated"),
        (storage("https://own-bucket", "Dedicated"), "names a bucket"),
        (storage("s3://own-bucket/a,b", "Dedicated"), "must not contain spaces"),
        (resources("requests"), "resources.requests"),
        (resources("limits"), "resources.limits"),
        (repository(&json!({"encryption": {"envelope": {"dataKeyVersion": 2}}})), "envelope needs a key"),
    ]
}

/// The same for bundles.
fn bad_bundles() -> Vec<(Value, &'static str)> {
    let part = "lie in one bucket as clients read them";
    vec![
        (repository(&json!({"bundleURI": {}, "encryption": {"kmsKeyId": "a"}})), part),
        (repository(&json!({"bundleURI": {"minSize": "1G"}, "replication": {"stores": ["far"]}})), part),
    ]
}

/// Changes that a rule refuses: from, to, a part of its message.
fn bad_changes() -> Vec<(Value, Value, &'static str)> {
    vec![
        (repository(&json!({"store": "default"})), repository(&json!({"store": "other"})), "store is immutable"),
        (repository(&json!({})), repository(&json!({"store": "other"})), "store is immutable"),
        (repository(&json!({})), repository(&json!({"repositoryName": "other"})), "repositoryName is immutable"),
        (repository(&json!({"repositoryName": "other"})), repository(&json!({})), "repositoryName is immutable"),
        (repository(&json!({"objectFormat": "sha256"})), repository(&json!({})), "objectFormat is immutable"),
        (repository(&json!({})), repository(&json!({"objectFormat": "sha256"})), "objectFormat is immutable"),
        (storage("s3://one-bucket", "Dedicated"), storage("s3://two-bucket", "Dedicated"), "storage.url is immutable"),
        (repository(&json!({})), storage("s3://one-bucket", "Dedicated"), "storage.url is immutable"),
        (repository(&json!({"encryption": {"kmsKeyId": "a"}})), encrypted(), "cannot be added or removed"),
        (encrypted(), repository(&json!({})), "cannot be added or removed"),
    ]
}

#[test]
fn bad_resources_are_refused_with_the_rule_that_is_meant() {
    for (object, part) in bad().into_iter().chain(bad_in_a_cluster()).chain(bad_replication()).chain(bad_bundles()) {
        let messages = refused(&object, None);
        assert!(messages.iter().any(|message| message.contains(part)), "{object}: {messages:?}, wanted {part}");
    }
    for (old, new, part) in bad_changes() {
        let messages = refused(&new, Some(&old));
        assert!(messages.iter().any(|message| message.contains(part)), "{new}: {messages:?}, wanted {part}");
    }
}

#[test]
fn every_rule_refuses_something() {
    let mut unused = BTreeSet::new();
    walk_all(|_, schema| unused.extend(rules_of(schema).map(|(_, message)| message.to_owned())));
    let bad = bad().into_iter().chain(bad_in_a_cluster()).chain(bad_replication()).chain(bad_bundles());
    for message in bad.flat_map(|(object, _)| refused(&object, None)) {
        unused.remove(&message);
    }
    for message in bad_changes().iter().flat_map(|(old, new, _)| refused(new, Some(old))) {
        unused.remove(&message);
    }
    assert!(unused.is_empty(), "rules without a test: {unused:#?}");
}

#[test]
fn good_resources_pass() {
    let statement = |statement: &Value| policy(&alice(), statement);
    let good = [
        repository(&json!({})),
        repository(
            &json!({"repositoryName": "team/App_1.0", "defaultBranch": "release/1.0", "limits": {"packSize": "1G"}}),
        ),
        repository(&json!({"defaultBranch": "größe"})),
        policy(&json!({"kind": "Anonymous"}), &json!({})),
        policy(&json!({"kind": "ServiceAccount", "name": "builder"}), &json!({})),
        policy(&json!({"kind": "User", "name": "https://issuer.example.com#subject"}), &json!({})),
        statement(&json!({"actions": ["*"]})),
        statement(&json!({"actions": ["codecommit:*"]})),
        statement(&json!({"actions": ["codecommit:GitPu??"], "conditions": {"references": ["refs/heads/*", "*"]}})),
        statement(&json!({"conditions": {"sourceAddresses": ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::1"]}})),
        statement(&json!({"repositories": {"selector": {"matchLabels": {"tier": "gold"}}}})),
        webhook("http://localhost:8000/hook?x=@1"),
        webhook("https://[2001:db8::1]:8443/"),
        notification(&json!({"branches": ["main", "release/*"]})),
        repository(&json!({"bundleURI": {}})),
        repository(&json!({"bundleURI": {"minSize": "500M"}})),
        encrypted(),
        repository(&json!({"encryption": {"envelope": {"keyServiceRef": {"name": "vault", "keyId": "team-a"}}}})),
        replicated(&json!({"stores": ["far"]})),
        replicated(&json!({"stores": ["far", "third"], "primary": "default"})),
        replicated(&json!({"mode": "Synchronous", "stores": ["far", "third"], "quorum": 3, "primary": "third"})),
        repository(&json!({"store": "near", "replication": {"stores": ["default"], "primary": "near"},
            "serving": {"mode": "Dedicated", "dedicated": {"storage": {"credentialsSecretRef": {"name": "store"}}}}})),
    ];
    for object in good {
        assert_eq!(refused(&object, None), [] as [String; 0], "{object}");
        assert_eq!(refused(&object, Some(&object)), [] as [String; 0], "{object}");
    }
    let (implicit, explicit) = (repository(&json!({})), repository(&json!({"repositoryName": "hello"})));
    assert_eq!(refused(&explicit, Some(&implicit)), [] as [String; 0]);
}
