//! Work that blocks on files or keeps a processor busy: away from the runtime's threads.
//!
//! A runtime of one thread runs it in place instead: such runtimes are those of tests, and what a pool of threads does first is
//! not for a simulation to decide.

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::error::Error;

/// Runs `work` to its end and gives what it gives.
///
/// # Errors
/// When the runtime stops before the work could run.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        let done = work();
        // On a pool, others would have run meanwhile.
        tokio::task::yield_now().await;
        return Ok(done);
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Stopping)
}
