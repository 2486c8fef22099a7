//! Follows a folder: publishes what it says, logs what is wrong once, deletes the data that its manifests give up.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::desired::{DesiredState, RepositoryConfig};
use store::Repositories;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::deletion::Deletions;
use crate::folder::{Folder, FolderError, Listing, Reading};
use crate::problem::{Problem, Severity};

/// How often the folder is looked at.
const EVERY: Duration = Duration::from_millis(250);
/// A folder that changed is read when it looked the same twice, so that half-written files are rarely seen, or after this many
/// looks: changes take effect within two seconds.
const MAX_LOOKS: u32 = 4;

/// A folder that was read and is followed.
pub struct Watched {
    state: Arc<Mutex<State>>,
    desired: watch::Sender<Arc<DesiredState>>,
    problems: watch::Sender<Arc<Vec<Problem>>>,
}

/// What following needs to remember.
struct State {
    folder: Folder,
    reading: Reading,
    applied: Option<Listing>,
    pending: Option<Listing>,
    looks: u32,
    reported: BTreeSet<Problem>,
    is_unreadable: bool,
}

impl Folder {
    /// Reads the folder and prepares to follow it.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn watch(self) -> Result<Watched, FolderError> {
        let listing = self.list()?;
        let mut state = State {
            folder: self,
            reading: Reading::default(),
            applied: None,
            pending: None,
            looks: 0,
            reported: BTreeSet::new(),
            is_unreadable: false,
        };
        let (desired, problems) = state.apply(listing);
        Ok(Watched {
            state: Arc::new(Mutex::new(state)),
            desired: watch::channel(Arc::new(desired)).0,
            problems: watch::channel(Arc::new(problems)).0,
        })
    }
}

impl Watched {
    /// What the folder wants, now and after each change.
    #[must_use]
    pub fn desired(&self) -> watch::Receiver<Arc<DesiredState>> {
        self.desired.subscribe()
    }

    /// What is wrong with the folder, now and after each change.
    #[must_use]
    pub fn problems(&self) -> watch::Receiver<Arc<Vec<Problem>>> {
        self.problems.subscribe()
    }

    /// Follows the folder until `stop`. Deletes from `stores` what manifests with a confirmed `deletionPolicy: Delete` leave
    /// behind.
    pub fn poll(
        &self,
        stores: BTreeMap<String, Arc<Repositories>>,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let poller = Poller {
            state: Arc::clone(&self.state),
            desired: self.desired.clone(),
            problems: self.problems.clone(),
            stores,
            deletions: Deletions::default(),
            start: Instant::now(),
        };
        poller.run(stop)
    }
}

impl State {
    /// Looks at the folder; gives what it says when that changed.
    fn look(&mut self) -> Option<(DesiredState, Vec<Problem>)> {
        let listing = match self.folder.list() {
            Ok(listing) => listing,
            Err(error) => {
                if !self.is_unreadable {
                    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                    tracing::error!(error = source, "{error}; what it said before stays in effect");
                }
                self.is_unreadable = true;
                return None;
            }
        };
        self.is_unreadable = false;
        if self.applied.as_ref() == Some(&listing) {
            self.pending = None;
            return None;
        }
        self.looks = if self.pending.is_some() { self.looks + 1 } else { 0 };
        if self.pending.as_ref() == Some(&listing) || self.looks >= MAX_LOOKS {
            self.pending = None;
            return Some(self.apply(listing));
        }
        self.pending = Some(listing);
        None
    }

    fn apply(&mut self, listing: Listing) -> (DesiredState, Vec<Problem>) {
        let loaded = self.reading.apply(&listing, self.folder.scope());
        self.applied = Some(listing);
        self.report(&loaded.problems);
        tracing::info!(
            repositories = loaded.desired.repositories.len(),
            credentials = loaded.desired.credentials.values().map(Vec::len).sum::<usize>(),
            rules = loaded.desired.rules.len(),
            problems = loaded.problems.len(),
            "manifests read"
        );
        (loaded.desired, loaded.problems)
    }

    /// Logs each problem when it appears.
    fn report(&mut self, problems: &[Problem]) {
        let now: BTreeSet<Problem> = problems.iter().cloned().collect();
        for problem in now.difference(&self.reported) {
            let (file, line, field) = (problem.file.display(), problem.line, problem.field.as_str());
            match problem.severity {
                Severity::Error => tracing::error!(%file, line, field, "manifest refused: {problem}"),
                Severity::Warning => tracing::warn!(%file, line, field, "manifest: {problem}"),
            }
        }
        self.reported = now;
    }

    /// Whether nothing about the folder looks like an accident.
    fn is_calm(&self) -> bool {
        let is_empty = self.applied.as_ref().is_none_or(Listing::is_empty);
        let has_errors = self.reported.iter().any(|problem| problem.severity == Severity::Error);
        !is_empty && !has_errors && !self.is_unreadable && self.pending.is_none()
    }
}

/// The task that follows a folder.
struct Poller {
    state: Arc<Mutex<State>>,
    desired: watch::Sender<Arc<DesiredState>>,
    problems: watch::Sender<Arc<Vec<Problem>>>,
    stores: BTreeMap<String, Arc<Repositories>>,
    deletions: Deletions,
    start: Instant,
}

/// A repository whose data was to be deleted, and whether it was.
type Deleted = (Arc<RepositoryConfig>, Result<(), store::Error>);

impl Poller {
    async fn run(mut self, stop: CancellationToken) {
        let mut deleting: JoinSet<Deleted> = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(done) = deleting.join_next() => self.deleted(done),
                () = tokio::time::sleep(EVERY) => self.step(&mut deleting).await,
            }
        }
        // A deletion that is cut short would leave objects that nothing names any more.
        while let Some(done) = deleting.join_next().await {
            self.deleted(done);
        }
    }

    async fn step(&mut self, deleting: &mut JoinSet<Deleted>) {
        let state = Arc::clone(&self.state);
        let looked = tokio::task::spawn_blocking(move || {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let changed = state.look();
            (changed, state.is_calm())
        });
        let Ok((changed, is_calm)) = looked.await else { return };
        let now = self.start.elapsed();
        if let Some((desired, problems)) = changed {
            let old = self.desired.send_replace(Arc::new(desired));
            self.problems.send_replace(Arc::new(problems));
            let new = Arc::clone(&self.desired.borrow());
            for path in self.deletions.observe(&old, &new, now) {
                tracing::warn!(repo.name = %path, "the manifest is gone and its deletionPolicy is Delete: data will be deleted");
            }
        }
        let due = self.deletions.due(now, is_calm);
        let wanted = Arc::clone(&self.desired.borrow());
        for config in due.into_iter().filter(|config| !wanted.repositories.contains_key(&config.path)) {
            let store = self.stores.get(&config.store).cloned();
            deleting.spawn(async move {
                let outcome = match &store {
                    Some(store) => store.delete(&config.path).await,
                    None => Ok(()),
                };
                (config, outcome)
            });
        }
    }

    fn deleted(&mut self, done: Result<Deleted, tokio::task::JoinError>) {
        match done {
            Ok((config, Ok(()))) => tracing::warn!(repo.name = %config.path, "data deleted"),
            Ok((config, Err(error))) => {
                tracing::error!(repo.name = %config.path, %error, "failed to delete data; it is tried again");
                self.deletions.retry(config, self.start.elapsed());
            }
            Err(error) => tracing::error!(%error, "failed to delete data"),
        }
    }
}

#[cfg(test)]
mod tests;
