//! Checks everything that the bucket holds of a repository: the log from its first entry, the checkpoints, every object of every
//! pack, every link. For `codekeep fsck`; not for a request path.

use std::collections::VecDeque;
use std::sync::Arc;

use model::{RepositoryId, RepositoryPath};

use super::hint::Hint;
use super::{Latest, LocalPack, Next, Reader, Repository, Shared, open};
use crate::blocking::blocking;
use crate::checkpoint;
use crate::entry::EntryError;
use crate::error::Error;
use crate::keys;
use crate::refs::{Base, Refs, Table};
use crate::repositories::Repositories;
use crate::state::Snapshot;

/// Problems of one repository that are told; more would not help.
const MAX_PROBLEMS: usize = 100;

/// Bases that are kept in memory.
const KEPT: usize = 2;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Entries of the log.
    pub entries: u64,
    /// References after the last one.
    pub references: usize,
    /// Packs in use.
    pub packs: usize,
    /// Objects in them.
    pub objects: u64,
    /// Bytes of the packs.
    pub bytes: u64,
    /// Git LFS objects that can be downloaded.
    pub lfs_objects: u64,
    /// One line per problem; none means that everything is sound.
    pub problems: Vec<String>,
    /// What the last scrub had found damaged or missing in one store, and has written anew.
    pub mended: Vec<String>,
}

impl Repositories {
    /// Checks a repository; `None` when the store does not hold it. Damage is reported, not an error.
    ///
    /// # Errors
    /// When the check could not be done, say because the store does not answer.
    pub async fn check(&self, path: &RepositoryPath) -> Result<Option<CheckReport>, Error> {
        let mut report = CheckReport::default();
        let id = match self.find(path).await {
            Ok(Some(id)) => id,
            Ok(None) => return Ok(None),
            Err(error) => return report.take(error).map(|()| Some(report)),
        };
        let shared = self.shared(&id);
        let repository = Arc::new(Repository::new(id.clone(), shared, Latest::empty()));
        if let Err(error) = repository.check(&mut report).await {
            report.take(error)?;
        }
        let (checked, problems) = self.lfs(&id).check().await?;
        report.lfs_objects = checked;
        report.problems.extend(problems);
        Ok(Some(report))
    }
}

impl CheckReport {
    /// Damage goes into the report; what kept us from looking stays an error.
    fn take(&mut self, error: Error) -> Result<(), Error> {
        if !error.is_damage() {
            return Err(error);
        }
        self.problems.push(error.to_string());
        Ok(())
    }
}

impl Repository {
    async fn check(self: &Arc<Self>, report: &mut CheckReport) -> Result<(), Error> {
        let mut derived = Derived::list(&self.shared, &self.id).await?;
        let mut reader = Reader::expecting(&*self.shared.store, &self.id, u64::MAX);
        loop {
            match reader.next_after(self.known().generation).await? {
                Next::Entry(generation, entry) => {
                    self.apply(self.shared.store.epoch(), generation, &entry)?;
                    report.entries = generation;
                    self.check_derived(&mut derived, report).await?;
                }
                // What lies before is cut off: the oldest checkpoint is where the log begins.
                Next::Stub => self.begin_at_checkpoint(&derived.checkpoints, report).await?,
                Next::End => break,
            }
        }
        let snapshot = self.known();
        if let Some(beyond) = derived.beyond(&self.id, snapshot.generation) {
            let entry = keys::log_entry(&self.id, snapshot.generation + 1);
            report.problems.push(format!("{entry} is missing, although {beyond} was made from later entries"));
        }
        report.references = snapshot.refs.len();
        report.packs = snapshot.packs.len();
        report.objects = snapshot.objects();
        report.bytes = snapshot.bytes();
        report.mended = snapshot.upkeep.scrub.iter().flat_map(|scrub| scrub.mended.clone()).collect();
        self.check_objects(&snapshot, report).await
    }

    /// Goes on from the oldest readable checkpoint that is newer than what is known.
    async fn begin_at_checkpoint(&self, checkpoints: &[u64], report: &mut CheckReport) -> Result<(), Error> {
        let known = self.known().generation;
        for generation in checkpoints.iter().filter(|generation| **generation > known) {
            if let Some(snapshot) = open::read_checkpoint(&self.shared, &self.id, *generation).await? {
                self.known.store(Arc::new(snapshot));
                return Ok(());
            }
            let key = keys::checkpoint(&self.id, *generation);
            report.problems.push(format!("{key} is damaged, and the log before it is cut off"));
        }
        let key = keys::log_entry(&self.id, known + 1);
        Err(Error::Damaged { key, reason: "it is cut off, and no later checkpoint is left".to_owned() })
    }

    /// What was made from the state that is reached.
    async fn check_derived(self: &Arc<Self>, derived: &mut Derived, report: &mut CheckReport) -> Result<(), Error> {
        let generation = self.known().generation;
        if derived.bases.binary_search(&generation).is_ok() {
            self.check_base(derived, report).await?;
        }
        if derived.checkpoints.binary_search(&generation).is_ok() {
            self.check_checkpoint(derived, report).await?;
        }
        Ok(())
    }

    /// A base must have the references that the log leads to. If it has, the state goes on from it, as that of a server does, so
    /// that checkpoints can be compared without looking at all references each time.
    async fn check_base(self: &Arc<Self>, derived: &mut Derived, report: &mut CheckReport) -> Result<(), Error> {
        let known = self.known();
        let key = keys::references(&self.id, known.generation);
        let Some(body) = self.shared.store.get(&key).await? else { return Ok(()) };
        let (repository, generation) = (Arc::clone(self), known.generation);
        let compared = blocking(move || {
            let base = Base::new(generation, Table::open(body)?);
            let is_right = base.table.range(b"").eq(known.refs.iter());
            Ok(is_right.then(|| {
                repository.rebase(base.clone(), &known);
                base
            }))
        });
        match compared.await? {
            Ok(Some(base)) => derived.keep(base),
            Ok(None) => report.problems.push(format!("{key} does not say what the log says")),
            Err(error) => report.problems.push(damaged(&key, &error)),
        }
        Ok(())
    }

    /// A checkpoint must say what the log says.
    async fn check_checkpoint(&self, derived: &mut Derived, report: &mut CheckReport) -> Result<(), Error> {
        let known = self.known();
        let key = keys::checkpoint(&self.id, known.generation);
        let Some(body) = self.shared.store.get(&key).await? else { return Ok(()) };
        let layer = match checkpoint::decode(&body, &self.id) {
            Ok(layer) => layer,
            Err(error) => {
                report.problems.push(damaged(&key, &error));
                return Ok(());
            }
        };
        let kept = derived.kept.iter().find(|base| Some(base.name()) == layer.base).cloned();
        let base = match kept {
            Some(base) => Some(base),
            None => open::named(&self.shared, &self.id, layer.base).await?,
        };
        base.clone().into_iter().for_each(|base| derived.keep(base));
        let Some(found) = layer.on(base) else {
            let reason = "the references that it builds on are missing or damaged";
            report.problems.push(format!("{key} is of no use, as {reason}; the log is read instead"));
            return Ok(());
        };
        let id = self.id.clone();
        let is_right = blocking(move || {
            let rest = |state: &Snapshot| checkpoint::encode(&id, &Snapshot { refs: Refs::default(), ..state.clone() });
            rest(&found) == rest(&known) && found.refs.is_same(&known.refs)
        });
        if !is_right.await? {
            report.problems.push(format!("{key} does not say what the log says"));
        }
        Ok(())
    }

    /// Brings every pack in, which verifies its bytes, then has the objects of all that could be read verified, and the tables made
    /// of them.
    async fn check_objects(&self, snapshot: &Snapshot, report: &mut CheckReport) -> Result<(), Error> {
        let before = report.problems.len();
        let mut packs = Vec::new();
        for pack in snapshot.packs.iter() {
            match self.local_pack(pack.clone()).await {
                Ok(pack) => packs.push(pack),
                Err(error) => report.take(error)?,
            }
        }
        let tips: Vec<_> = snapshot.refs.iter().map(|reference| reference.id).collect();
        let tools = Arc::clone(&self.shared.tools);
        let verify = move || tools.verify(&packs, &tips, MAX_PROBLEMS).map(|problems| (packs, problems));
        let (packs, problems) = blocking(verify).await?.map_err(Error::Packs)?;
        report.problems.extend(problems);
        // Of packs with problems no table can be made.
        if report.problems.len() == before { self.check_tables(snapshot, &packs, report).await } else { Ok(()) }
    }

    /// Makes every reachability table anew: it must be the one that the bucket has.
    async fn check_tables(
        &self,
        snapshot: &Snapshot,
        packs: &[LocalPack],
        report: &mut CheckReport,
    ) -> Result<(), Error> {
        for (at, pack) in snapshot.packs.iter().enumerate() {
            let Some(table) = pack.reach else { continue };
            let key = match self.download_table(&table).await {
                Ok(downloaded) => downloaded.key.clone(),
                Err(error) => {
                    report.take(error)?;
                    continue;
                }
            };
            let folder = self.temporary()?;
            let remade = self.build_table(packs.to_vec(), at, folder.path().join("reach")).await?;
            if remade != Some((table.id, table.bytes)) {
                report.problems.push(format!("{key} does not say what its pack says"));
            }
        }
        Ok(())
    }
}

/// What the bucket has that is made from the log.
struct Derived {
    checkpoints: Vec<u64>,
    bases: Vec<u64>,
    /// The last bases that were seen, which most checkpoints need.
    kept: VecDeque<Base>,
    hint: Option<Hint>,
}

impl Derived {
    async fn list(shared: &Shared, id: &RepositoryId) -> Result<Self, Error> {
        let hint = shared.store.get(&keys::hint(id)).await?;
        Ok(Self {
            checkpoints: open::checkpoints(shared, id).await?,
            bases: open::bases(shared, id).await?,
            kept: VecDeque::new(),
            hint: hint.and_then(|hint| Hint::decode(&hint, id)),
        })
    }

    fn keep(&mut self, base: Base) {
        self.kept.retain(|kept| kept.name() != base.name());
        self.kept.push_front(base);
        self.kept.truncate(KEPT);
    }

    /// The key of something that was made from entries beyond this one.
    fn beyond(&self, id: &RepositoryId, generation: u64) -> Option<String> {
        let first = |numbers: &[u64]| numbers.iter().find(|number| **number > generation).copied();
        first(&self.checkpoints)
            .map(|number| keys::checkpoint(id, number))
            .or_else(|| first(&self.bases).map(|number| keys::references(id, number)))
            .or_else(|| self.hint.as_ref().filter(|hint| hint.generation > generation).map(|_| keys::hint(id)))
    }
}

fn damaged(key: &str, error: &EntryError) -> String {
    format!("{key} is damaged: {error}; the log is read instead")
}

#[cfg(test)]
mod tests;
