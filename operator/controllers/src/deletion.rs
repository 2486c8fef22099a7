//! Which repositories' data is to be deleted, and when.
//!
//! Only with `deletionPolicy: Delete` and the confirming annotation, only when the manifest has been gone for a while, and
//! only while nothing else is wrong with the folder: whatever looks like an accident leaves the data alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::RepositoryPath;
use model::desired::{Deletion, DesiredState, RepositoryConfig};

/// How long a manifest must be gone.
const GRACE: Duration = Duration::from_secs(10);

/// Repositories whose manifest is gone.
#[derive(Debug, Default)]
pub(crate) struct Deletions {
    gone: BTreeMap<RepositoryPath, (Arc<RepositoryConfig>, Duration)>,
}

impl Deletions {
    /// Takes note of a change at the time `now`; gives the repositories that are newly waiting.
    pub(crate) fn observe(&mut self, old: &DesiredState, new: &DesiredState, now: Duration) -> Vec<RepositoryPath> {
        self.gone.retain(|path, _| !new.repositories.contains_key(path));
        let mut waiting = Vec::new();
        for (path, config) in &old.repositories {
            if config.deletion == Deletion::Delete && !new.repositories.contains_key(path) {
                self.gone.insert(path.clone(), (Arc::clone(config), now));
                waiting.push(path.clone());
            }
        }
        waiting
    }

    /// The repositories whose time has come; they are not given again.
    pub(crate) fn due(&mut self, now: Duration, is_calm: bool) -> Vec<Arc<RepositoryConfig>> {
        if !is_calm {
            return vec![];
        }
        let due: Vec<RepositoryPath> = self
            .gone
            .iter()
            .filter(|(_, (_, since))| now.saturating_sub(*since) >= GRACE)
            .map(|(path, _)| path.clone())
            .collect();
        due.iter().filter_map(|path| self.gone.remove(path)).map(|(config, _)| config).collect()
    }

    /// Puts a repository back whose deletion failed, to be tried again.
    pub(crate) fn retry(&mut self, config: Arc<RepositoryConfig>, now: Duration) {
        self.gone.entry(config.path.clone()).or_insert((config, now));
    }
}

#[cfg(test)]
mod tests;
