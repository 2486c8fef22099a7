//! The last snapshot of what the API server said, in a file that only this server reads (ADR 0006).
//!
//! It holds credentials, so it belongs on a memory file system; and revocations are missing from it, so it may not be old.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("failed to use the snapshot {}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("failed to read the snapshot {}: {reason}", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("the snapshot {} is {age_s} s old, and {max_s} s are allowed: it may miss that somebody was locked out", path.display())]
    Old { path: PathBuf, age_s: u64, max_s: u64 },
}

/// The file.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    path: PathBuf,
    max_age: Duration,
    /// When it is to be written next.
    due: Option<Instant>,
}

#[derive(Serialize, Deserialize)]
struct Content<D> {
    documents: Vec<D>,
}

impl SnapshotFile {
    pub(crate) fn new(path: PathBuf, max_age: Duration) -> Self {
        Self { path, max_age, due: None }
    }

    /// When it is to be written, if it is.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What is to be written changed.
    pub(crate) fn changed(&mut self, within: Duration) {
        self.due.get_or_insert_with(|| Instant::now() + within);
    }

    /// Writes the documents, whole or not at all.
    pub(crate) async fn save(&mut self, documents: Vec<Arc<Value>>) -> Result<(), SnapshotError> {
        self.due = None;
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || write(&path, &documents)).await;
        let written = written.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        written.map_err(|source| SnapshotError::Io { path: self.path.clone(), source })
    }

    /// The documents, if they are fresh enough.
    pub(crate) async fn load(&self) -> Result<Vec<Value>, SnapshotError> {
        let io = |source| SnapshotError::Io { path: self.path.clone(), source };
        let modified = tokio::fs::metadata(&self.path).await.and_then(|file| file.modified()).map_err(io)?;
        // The age of a file is told by the clock that stamped it.
        let age = SystemTime::now().duration_since(modified).unwrap_or_default();
        if age > self.max_age {
            let (age_s, max_s) = (age.as_secs(), self.max_age.as_secs());
            return Err(SnapshotError::Old { path: self.path.clone(), age_s, max_s });
        }
        let bytes = tokio::fs::read(&self.path).await.map_err(io)?;
        let content: Content<Value> = serde_json::from_slice(&bytes)
            .map_err(|error| SnapshotError::Damaged { path: self.path.clone(), reason: error.to_string() })?;
        Ok(content.documents)
    }
}

fn write(path: &Path, documents: &[Arc<Value>]) -> std::io::Result<()> {
    let documents: Vec<&Value> = documents.iter().map(|document| &**document).collect();
    let bytes = serde_json::to_vec(&Content { documents })?;
    let temporary = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&bytes)?;
    std::fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests;
