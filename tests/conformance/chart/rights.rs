//! The rights: `tests/golden/rbac.txt` names every one, and some must never be there.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests::binary::workspace;

use super::objects::{identity, list, of_kind, text, texts};
use super::render::{MINIMAL, SETS, WATCHED, template};

/// One right of one subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    subject: String,
    /// A namespace, or the whole cluster.
    place: String,
    role: String,
    resource: String,
    verb: String,
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { subject, place, role, resource, verb } = self;
        write!(f, "{subject} | {place} | {role} | {resource} | {verb}")
    }
}

/// Every right that objects give, and those of roles that wait to be bound.
pub(crate) fn rights(objects: &[Value]) -> Result<BTreeSet<Right>> {
    let mut found = BTreeSet::new();
    let mut bound = BTreeSet::new();
    for binding in of_kind(objects, "ClusterRoleBinding").into_iter().chain(of_kind(objects, "RoleBinding")) {
        let role = role_of(objects, binding)?;
        let place = binding.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or("cluster");
        for subject in list(binding, "/subjects") {
            let name = format!("{}/{}", text(subject, "/namespace"), text(subject, "/name"));
            found.extend(rights_of(role, &name, place));
        }
        bound.insert(identity(role));
    }
    for role in of_kind(objects, "ClusterRole").into_iter().chain(of_kind(objects, "Role")) {
        for target in ["view", "edit", "admin"] {
            let label = format!("/metadata/labels/rbac.authorization.k8s.io~1aggregate-to-{target}");
            if text(role, &label) == "true" {
                found.extend(rights_of(role, &format!("everybody with {target}"), "where bound"));
                bound.insert(identity(role));
            }
        }
        if !bound.contains(&identity(role)) {
            found.extend(rights_of(role, "nobody", "where bound"));
        }
    }
    Ok(found)
}

fn role_of<'a>(objects: &'a [Value], binding: &Value) -> Result<&'a Value> {
    let (kind, name) = (text(binding, "/roleRef/kind"), text(binding, "/roleRef/name"));
    let namespace = if kind == "Role" { text(binding, "/metadata/namespace") } else { "" };
    let role = of_kind(objects, kind)
        .into_iter()
        .find(|role| text(role, "/metadata/name") == name && text(role, "/metadata/namespace") == namespace);
    role.with_context(|| format!("{} refers to {kind}/{name}, which is not there", identity(binding)))
}

fn rights_of(role: &Value, subject: &str, place: &str) -> Vec<Right> {
    let mut found = Vec::new();
    for rule in list(role, "/rules") {
        let names = texts(rule, "/resourceNames");
        let names = if names.is_empty() { String::new() } else { format!(" [{}]", names.join(" ")) };
        for group in texts(rule, "/apiGroups") {
            let dot = if group.is_empty() { "" } else { "." };
            for resource in texts(rule, "/resources") {
                found.extend(texts(rule, "/verbs").into_iter().map(|verb| Right {
                    subject: subject.to_owned(),
                    place: place.to_owned(),
                    role: format!("{} {}", text(role, "/kind"), text(role, "/metadata/name")),
                    resource: format!("{resource}{dot}{group}{names}"),
                    verb: verb.to_owned(),
                }));
            }
        }
    }
    found
}

#[test]
fn the_rights_are_those_of_the_golden_file() -> Result<()> {
    let mut lines = vec![
        "# Every right that the chart gives: who | where | by which role | on what [only of these names] | verb"
            .to_owned(),
        "# UPDATE_GOLDEN=1 cargo test -p tests --test conformance chart".to_owned(),
    ];
    for (title, values) in [("all namespaces", MINIMAL), ("watchNamespaces: [team-a, team-b]", WATCHED)] {
        lines.push(format!("\n## {title}\n"));
        lines.extend(rights(&template(values)?)?.iter().map(Right::to_string));
    }
    let (path, text) = (workspace().join("tests/golden/rbac.txt"), lines.join("\n") + "\n");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text)?;
    }
    assert_eq!(text, std::fs::read_to_string(path)?, "the rights changed: review them, then UPDATE_GOLDEN=1");
    Ok(())
}

#[test]
fn no_right_is_a_wildcard_or_a_way_to_more_rights() -> Result<()> {
    for (name, values) in SETS {
        for right in rights(&template(values)?)? {
            let Right { resource, verb, .. } = &right;
            assert!(!resource.contains('*') && !verb.contains('*'), "{name}: {right}");
            assert!(
                !["escalate", "bind", "impersonate", "approve", "sign"].contains(&verb.as_str()),
                "{name}: {right}"
            );
            let dangerous = [
                "roles.",
                "clusterroles.",
                "clusterrolebindings.",
                "pods/exec",
                "pods/attach",
                "nodes",
                "serviceaccounts/token",
                "mutatingwebhook",
                "validatingwebhook",
            ];
            assert!(!dangerous.iter().any(|start| resource.starts_with(start)), "{name}: {right}");
            let reads = ["get", "list", "watch"].contains(&verb.as_str());
            assert!(!resource.starts_with("rolebindings.") || reads, "{name}: {right}");
        }
    }
    Ok(())
}

#[test]
fn nobody_may_read_secrets_of_the_whole_cluster() -> Result<()> {
    for (name, values) in SETS {
        for right in rights(&template(values)?)? {
            let Right { subject, place, role, resource, verb } = &right;
            let by_name = resource == "secrets [codekeep-ca codekeep-ssh-host-keys]" || verb == "create";
            let own = subject == "codekeep-system/codekeep-controller" && place == "codekeep-system" && by_name;
            let granted = role == "ClusterRole codekeep-credentials" && place != "cluster";
            assert!(!resource.starts_with("secrets") || own || granted, "{name}: {right}");
        }
    }
    Ok(())
}

#[test]
fn with_named_namespaces_nothing_of_a_namespace_is_a_right_on_the_cluster() -> Result<()> {
    // What belongs to no namespace.
    let allowed = ["namespaces [kube-system]", "tokenreviews.authentication.k8s.io"];
    for right in rights(&template(WATCHED)?)? {
        assert!(right.place != "cluster" || allowed.contains(&right.resource.as_str()), "{right}");
        let places = ["cluster", "where bound", "codekeep-system", "team-a", "team-b", "team-c"];
        assert!(places.contains(&right.place.as_str()), "{right}");
    }
    Ok(())
}

#[test]
fn credentials_are_granted_in_the_named_namespaces_only() -> Result<()> {
    let granted = |values: &str| -> Result<Vec<String>> {
        let rights = rights(&template(values)?)?;
        let own = rights.iter().filter(|right| right.role == "ClusterRole codekeep-credentials" && right.verb == "get");
        Ok(own.map(|right| format!("{} in {}", right.subject, right.place)).collect())
    };
    assert_eq!(granted(MINIMAL)?, ["nobody in where bound"]);
    let all = ["team-a", "team-b", "team-c"].map(|namespace| format!("codekeep-system/codekeep-git in {namespace}"));
    assert_eq!(granted(WATCHED)?, all);
    Ok(())
}
