//! Where no controller does it: has the stores promoted that manifests name as the primary ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::RepositoryPath;
use model::desired::{DesiredState, RepositoryConfig};
use store::{Loss, PromoteError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::stores::Stores;

/// When a promotion that failed is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Follows the manifests until `stop`.
pub(super) async fn follow(mut desired: watch::Receiver<Arc<DesiredState>>, stores: Stores, stop: CancellationToken) {
    let follow = async {
        let mut followed = Followed::default();
        loop {
            let now = desired.borrow_and_update().clone();
            let is_complete = followed.round(&now, &stores).await;
            let changed = desired.changed();
            if is_complete {
                // Without a sender the process is ending.
                let _ended = changed.await;
            } else {
                let _elapsed = tokio::time::timeout(RETRY, changed).await;
            }
        }
    };
    let _: Option<std::convert::Infallible> = stop.run_until_cancelled(follow).await;
}

/// What has become of the manifests so far.
#[derive(Default)]
struct Followed {
    /// Repositories about which all is done, by what their manifests said then.
    done: BTreeMap<RepositoryPath, Arc<RepositoryConfig>>,
    /// What was logged last.
    told: BTreeMap<RepositoryPath, String>,
}

impl Followed {
    /// Has stores promoted; tells whether none is left to try again.
    async fn round(&mut self, now: &DesiredState, stores: &Stores) -> bool {
        self.done.retain(|path, config| now.repositories.get(path) == Some(config));
        self.told.retain(|path, _| now.repositories.contains_key(path));
        let mut is_complete = true;
        for (path, config) in now.repositories.iter().filter(|(_, config)| !config.suspended) {
            if !self.done.contains_key(path) {
                let outcome = promoted(config, stores).await;
                is_complete &= outcome.is_ok();
                self.note(config, outcome);
            }
        }
        is_complete
    }

    fn note(&mut self, config: &Arc<RepositoryConfig>, outcome: Result<(), String>) {
        let path = &config.path;
        match outcome {
            Ok(()) => {
                self.done.insert(path.clone(), Arc::clone(config));
                self.told.remove(path);
            }
            Err(reason) if self.told.get(path) != Some(&reason) => {
                tracing::error!(repo.name = %path, reason, "the store that the manifest names as the primary one is not promoted yet");
                self.told.insert(path.clone(), reason);
            }
            Err(_) => {}
        }
    }
}

async fn promoted(config: &RepositoryConfig, stores: &Stores) -> Result<(), String> {
    let Some(to) = config.replication.as_ref().and_then(|replication| replication.primary.as_deref()) else {
        return Ok(());
    };
    let (path, Some(store)) = (&config.path, stores.get(&config.store)) else { return Ok(()) };
    store.find_or_create(path).await.map_err(|error| error.to_string())?;
    let loss = match config.loss {
        model::desired::Loss::Accepted => Loss::Accept,
        model::desired::Loss::Refused => Loss::Refuse,
    };
    match store.promote(path, to, loss).await {
        Ok(promotion) => {
            let store::Promotion { epoch, primary, generation, is_new, left_behind, .. } = promotion;
            if is_new {
                tracing::warn!(repo.name = %path, store = primary, epoch, generation, left_behind, "promoted, as the manifest says");
            }
            Ok(())
        }
        Err(error @ PromoteError::Unsafe(_)) => {
            Err(format!("{error}: set the annotation {}: {}", crds::ACCEPT_LOSS, config.resource_name))
        }
        Err(error) => Err(error.to_string()),
    }
}
