//! One document of a file: what it is, and whether it is good by itself.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use model::Namespace;
use model::desired::{Credential, RepositoryConfig, SshCredential};
use model::policy::Policy;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::problem::{Finding, Problem, did_you_mean, shown};
use crate::schema::{Schema, check_metadata};
use crate::secret::Secret;
use crate::yaml::{Document, Lines};
use crate::{access_policy, credential, repository};

/// The namespace of resources that name none, as with `kubectl`.
const DEFAULT_NAMESPACE: &str = "default";

/// Where a document stands.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) file: PathBuf,
    lines: Lines,
    /// Path of the document within it, when it is an item of a List.
    within: String,
}

impl Origin {
    pub(crate) fn line(&self, field: &str) -> u32 {
        let dot = if self.within.is_empty() || field.is_empty() { "" } else { "." };
        self.lines.of(&format!("{}{dot}{field}", self.within))
    }

    /// For people: `file:line`; an object of a cluster has no lines.
    pub(crate) fn place(&self) -> String {
        if self.lines.is_empty() {
            self.file.display().to_string()
        } else {
            format!("{}:{}", self.file.display(), self.line(""))
        }
    }

    pub(crate) fn problem(&self, finding: Finding) -> Problem {
        let line = if self.lines.is_empty() { 0 } else { self.line(&finding.field) };
        Problem {
            file: self.file.clone(),
            line,
            field: finding.field,
            severity: finding.severity,
            reason: finding.reason,
            message: finding.message,
        }
    }
}

/// What a resource is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    pub(crate) kind: &'static str,
    pub(crate) namespace: Namespace,
    pub(crate) name: String,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// A good document.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) id: Id,
    pub(crate) origin: Origin,
    /// What the rules about changes are asked with; nothing for a Secret.
    pub(crate) document: Value,
    pub(crate) resource: Resource,
}

/// What it says.
#[derive(Debug)]
pub(crate) enum Resource {
    Repository {
        config: Arc<RepositoryConfig>,
        /// Still without the keys of its Secret.
        envelope: Option<crds::Envelope>,
    },
    AccessPolicy(Policy),
    NotificationRule(Box<crds::NotificationRule>),
    Secret {
        secret: Secret,
        holds: Holds,
    },
}

/// What a Secret is for.
#[derive(Debug)]
pub(crate) enum Holds {
    /// Nothing that we know: a rule may name it.
    Anything,
    /// A password.
    Credential(Arc<Credential>),
    /// SSH public keys.
    SshKeys(Arc<SshCredential>),
}

/// Reads a document, or each item of a List; documents that are none of our business give nothing.
pub(crate) fn read(file: &std::path::Path, document: Document) -> (Vec<Manifest>, Vec<Problem>) {
    let Document { value, lines, duplicates } = document;
    let mut read = Read { file: file.to_owned(), lines, manifests: vec![], problems: vec![] };
    if value.is_null() {
        return (vec![], vec![]);
    }
    for field in duplicates {
        let origin = read.origin("");
        read.problems.push(origin.problem(Finding::error(field, "is there twice; remove one of them")));
    }
    if !read.problems.is_empty() && is_ours(&value) {
        return (vec![], read.problems);
    }
    read.problems.clear();
    match value["items"].as_array() {
        Some(items) if value["kind"] == "List" => {
            for (index, item) in items.iter().enumerate() {
                read.one(item, &format!("items[{index}]"));
            }
        }
        _ => read.one(&value, ""),
    }
    (read.manifests, read.problems)
}

/// Reads an object of a cluster, filed under `file`.
pub(crate) fn read_object(file: PathBuf, object: &Value) -> (Option<Manifest>, Vec<Problem>) {
    let mut read = Read { file, lines: Lines::default(), manifests: vec![], problems: vec![] };
    read.one(object, "");
    (read.manifests.pop(), read.problems)
}

/// Whether a document is one that we would read if it were good.
fn is_ours(value: &Value) -> bool {
    value["kind"] == "List" || !matches!(Kind::of(value), Ok(None))
}

struct Read {
    file: PathBuf,
    lines: Lines,
    manifests: Vec<Manifest>,
    problems: Vec<Problem>,
}

impl Read {
    fn origin(&self, within: &str) -> Origin {
        Origin { file: self.file.clone(), lines: self.lines.clone(), within: within.to_owned() }
    }

    fn one(&mut self, value: &Value, within: &str) {
        let origin = self.origin(within);
        let (manifest, findings) = match Kind::of(value) {
            Ok(None) => return,
            Ok(Some(kind)) => kind.read(value),
            Err(finding) => (None, vec![finding]),
        };
        self.problems.extend(findings.into_iter().map(|finding| origin.problem(finding)));
        self.manifests.extend(manifest.map(|(id, document, resource)| Manifest { id, origin, document, resource }));
    }
}

/// The kinds that we read.
#[derive(Clone, Copy)]
enum Kind {
    Ours(&'static Schema),
    Secret,
}

type Good = (Id, Value, Resource);

impl Kind {
    /// The kind of a document, `None` when it is somebody else's.
    fn of(value: &Value) -> Result<Option<Self>, Finding> {
        let text = |field: &str| match value.get(field).and_then(Value::as_str) {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(Finding::error(field, "is missing and must be there; this file holds Kubernetes manifests")),
        };
        let (version, kind) = (text("apiVersion")?, text("kind")?);
        let wanted = format!("{}/{}", crds::GROUP, crds::VERSION);
        let group = version.split('/').next().unwrap_or_default();
        if group == crds::GROUP && version == wanted {
            return Schema::of(kind).map(|schema| Some(Self::Ours(schema))).ok_or_else(|| {
                let hint = did_you_mean(kind, Schema::kinds());
                Finding::error("kind", format!("'{}' is not a kind of {}{hint}", shown(kind), crds::GROUP))
            });
        }
        // A slip in the group must not make a resource vanish.
        if group == crds::GROUP || strsim::damerau_levenshtein(group, crds::GROUP) <= 2 {
            return Err(Finding::error("apiVersion", format!("'{}' does not exist; write {wanted}", shown(version))));
        }
        Ok((version == "v1" && kind == "Secret").then_some(Self::Secret))
    }

    fn read(self, value: &Value) -> (Option<Good>, Vec<Finding>) {
        match self {
            Self::Ours(schema) => read_ours(schema, value),
            Self::Secret => read_secret(value),
        }
    }
}

fn read_ours(schema: &'static Schema, value: &Value) -> (Option<Good>, Vec<Finding>) {
    let (document, mut findings) = schema.check(value);
    if findings.iter().any(Finding::is_error) {
        return (None, findings);
    }
    let made = id(&schema.kind, &document).and_then(|id| {
        let resource = match schema.kind.as_str() {
            "Repository" => {
                let resource: crds::Repository = typed(&document)?;
                let (config, more) = repository::config(&resource, &id.namespace)?;
                findings.extend(more);
                let envelope = resource.spec.encryption.and_then(|encryption| encryption.envelope);
                Resource::Repository { config: Arc::new(config), envelope }
            }
            "AccessPolicy" => Resource::AccessPolicy(access_policy::policy(&typed(&document)?, &id.namespace)?),
            _ => Resource::NotificationRule(Box::new(typed(&document)?)),
        };
        Ok((id, resource))
    });
    match made {
        Ok((id, resource)) => (Some((id, document, resource)), findings),
        Err(more) => (None, [findings, more].concat()),
    }
}

fn read_secret(value: &Value) -> (Option<Good>, Vec<Finding>) {
    let kind = value["type"].as_str().unwrap_or_default();
    let (is_ours, is_slip) = (CREDENTIALS.contains(&kind), is_a_slip(kind));
    let findings = check_metadata(value);
    if !findings.is_empty() {
        // Secrets of other programs are theirs to check.
        return (None, if is_ours || is_slip { findings } else { vec![] });
    }
    let id = match id("Secret", value) {
        Ok(id) => id,
        Err(findings) => return (None, findings),
    };
    if is_slip {
        let message = format!("'{}' does not exist; write {}", shown(kind), CREDENTIALS.join(" or "));
        return (None, vec![Finding::error("type", message)]);
    }
    let (secret, mut findings) = Secret::read(value);
    let holds = match kind {
        crds::GIT_CREDENTIAL => {
            let (credential, more) = credential::credential(&secret, &id);
            findings.extend(more);
            credential.map(|credential| Holds::Credential(Arc::new(credential)))
        }
        crds::SSH_KEY => {
            let (keys, more) = credential::ssh_key(&secret, &id);
            findings.extend(more);
            keys.map(|keys| Holds::SshKeys(Arc::new(keys)))
        }
        _ => return (Some((id, Value::Null, Resource::Secret { secret, holds: Holds::Anything })), vec![]),
    };
    let holds = holds.filter(|_| !findings.iter().any(Finding::is_error));
    (holds.map(|holds| (id, Value::Null, Resource::Secret { secret, holds })), findings)
}

/// The types of Secrets that say who somebody is.
const CREDENTIALS: [&str; 2] = [crds::GIT_CREDENTIAL, crds::SSH_KEY];

/// Whether the type of a Secret is a slip for one of ours.
fn is_a_slip(kind: &str) -> bool {
    kind.starts_with(crds::GROUP) && !CREDENTIALS.contains(&kind)
}

fn id(kind: &str, document: &Value) -> Result<Id, Vec<Finding>> {
    let metadata = &document["metadata"];
    let namespace = metadata["namespace"].as_str().unwrap_or(DEFAULT_NAMESPACE);
    let namespace =
        namespace.parse().map_err(|error| vec![Finding::error("metadata.namespace", format!("{error}"))])?;
    let kind = Schema::kinds().find(|known| *known == kind).unwrap_or("Secret");
    Ok(Id { kind, namespace, name: metadata["name"].as_str().unwrap_or_default().to_owned() })
}

/// The type of a document that its schema found good.
fn typed<T: DeserializeOwned>(document: &Value) -> Result<T, Vec<Finding>> {
    serde_json::from_value(document.clone()).map_err(|error| vec![Finding::error("", error.to_string())])
}
