//! The metadata of a resource, by the rules that hold for every kind.

use serde_json::Value;

use crate::problem::{Finding, did_you_mean, shown};
use crate::yaml::field;

const KNOWN: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Everything that is wrong with the metadata of a document.
pub(crate) fn check(document: &Value) -> Vec<Finding> {
    let metadata = match document.get("metadata") {
        None => return vec![Finding::error("metadata", "is missing and must be there; write metadata: {name: ...}")],
        Some(Value::Object(metadata)) => metadata,
        Some(_) => return vec![Finding::error("metadata", "must be a mapping; write metadata: {name: ...}")],
    };
    let mut findings = Vec::new();
    for name in metadata.keys().filter(|name| !KNOWN.contains(&name.as_str())) {
        let known = did_you_mean(name, ["name", "namespace", "labels", "annotations"]);
        findings.push(Finding::error(field("metadata", name), format!("there is no such field{known}")));
    }
    match metadata.get("name") {
        None => findings.push(Finding::error("metadata.name", "is missing and must be there")),
        Some(name) => findings.extend(check_name("metadata.name", name, 253, true)),
    }
    if let Some(namespace) = metadata.get("namespace") {
        findings.extend(check_name("metadata.namespace", namespace, 63, false));
    }
    for map in ["labels", "annotations"] {
        findings.extend(check_texts(map, metadata.get(map)));
    }
    findings
}

fn check_name(path: &str, name: &Value, max: usize, dots: bool) -> Option<Finding> {
    let Some(name) = name.as_str() else {
        return Some(Finding::error(path, "must be a text; put it in quotes"));
    };
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label =
        |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(inner);
    let good = name.len() <= max && if dots { name.split('.').all(label) } else { label(name) };
    let allowed = if dots { ", '-' and '.'" } else { " and '-'" };
    (!good).then(|| {
        let message = format!(
            "'{}' is not a name of Kubernetes: at most {max} lower case letters, digits{allowed}, beginning and ending with a letter or digit",
            shown(name)
        );
        Finding::error(path, message)
    })
}

fn check_texts(map: &str, entries: Option<&Value>) -> Vec<Finding> {
    let path = field("metadata", map);
    match entries {
        None => vec![],
        Some(Value::Object(entries)) => entries
            .iter()
            .filter(|(_, value)| !value.is_string())
            .map(|(name, _)| Finding::error(field(&path, name), "must be a text; put it in quotes"))
            .collect(),
        Some(_) => vec![Finding::error(path, "must be a mapping of texts")],
    }
}
