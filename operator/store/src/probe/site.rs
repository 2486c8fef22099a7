//! The place in a bucket where checks are made, and how it is left.

use std::path::Path;

use bytes::Bytes;
use model::clock::Random;

use super::Refusal;
use crate::object::{ObjectStore, StoreError};

/// Objects of one listing.
const PAGE: usize = 1_000;

/// A random prefix of a store.
pub(super) struct Site<'a> {
    pub(super) store: &'a dyn ObjectStore,
    random: &'a dyn Random,
    prefix: String,
}

impl<'a> Site<'a> {
    pub(super) fn new(store: &'a dyn ObjectStore, random: &'a dyn Random) -> Self {
        let mut token = [0; 8];
        random.fill(&mut token);
        Self { store, random, prefix: format!("probe/{}", hex::encode(token)) }
    }

    /// The prefix, without a slash at its end.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }

    /// Bytes that no store can press together.
    pub(super) fn noise(&self, length: usize) -> Bytes {
        let mut bytes = vec![0; length];
        self.random.fill(&mut bytes);
        bytes.into()
    }

    /// Deletes everything; gives what is left and why.
    pub(super) async fn clean_up(&self) -> Vec<(String, StoreError)> {
        let (prefix, mut left) = (self.key(""), Vec::new());
        loop {
            let objects = match self.store.list(&prefix, None, PAGE).await {
                Ok(objects) => objects,
                Err(error) => {
                    left.push((prefix, error));
                    return left;
                }
            };
            let whole = objects.len() < PAGE;
            for object in objects {
                if let Err(error) = self.store.delete(&object.key).await {
                    left.push((object.key, error));
                }
            }
            if whole || !left.is_empty() {
                return left;
            }
        }
    }
}

/// Two files beside each other on this machine's disk.
pub(super) struct LocalFiles {
    folder: tempfile::TempDir,
}

impl LocalFiles {
    pub(super) fn new() -> Result<Self, Refusal> {
        Ok(Self { folder: tempfile::tempdir().map_err(|error| local(&error))? })
    }

    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

pub(super) async fn write(file: &Path, content: &[u8]) -> Result<(), Refusal> {
    tokio::fs::write(file, content).await.map_err(|error| local(&error))
}

pub(super) async fn read(file: &Path) -> Result<Vec<u8>, Refusal> {
    tokio::fs::read(file).await.map_err(|error| local(&error))
}

/// The fault is this machine's: nothing is said about the bucket.
fn local(error: &std::io::Error) -> Refusal {
    Refusal::Store(StoreError::Unavailable {
        operation: "a temporary file",
        key: String::new(),
        reason: format!("this machine could not write or read it: {error}"),
    })
}
