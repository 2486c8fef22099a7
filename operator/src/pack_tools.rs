//! Gives the store, which knows no git, what it needs done with packs.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use git::connectivity::is_ancestor;
use git::existing::Stored;
use git::odb::{PackParts, Packs};
use git::reach::Table;
use model::lfs::Oid;
use model::{Content, ObjectId, RefName};
use store::{LocalPack, PackTools, ReceivedPack};

/// Commits that are looked at to find one behind another.
const ANCESTRY_BUDGET: usize = 1_000_000;

/// Packs by the git crate.
pub(crate) struct GitPackTools;

impl PackTools for GitPackTools {
    fn fold(&self, packs: &[LocalPack], folder: &Path) -> Result<ReceivedPack, String> {
        let opened = open(packs)?;
        let git::fold::Folded { pack, index, objects, .. } =
            git::fold::fold(&opened, 0, folder, &AtomicBool::new(false)).map_err(|error| chain(&error))?;
        let exact = packs.iter().all(|pack| pack.exact);
        Ok(ReceivedPack { pack, index, objects, exact })
    }

    fn prune(&self, packs: &[LocalPack], tips: &[ObjectId], folder: &Path) -> Result<Option<ReceivedPack>, String> {
        let pruned = git::prune::prune(&open(packs)?, tips, folder, &AtomicBool::new(false));
        let pack = |git::fold::Folded { pack, index, objects, .. }| ReceivedPack { pack, index, objects, exact: true };
        Ok(pruned.map_err(|error| chain(&error))?.map(pack))
    }

    fn covers(&self, packs: &[LocalPack], complete: bool, tips: &[ObjectId]) -> Result<bool, String> {
        git::prune::covers(&open(packs)?, complete, tips, &AtomicBool::new(false)).map_err(|error| chain(&error))
    }

    fn tabulate(&self, packs: &[LocalPack], at: usize, out: &Path) -> Result<bool, String> {
        let built = git::reach::build(&open(packs)?, at, out, &AtomicBool::new(false));
        Ok(built.map_err(|error| chain(&error))?.is_some())
    }

    fn bundle(
        &self,
        packs: &[LocalPack],
        tables: &[Option<PathBuf>],
        (branch, tip): (&RefName, ObjectId),
        out: &Path,
    ) -> Result<u64, String> {
        let opened = open(packs)?;
        for (pack, table) in opened.packs().iter().zip(tables) {
            if let Some(file) = table {
                pack.attach(Table::open(&Content::File(file.clone()), pack).map_err(|error| chain(&error))?);
            }
        }
        git::bundle::write(&opened, branch, tip, out, &AtomicBool::new(false)).map_err(|error| chain(&error))
    }

    fn is_behind(&self, packs: &[LocalPack], old: ObjectId, new: ObjectId) -> Result<bool, String> {
        let found = is_ancestor(&Stored::new(&open(packs)?), &old, &new, ANCESTRY_BUDGET);
        Ok(found.map_err(|error| chain(&error))? == Some(true))
    }

    fn verify(&self, packs: &[LocalPack], tips: &[ObjectId], limit: usize) -> Result<Vec<String>, String> {
        git::deep_check::check(&open(packs)?, tips, limit, &AtomicBool::new(false)).map_err(|error| error.to_string())
    }

    fn lfs_unnamed(&self, packs: &[LocalPack], mut oids: HashSet<Oid>) -> Result<HashSet<Oid>, String> {
        git::lfs_pointers::take_named(&open(packs)?, &mut oids).map_err(|error| chain(&error))?;
        Ok(oids)
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

pub(crate) fn open(packs: &[LocalPack]) -> Result<Packs, String> {
    let parts: Vec<PackParts> = packs
        .iter()
        .map(|pack| PackParts {
            pack: pack.pack.clone(),
            index: pack.index.clone(),
            exact: pack.exact,
            arriving: pack.arriving(),
        })
        .collect();
    Packs::open(&parts).map_err(|error| error.to_string())
}
