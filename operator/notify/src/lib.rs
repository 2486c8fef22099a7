//! Delivers the events of repositories to the targets of notification rules: at least once, in order per repository and target.
//!
//! Events are read from the log that committed them, so none can be lost between a push and its notification. How far a target
//! has been served is a cursor in the bucket; one server at a time holds it, and another goes on where it stopped.

mod metrics;
mod notifier;
mod render;
mod sender;
mod sign;
mod ssrf;
mod stream;

pub use notifier::{Notifier, NotifyError, Reach, TargetStatus};
pub use sender::ServiceAddresses;
