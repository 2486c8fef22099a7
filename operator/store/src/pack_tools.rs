//! What the store needs done with packs, by somebody who knows git.

use std::path::Path;

use crate::repository::{LocalPack, ReceivedPack};

/// Works on pack files. Calls block.
pub trait PackTools: Send + Sync + 'static {
    /// Writes one pack with the objects of all `packs`, each once, and its index, into `folder`.
    ///
    /// # Errors
    /// When a pack cannot be read or written; the text is for the log.
    fn fold(&self, packs: &[LocalPack], folder: &Path) -> Result<ReceivedPack, String>;

    /// Verifies every object of `packs` against its id, and that every link of every object leads to one of them.
    /// Returns one line per problem, at most `limit`.
    ///
    /// # Errors
    /// When the check itself could not be done.
    fn verify(&self, packs: &[LocalPack], tips: &[model::ObjectId], limit: usize) -> Result<Vec<String>, String>;
}
