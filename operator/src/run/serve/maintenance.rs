//! Looks after every repository that is served, one after the other, each once in an interval; and lets go what is idle.

use std::sync::Arc;
use std::time::Duration;

use gateway::Gateway;
use model::desired::{DesiredState, RepositoryConfig};
use store::{BundleWish, Maintained, Repositories};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::stores::Stores;

/// How often what is idle is let go.
const SWEEP: Duration = Duration::from_secs(30);
/// A repository that nobody has asked for in this time leaves the memory.
const IDLE_REPOSITORY: Duration = Duration::from_mins(5);
/// After a start clients come first: nothing is known yet, and each request has to ask the bucket.
const FIRST: Duration = Duration::from_mins(1);
/// How often replicas are looked at that nobody wrote to here.
const LOOK: Duration = Duration::from_secs(30);
/// How often it is looked whether there is anything to look after.
const IDLE: Duration = Duration::from_secs(10);

/// Runs until it is stopped. What the round under way has not done is done by the next one, here or on another server.
pub(super) async fn run(
    desired: watch::Receiver<Arc<DesiredState>>,
    stores: Stores,
    interval: Duration,
    stop: CancellationToken,
) {
    let rounds = async {
        tokio::time::sleep(FIRST.min(interval)).await;
        loop {
            let served: Vec<_> = desired.borrow().repositories.values().cloned().collect();
            let rest = interval / u32::try_from(served.len()).unwrap_or(u32::MAX).max(1);
            for config in &served {
                let Some(store) = stores.get(&config.store) else { continue };
                match store.maintain(&config.path).await {
                    Ok(done) => {
                        looked_after(config, done);
                        bundle(store, config).await;
                    }
                    Err(error) => {
                        tracing::warn!(repo.name = %config.path, %error, "maintenance failed; it is tried again in its next round");
                    }
                }
                tokio::time::sleep(rest).await;
            }
            if served.is_empty() {
                tokio::time::sleep(IDLE.min(interval)).await;
            }
        }
    };
    let _: Option<std::convert::Infallible> = stop.run_until_cancelled(rounds).await;
}

fn looked_after(config: &RepositoryConfig, done: Maintained) {
    if done != Maintained::default() {
        tracing::info!(repo.name = %config.path, ?done, "looked after a repository");
    }
}

/// Looks after the bundle of a repository.
async fn bundle(store: &Repositories, config: &RepositoryConfig) {
    let wish = config.bundle_min_bytes.map(|min_bytes| BundleWish { branch: config.default_branch.clone(), min_bytes });
    if wish.is_some() && (!store.is_direct() || config.replication.is_some()) {
        tracing::warn!(
            repo.name = %config.path,
            "spec.bundleURI has no effect: the store URL does not let clients reach the bucket (lfs-direct), or the repository is in several stores"
        );
    }
    match store.keep_bundle(&config.path, wish.as_ref()).await {
        Ok(false) => {}
        Ok(true) => tracing::info!(repo.name = %config.path, "there is a new bundle"),
        Err(error) => {
            tracing::warn!(repo.name = %config.path, %error, "failed to look after a bundle; it is tried again in the next round");
        }
    }
}

/// Looks after the replicas of every repository once in a while: of what a server wrote that is not there any more, too.
pub(super) async fn replicate(desired: watch::Receiver<Arc<DesiredState>>, stores: Stores, stop: CancellationToken) {
    let rounds = async {
        loop {
            let served: Vec<_> = desired.borrow().repositories.values().cloned().collect();
            let replicated: Vec<_> = served.iter().filter(|config| config.replication.is_some()).collect();
            let rest = LOOK / u32::try_from(replicated.len()).unwrap_or(u32::MAX).max(1);
            for config in &replicated {
                let Some(store) = stores.get(&config.store) else { continue };
                if let Err(error) = store.replicate(&config.path).await {
                    tracing::warn!(repo.name = %config.path, %error, "failed to look after the replicas; it is tried again");
                }
                tokio::time::sleep(rest).await;
            }
            if replicated.is_empty() {
                tokio::time::sleep(LOOK).await;
            }
        }
    };
    let _: Option<std::convert::Infallible> = stop.run_until_cancelled(rounds).await;
}

/// Lets go what nobody uses: packs that are open, repositories in memory, packs on the disk.
pub(super) async fn let_go(gateway: Arc<Gateway>, stores: Stores, cache_retention: Duration, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(SWEEP);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        gateway.close_idle();
        for store in stores.values() {
            store.close_idle(IDLE_REPOSITORY).await;
            store.evict_idle(cache_retention);
        }
    }
}
