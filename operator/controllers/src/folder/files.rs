//! Which files of a folder hold manifests, and whether they changed.
//!
//! Understands the mounts of `ConfigMaps`: their files are links into a hidden folder that is swapped as a whole.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::problem::{Problem, Severity};

/// Largest file that is read.
pub(super) const MAX_FILE_BYTES: usize = 8 << 20;
/// Most files that are read.
const MAX_FILES: usize = 20_000;
/// Deepest nesting of folders.
const MAX_DEPTH: usize = 16;

/// What tells one content of a file from the next, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    file: (u64, u64),
}

/// A file of manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ManifestFile {
    /// Relative to the folder.
    pub(super) path: PathBuf,
    pub(super) fingerprint: Fingerprint,
}

/// The files of a folder, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(super) dir: PathBuf,
    pub(super) files: Vec<ManifestFile>,
    pub(super) problems: Vec<Problem>,
}

impl Listing {
    /// Lists a folder and the folders in it.
    pub(super) fn of(dir: &Path) -> io::Result<Self> {
        let mut listing = Self { dir: dir.to_owned(), files: vec![], problems: vec![] };
        let mut visited = BTreeSet::from([fs::canonicalize(dir)?]);
        let entries = entries(dir)?;
        listing.add_all(Path::new(""), entries, 0, &mut visited);
        Ok(listing)
    }

    /// Whether there is nothing to read at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    fn add_all(&mut self, parent: &Path, entries: Vec<PathBuf>, depth: usize, visited: &mut BTreeSet<PathBuf>) {
        for name in entries {
            let path = parent.join(&name);
            // Hidden: `..data` of a ConfigMap, `.git`, swap files of editors.
            if name.as_os_str().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            match fs::metadata(self.dir.join(&path)) {
                Ok(metadata) if metadata.is_dir() => self.add_folder(&path, depth + 1, visited),
                Ok(metadata) if metadata.is_file() && holds_manifests(&path) => self.add_file(path, &metadata),
                Err(error) if holds_manifests(&path) => self.problem(path, format!("cannot be read: {error}")),
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn add_folder(&mut self, path: &Path, depth: usize, visited: &mut BTreeSet<PathBuf>) {
        let full = self.dir.join(path);
        if depth > MAX_DEPTH {
            return self.problem(path.to_owned(), format!("folders are nested deeper than {MAX_DEPTH} levels"));
        }
        let listed = fs::canonicalize(&full).and_then(|real| Ok((real, entries(&full)?)));
        match listed {
            Ok((real, entries)) => {
                // A folder that links lead to twice, or back to, is read once.
                if visited.insert(real) {
                    self.add_all(path, entries, depth, visited);
                }
            }
            Err(error) => self.problem(path.to_owned(), format!("cannot be read: {error}")),
        }
    }

    fn add_file(&mut self, path: PathBuf, metadata: &fs::Metadata) {
        if self.files.len() == MAX_FILES {
            return self.problem(path, format!("and what follows is not read: there are more than {MAX_FILES} files"));
        }
        if self.files.len() > MAX_FILES {
            return;
        }
        let fingerprint = Fingerprint {
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            file: (metadata.dev(), metadata.ino()),
        };
        self.files.push(ManifestFile { path, fingerprint });
    }

    fn problem(&mut self, file: PathBuf, message: String) {
        self.problems.push(Problem {
            file,
            line: 1,
            field: String::new(),
            severity: Severity::Error,
            reason: crate::problem::INVALID_SPEC,
            message,
        });
    }
}

/// Names in a folder, sorted.
fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names =
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().into())).collect::<io::Result<Vec<PathBuf>>>()?;
    names.sort();
    Ok(names)
}

fn holds_manifests(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    matches!(extension, Some("yaml" | "yml" | "json")) && stem != Some("kustomization")
}

/// The content of a file, or a little more than the most that is taken.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
