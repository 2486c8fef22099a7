//! What the chart says to people: the comments of values.yaml, its README and schema in the same words, and its refusals.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::objects::{pool, text};
use super::render::{EVERYTHING, MINIMAL, chart, refusal, template};

/// One key of values.yaml. A value on the key's own line makes it a leaf, whatever the value is.
pub(crate) struct Entry {
    pub(crate) path: String,
    comment: String,
    default: String,
}

impl Entry {
    pub(crate) fn is_leaf(&self) -> bool {
        !self.default.is_empty()
    }
}

/// The keys of values.yaml with the comments above them.
pub(crate) fn entries() -> Result<Vec<Entry>> {
    let text = std::fs::read_to_string(chart().join("values.yaml"))?;
    let (mut found, mut path, mut comment) = (Vec::new(), Vec::<String>::new(), Vec::new());
    for line in text.lines() {
        let trimmed = line.trim_start();
        if trimmed.is_empty() {
            comment.clear();
        } else if let Some(words) = trimmed.strip_prefix('#') {
            comment.push(words.trim());
        } else {
            let (key, default) = trimmed.split_once(':').with_context(|| format!("not a key: {line}"))?;
            path.truncate((line.len() - trimmed.len()) / 2);
            path.push(key.to_owned());
            let default = default.trim().to_owned();
            found.push(Entry { path: path.join("."), comment: comment.join(" "), default });
            comment.clear();
        }
    }
    Ok(found)
}

#[test]
fn every_value_has_a_comment() -> Result<()> {
    let silent: Vec<_> = entries()?.into_iter().filter(|entry| entry.comment.is_empty()).map(|e| e.path).collect();
    assert!(silent.is_empty(), "{silent:?}");
    Ok(())
}

#[test]
fn the_readme_lists_every_value_with_its_comment() -> Result<()> {
    let path = chart().join("README.md");
    let readme = std::fs::read_to_string(&path)?;
    let (head, _) = readme.split_once("| value | default | meaning |\n").context("the README has no table")?;
    let mut expected = format!("{head}| value | default | meaning |\n|---|---|---|\n");
    for Entry { path, comment, default } in entries()?.into_iter().filter(Entry::is_leaf) {
        let (default, comment) = (default.replace('|', "\\|"), comment.replace('|', "\\|"));
        writeln!(expected, "| `{path}` | `{default}` | {comment} |")?;
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &expected)?;
    }
    assert_eq!(std::fs::read_to_string(path)?, expected, "UPDATE_GOLDEN=1 writes the table anew");
    Ok(())
}

fn schema() -> Result<Value> {
    Ok(serde_json::from_str(&std::fs::read_to_string(chart().join("values.schema.json"))?)?)
}

#[test]
fn the_schema_describes_every_value_in_the_same_words() -> Result<()> {
    let schema = schema()?;
    for entry in entries()? {
        let pointer = format!("/properties/{}", entry.path.replace('.', "/properties/"));
        let described = text(&schema, &format!("{pointer}/description"));
        assert_eq!(described, entry.comment, "description of {} in values.schema.json", entry.path);
        let kind = schema.pointer(&format!("{pointer}/type"));
        assert!(kind.is_some_and(|kind| kind.is_string() || kind.is_array()), "{} has no type", entry.path);
    }
    Ok(())
}

#[test]
fn the_schema_has_no_value_that_is_not_there_and_refuses_others() -> Result<()> {
    let known: Vec<String> = entries()?.into_iter().map(|entry| entry.path).collect();
    walk(&schema()?, "", &known)
}

/// Objects with named fields take no others; all of the chart's own fields are in values.yaml.
fn walk(schema: &Value, path: &str, known: &[String]) -> Result<()> {
    let Some(fields) = schema.get("properties").and_then(Value::as_object) else { return Ok(()) };
    ensure!(schema["additionalProperties"] == false, "{path} takes unknown fields");
    let leaf = known.iter().any(|entry| entry == path) && !known.iter().any(|e| e.starts_with(&format!("{path}.")));
    for (name, field) in fields {
        let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        ensure!(!text(field, "/description").is_empty(), "{inner} has no description");
        ensure!(leaf || inner == "global" || known.contains(&inner), "{inner} is not in values.yaml");
        if !leaf {
            walk(field, &inner, known)?;
        }
    }
    Ok(())
}

#[test]
fn slips_are_refused_in_words() -> Result<()> {
    let slips = [
        ("{storage: {url: 's3://b'}, pool: {replica: 3}}", "Additional property replica is not allowed"),
        ("{storage: {uri: 's3://b'}}", "Additional property uri is not allowed"),
        ("{storage: {url: 's3://b'}, controler: {}}", "Additional property controler is not allowed"),
        ("{storage: {url: 's3://b'}, tls: {certmanager: {}}}", "Additional property certmanager is not allowed"),
        ("{storage: {url: 'https://b'}}", "storage.url: Does not match pattern"),
        ("{storage: {url: 's3://b', stores: {far: 'https://b'}}}", "storage.stores.far: Does not match pattern"),
        ("{storage: {url: 's3://b', stores: {far: {uri: 's3://c'}}}}", "Additional property uri is not allowed"),
        ("{storage: {url: 's3://b'}, controller: {replicas: 3}}", "less than or equal to 2"),
        ("{storage: {url: 's3://b'}, image: {digest: 'sha256:short'}}", "image.digest: Does not match pattern"),
        ("{storage: {url: 's3://b'}, image: {tag: 1.0}}", "image.tag: Invalid type"),
        ("{storage: {url: 's3://b'}, watchNamespaces: team-a}", "watchNamespaces: Invalid type"),
        ("{storage: {url: 's3://b'}, commonLabels: {app.kubernetes.io/name: x}}", "commonLabels"),
    ];
    for (values, expected) in slips {
        let said = refusal(values)?;
        assert!(said.contains(expected), "{values}: {said}");
    }
    Ok(())
}

#[test]
fn what_does_not_go_together_is_refused_with_the_way_out() -> Result<()> {
    let pairs = [
        ("{}", "storage.url is required: the bucket for the repositories, such as --set storage.url="),
        ("{storage: {url: 's3://b', stores: {default: 's3://c'}}}", "give this one another name"),
        ("{storage: {url: 's3://b', replication: {mode: Synchronous}}}", "storage.replication.stores is required"),
        (
            "{storage: {url: 's3://b', replication: {stores: [far]}}}",
            "there is no store `far`; add it to storage.stores",
        ),
        ("{storage: {url: 's3://b', replication: {stores: [default]}}}", "`default` is the store itself; remove it"),
        (
            "{storage: {url: 's3://b', stores: {far: {url: 's3://c', replication: {stores: [far]}}}}}",
            "storage.stores.far.replication.stores: `far` is the store itself",
        ),
        (
            "{storage: {url: 's3://b', stores: {far: 's3://c'}, replication: {stores: [far], quorum: 2}}}",
            "quorum is about mode Synchronous only",
        ),
        (
            "{storage: {url: 's3://b', stores: {far: 's3://c'}, replication: {mode: Synchronous, stores: [far], quorum: 3}}}",
            "quorum is more than there are stores",
        ),
        ("{storage: {url: 's3://b', credentials: {accessKeyId: a}}}", "set both or neither"),
        (
            "{storage: {url: 's3://b', credentialsSecret: x, credentials: {accessKeyId: a, secretAccessKey: b}}}",
            "set either credentialsSecret or credentials, not both",
        ),
        ("{storage: {url: 's3://b'}, tls: {certManager: {enabled: true}}}", "issuerRef.name is required"),
        (
            "{storage: {url: 's3://b'}, tls: {certManager: {enabled: true, issuerRef: {name: a}}}}",
            "set externalUrl, or the certificate's names in tls.certManager.dnsNames",
        ),
        ("{storage: {url: 's3://b'}, pool: {service: {nodePort: 30443}}}", "set pool.service.type to NodePort"),
    ];
    for (values, expected) in pairs {
        let said = refusal(values)?;
        assert!(said.contains(expected), "{values}: {said}");
    }
    Ok(())
}

/// Keys that the controller knows; it refuses any other.
const POOL: [&str; 31] = [
    "name",
    "serviceAccountName",
    "image",
    "imagePullPolicy",
    "imagePullSecrets",
    "replicas",
    "stores",
    "storeCredentialsSecret",
    "keyServices",
    "cacheSize",
    "cacheMedium",
    "resources",
    "service",
    "tlsSecret",
    "externalUrl",
    "clusterDomain",
    "tokenAudiences",
    "acceptApiServerAudience",
    "webhookAllowCidrs",
    "gracePeriodSeconds",
    "env",
    "podLabels",
    "podAnnotations",
    "nodeSelector",
    "tolerations",
    "affinity",
    "topologySpreadConstraints",
    "priorityClassName",
    "networkPolicy",
    "logFormat",
    "logLevel",
];

#[test]
fn the_pool_has_the_keys_that_the_controller_knows() -> Result<()> {
    let full = pool(&template(EVERYTHING)?)?;
    let keys: Vec<&String> = full.as_object().context("no mapping")?.keys().collect();
    let unknown: Vec<_> = keys.iter().filter(|key| !POOL.contains(&key.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert_eq!(keys.len(), POOL.len(), "{keys:?}");
    let stores = serde_json::json!([
        {"name": "default", "url": "s3://b",
            "replication": {"mode": "Synchronous", "stores": ["archive", "far"], "quorum": 2}},
        {"name": "archive", "url": "s3://c"},
        {"name": "far", "url": "s3://d", "credentialsSecret": "far",
            "replication": {"mode": "Asynchronous", "stores": ["default"]}},
    ]);
    assert_eq!(full["stores"], stores);
    let small = pool(&template(MINIMAL)?)?;
    assert!(small.get("externalUrl").is_none() && small.get("tlsSecret").is_none(), "{small}");
    Ok(())
}
