//! Looks after every repository that is served, one after the other, each once in an interval.

use std::sync::Arc;
use std::time::Duration;

use model::desired::DesiredState;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::stores::Stores;

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
        loop {
            let served: Vec<_> = desired.borrow().repositories.values().cloned().collect();
            let rest = interval / u32::try_from(served.len()).unwrap_or(u32::MAX).max(1);
            for config in &served {
                let Some(store) = stores.get(&config.store) else { continue };
                match store.maintain(&config.path).await {
                    Ok(done) if done == store::Maintained::default() => {}
                    Ok(done) => tracing::info!(repo.name = %config.path, ?done, "looked after a repository"),
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
