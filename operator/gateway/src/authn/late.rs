//! What the tests of passes and nonces share.

use std::path::Path;
use std::time::Duration;

use model::clock::{Clock, Random, SystemClock, SystemRandom};
use tokio_util::sync::CancellationToken;

use crate::ssh::HostKeys;

/// A clock that stands so many seconds after another one.
pub(super) struct Late(pub(super) i64);

impl Clock for Late {
    fn now(&self) -> jiff::Timestamp {
        SystemClock::new().now() + jiff::SignedDuration::from_secs(self.0)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// The host keys of a folder; one is made if there is none.
pub(super) async fn host_keys(folder: &Path) -> HostKeys {
    let random: &dyn Random = &SystemRandom;
    HostKeys::open(folder, Some(random), CancellationToken::new()).await.unwrap()
}
