//! What the store needs done with packs, by somebody who knows git.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use model::lfs::Oid;

use crate::repository::{LocalPack, ReceivedPack};

/// Works on pack files. Calls block.
pub trait PackTools: Send + Sync + 'static {
    /// Writes one pack with the objects of all `packs`, each once, and its index, into `folder`.
    ///
    /// # Errors
    /// When a pack cannot be read or written; the text is for the log.
    fn fold(&self, packs: &[LocalPack], folder: &Path) -> Result<ReceivedPack, String>;

    /// Writes one pack with the objects of `packs` that `tips` lead to, each once, and its index, into `folder`; `None` when
    /// there are none.
    ///
    /// # Errors
    /// When a pack cannot be read or written, or an object is missing; the text is for the log.
    fn prune(
        &self,
        packs: &[LocalPack],
        tips: &[model::ObjectId],
        folder: &Path,
    ) -> Result<Option<ReceivedPack>, String>;

    /// Whether `packs` hold everything that `tips` lead to. With `complete`, the first one holds whatever its objects lead to.
    ///
    /// # Errors
    /// When a pack cannot be read; the text is for the log.
    fn covers(&self, packs: &[LocalPack], complete: bool, tips: &[model::ObjectId]) -> Result<bool, String>;

    /// Writes the reachability table of the pack at position `at` of `packs`, all those of the repository, to the file `out`, the
    /// same bytes whenever it is asked; false and no file when there is nothing to write down.
    ///
    /// # Errors
    /// When a pack cannot be read or the file not written; the text is for the log.
    fn tabulate(&self, packs: &[LocalPack], at: usize, out: &Path) -> Result<bool, String>;

    /// Writes a bundle of a branch with this value to the file `out`, which must not exist: exactly what it leads to. Those of `packs`
    /// that have a reachability table have it at the same position of `tables`. Returns its size.
    ///
    /// # Errors
    /// When a pack cannot be read, an object is missing, or the file not written; the text is for the log.
    fn bundle(
        &self,
        packs: &[LocalPack],
        tables: &[Option<PathBuf>],
        branch: (&model::RefName, model::ObjectId),
        out: &Path,
    ) -> Result<u64, String>;

    /// Whether the commit `old` is `new`, or behind it; a doubtful "no" is no.
    ///
    /// # Errors
    /// When a pack cannot be read; the text is for the log.
    fn is_behind(&self, packs: &[LocalPack], old: model::ObjectId, new: model::ObjectId) -> Result<bool, String>;

    /// Verifies every object of `packs` against its id, and that every link of every object leads to one of them.
    /// Returns one line per problem, at most `limit`.
    ///
    /// # Errors
    /// When the check itself could not be done.
    fn verify(&self, packs: &[LocalPack], tips: &[model::ObjectId], limit: usize) -> Result<Vec<String>, String>;

    /// Those of `oids` that no blob of `packs` names which may be a pointer file of Git LFS.
    ///
    /// # Errors
    /// When any object of a pack cannot be read; the text is for the log.
    fn lfs_unnamed(&self, packs: &[LocalPack], oids: HashSet<Oid>) -> Result<HashSet<Oid>, String>;
}
