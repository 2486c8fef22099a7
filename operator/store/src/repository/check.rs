//! Checks everything that the bucket holds of a repository: the log from its first entry, the checkpoints, every object of every
//! pack, every link. For `codekeep fsck`; not for a request path.

use std::sync::Arc;

use model::RepositoryPath;

use super::{Next, Reader, open};
use crate::blocking::blocking;
use crate::checkpoint;
use crate::error::Error;
use crate::keys;
use crate::repositories::Repositories;
use crate::repository::Repository;
use crate::state::Snapshot;

/// Problems of one repository that are told; more would not help.
const MAX_PROBLEMS: usize = 100;

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
    /// One line per problem; none means that everything is sound.
    pub problems: Vec<String>,
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
        let shared = Arc::clone(self.shared());
        let repository = Arc::new(Repository::new(id, shared, Snapshot::default(), 0));
        if let Err(error) = repository.check(&mut report).await {
            report.take(error)?;
        }
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
        let checkpoints = open::checkpoints(&self.shared, &self.id).await?;
        let mut reader = Reader::expecting(&*self.shared.store, &self.id, u64::MAX - 1);
        loop {
            match reader.next_after(self.known().generation).await? {
                Next::Entry(generation, entry) => {
                    let snapshot = self.apply(generation, &entry)?;
                    report.entries = generation;
                    if checkpoints.contains(&generation) {
                        self.check_checkpoint(&snapshot, report).await?;
                    }
                }
                // What lies before is cut off: the oldest checkpoint is where the log begins.
                Next::Stub => self.begin_at_checkpoint(&checkpoints, report).await?,
                Next::End => break,
            }
        }
        let snapshot = self.known();
        if let Some(beyond) = checkpoints.iter().find(|generation| **generation > snapshot.generation) {
            let (checkpoint, entry) =
                (keys::checkpoint(&self.id, *beyond), keys::log_entry(&self.id, snapshot.generation + 1));
            report.problems.push(format!("{entry} is missing, although {checkpoint} was made from later entries"));
        }
        report.references = snapshot.refs.len();
        report.packs = snapshot.packs.len();
        report.objects = snapshot.objects();
        report.bytes = snapshot.bytes();
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

    /// A checkpoint must say what the log says.
    async fn check_checkpoint(&self, snapshot: &Snapshot, report: &mut CheckReport) -> Result<(), Error> {
        let key = keys::checkpoint(&self.id, snapshot.generation);
        let Some(body) = self.shared.store.get(&key).await? else { return Ok(()) };
        match checkpoint::decode(&body) {
            Ok(decoded) if checkpoint::encode(&decoded) == checkpoint::encode(snapshot) => {}
            Ok(_) => report.problems.push(format!("{key} does not say what the log says")),
            Err(error) => report.problems.push(format!("{key} is damaged: {error}; the log is read instead")),
        }
        Ok(())
    }

    /// Brings every pack in, which verifies its bytes, then has the objects of all that could be read verified.
    async fn check_objects(&self, snapshot: &Snapshot, report: &mut CheckReport) -> Result<(), Error> {
        let mut packs = Vec::new();
        for pack in snapshot.packs.iter() {
            match self.local_pack(pack.clone()).await {
                Ok(pack) => packs.push(pack),
                Err(error) => report.take(error)?,
            }
        }
        let tips: Vec<_> = snapshot.refs.iter().map(|(_, id)| *id).collect();
        let tools = Arc::clone(&self.shared.tools);
        let verified = blocking(move || tools.verify(&packs, &tips, MAX_PROBLEMS)).await?;
        report.problems.extend(verified.map_err(Error::Packs)?);
        Ok(())
    }
}
