//! A folder of manifests, read as a whole.

mod files;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::desired::DesiredState;
use model::replication::Replication;

pub(crate) use files::Listing;
use files::{Fingerprint, MAX_FILE_BYTES};

use crate::index::{Scope, index};
use crate::manifest::{self, Id, Manifest};
use crate::problem::{INVALID_SPEC, Problem, Severity};
use crate::schema::Schema;
use crate::yaml;

/// Why a folder cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It is not there, is no folder, or may not be read.
    #[error("failed to read the folder of manifests {}", folder.display())]
    Read {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A folder of manifests.
#[derive(Debug, Clone)]
pub struct Folder {
    dir: PathBuf,
    scope: Scope,
}

/// What a folder says.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What its good documents want.
    pub desired: DesiredState,
    /// What is wrong with the others, by file and line.
    pub problems: Vec<Problem>,
}

impl Loaded {
    /// Whether some document did not take effect.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }
}

impl Folder {
    /// The folder `dir`, whose Repositories may choose one of these stores.
    pub fn new(dir: impl Into<PathBuf>, stores: Vec<String>) -> Self {
        let replication = BTreeMap::new();
        let scope = Scope { stores, replication, own_buckets: false, cluster_domain: None, secrets: true };
        Self { dir: dir.into(), scope }
    }

    /// The same folder, with how Repositories of a store are replicated that do not say.
    #[must_use]
    pub fn replicating(mut self, defaults: BTreeMap<String, Arc<Replication>>) -> Self {
        self.scope.replication = defaults;
        self
    }

    /// Reads the folder once.
    ///
    /// # Errors
    /// When the folder cannot be listed; what is wrong with a file is among the problems.
    pub fn load(&self) -> Result<Loaded, FolderError> {
        let listing = self.list()?;
        Ok(Reading::default().apply(&listing, &self.scope))
    }

    pub(crate) fn list(&self) -> Result<Listing, FolderError> {
        Listing::of(&self.dir).map_err(|source| FolderError::Read { folder: self.dir.clone(), source })
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }
}

/// What is remembered between two readings of a folder.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    files: HashMap<PathBuf, (Fingerprint, Arc<Checked>)>,
    accepted: BTreeMap<Id, Arc<Manifest>>,
}

/// A file, read and checked by itself.
#[derive(Debug, Default)]
struct Checked {
    manifests: Vec<Arc<Manifest>>,
    problems: Vec<Problem>,
}

impl Reading {
    /// Reads what changed. A document whose file turned bad keeps the effect that it had: a mistake must never look like a
    /// deletion.
    pub(crate) fn apply(&mut self, listing: &Listing, scope: &Scope) -> Loaded {
        let mut problems = listing.problems.clone();
        let mut manifests = Vec::new();
        for checked in self.read_files(listing) {
            problems.extend(checked.problems.iter().cloned());
            for manifest in &checked.manifests {
                let broken = self.forbidden_change(manifest);
                if broken.is_empty() {
                    manifests.push(Arc::clone(manifest));
                }
                problems.extend(broken);
            }
        }
        manifests.extend(self.kept(&manifests, &problems));
        // Who was there first keeps what another one wants too.
        manifests.sort_by_key(|manifest| !self.accepted.contains_key(&manifest.id));
        let indexed = index(&manifests, scope);
        problems.extend(indexed.problems);
        problems.sort();
        problems.dedup();
        self.accepted = indexed.accepted;
        Loaded { desired: indexed.desired, problems }
    }

    fn read_files(&mut self, listing: &Listing) -> Vec<Arc<Checked>> {
        let mut files = HashMap::new();
        let mut all = Vec::new();
        for file in &listing.files {
            let checked = match self.files.remove(&file.path) {
                Some((fingerprint, checked)) if fingerprint == file.fingerprint => checked,
                _ => Arc::new(read_file(&listing.dir.join(&file.path), &file.path)),
            };
            files.insert(file.path.clone(), (file.fingerprint, Arc::clone(&checked)));
            all.push(checked);
        }
        self.files = files;
        all
    }

    /// What the rules say against a change of a resource that is in effect, such as `store is immutable`.
    fn forbidden_change(&self, manifest: &Manifest) -> Vec<Problem> {
        let before = self.accepted.get(&manifest.id).filter(|before| before.document != manifest.document);
        let findings = before
            .zip(Schema::of(manifest.id.kind))
            .map(|(before, schema)| schema.check_change(&manifest.document, &before.document));
        findings.into_iter().flatten().map(|finding| manifest.origin.problem(finding)).collect()
    }

    /// Documents in effect that are missing now, from files that have errors now.
    fn kept(&self, manifests: &[Arc<Manifest>], problems: &[Problem]) -> Vec<Arc<Manifest>> {
        let there: BTreeSet<&Id> = manifests.iter().map(|manifest| &manifest.id).collect();
        let bad: BTreeSet<&Path> = problems
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .map(|problem| problem.file.as_path())
            .collect();
        self.accepted
            .values()
            .filter(|before| !there.contains(&before.id) && is_or_is_in(&before.origin.file, &bad))
            .cloned()
            .collect()
    }
}

/// Whether a file, or a folder that it is in, is among the bad ones.
fn is_or_is_in(file: &Path, bad: &BTreeSet<&Path>) -> bool {
    file.ancestors().any(|path| bad.contains(path))
}

fn read_file(path: &Path, shown: &Path) -> Checked {
    let problem = |line: u32, message: String| Problem {
        file: shown.to_owned(),
        line,
        field: String::new(),
        severity: Severity::Error,
        reason: INVALID_SPEC,
        message,
    };
    let bytes = match files::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            return Checked { problems: vec![problem(1, format!("cannot be read: {error}"))], ..Checked::default() };
        }
    };
    if bytes.len() > MAX_FILE_BYTES {
        let message = format!("is larger than {} MiB; split it", MAX_FILE_BYTES >> 20);
        return Checked { problems: vec![problem(1, message)], ..Checked::default() };
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = u32::try_from(good.split(|byte| *byte == b'\n').count()).unwrap_or(u32::MAX);
            return Checked { problems: vec![problem(line, "is not text (UTF-8)".to_owned())], ..Checked::default() };
        }
    };
    let (documents, failure) = yaml::parse(&text);
    let mut checked = Checked::default();
    for document in documents {
        let (manifests, problems) = manifest::read(shown, document);
        checked.manifests.extend(manifests.into_iter().map(Arc::new));
        checked.problems.extend(problems);
    }
    checked.problems.extend(failure.map(|failure| problem(failure.line, failure.message)));
    checked
}

#[cfg(test)]
mod tests;
