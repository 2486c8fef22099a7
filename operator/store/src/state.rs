//! The state of a repository: a pure fold of its log.

mod locks;
pub(crate) mod upkeep;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use model::{ObjectFormat, ObjectId, RefName, RefValue};

use crate::entry::{BundleChange, Compaction, Entry, PackRecord, Place, PushRecord, ReachRecord, UpkeepRecord};
use crate::refs::Refs;
pub use locks::{Lock, Locks};
pub use upkeep::{DroppedTips, Lease, RetiredUpload, Scrub, Upkeep, Upload};

/// The name of a pack: the SHA-256 of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackId(pub(crate) [u8; 32]);

impl PackId {
    /// From its hexadecimal form.
    pub(crate) fn parse(hex: &str) -> Option<Self> {
        Some(Self(hex::decode(hex).ok()?.try_into().ok()?))
    }
}

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One change of one reference, with the value that it must have before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefEdit {
    /// The reference.
    pub name: RefName,
    /// Its value before; `None`: it must not exist.
    pub old: Option<ObjectId>,
    /// Its value after; `None`: it is deleted.
    pub new: Option<ObjectId>,
    /// For an annotated tag, what its new value peels to: who lists references need not read objects.
    pub peeled: Option<ObjectId>,
}

impl RefEdit {
    /// The value after the edit, with what it peels to.
    #[must_use]
    pub fn value(&self) -> Option<RefValue> {
        self.new.map(|id| RefValue { id, peeled: self.peeled })
    }
}

/// A pack and where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPack {
    /// Generation of the entry that added it.
    pub generation: u64,
    /// What is known of it.
    pub record: PackRecord,
    /// Its reachability table, once maintenance has made one.
    pub reach: Option<ReachRecord>,
}

impl StoredPack {
    /// What the bucket holds of it beside the log, with sizes.
    pub fn uploads(&self) -> impl Iterator<Item = (Upload, u64)> + use<> {
        let pack = match self.record.place {
            Place::Uploaded(upload) => Some((upload, self.record.bytes)),
            Place::Inlined { .. } => None,
        };
        pack.into_iter().chain(self.reach.map(|table| (table.upload, table.bytes)))
    }
}

/// The state after one entry.
#[derive(Clone)]
pub struct Snapshot {
    /// Number of the entry; 0 before the first.
    pub generation: u64,
    /// SHA-256 that ends the entry; the next entry names it.
    pub digest: [u8; 32],
    /// What names objects; unknown until the first push has named one.
    pub object_format: Option<ObjectFormat>,
    /// The references.
    pub refs: Refs,
    /// The branch that became the default by being pushed first.
    pub head: Option<RefName>,
    /// The packs that hold the objects, oldest first.
    pub packs: Arc<Vec<StoredPack>>,
    /// What maintenance goes by.
    pub upkeep: Arc<Upkeep>,
    /// Pushes so far.
    pub pushes: u64,
    /// Time of the last push.
    pub last_push: Option<Timestamp>,
    /// Git LFS locks.
    pub locks: Arc<Locks>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { generation, refs, head, packs, .. } = self;
        write!(
            f,
            "Snapshot {{ generation: {generation}, refs: {}, head: {head:?}, packs: {} }}",
            refs.len(),
            packs.len()
        )
    }
}

/// Why an entry cannot follow a state. Each is a broken invariant: the log is damaged or the entry is not of this log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// The hash chain is broken.
    #[error("the entry does not follow its predecessor: the hash chain is broken")]
    Chain,
    /// An edit does not start from the value that the reference has.
    #[error("the entry changes {0} from a value that it does not have")]
    Edit(RefName),
    /// An object is named by another hash function than those before.
    #[error("the entry names {0} by another hash function than the entries before")]
    ObjectFormat(ObjectId),
    /// A pack is retired that is not there.
    #[error("the entry retires a pack that the repository does not have")]
    Retired,
    /// A reachability table is of a pack that is not there.
    #[error("the entry gives a reachability table to a pack that the repository does not have")]
    Table,
    /// A lock is taken on a path that is locked, or one is released that is not there.
    #[error("the entry takes or releases a lock that it cannot")]
    Lock,
    /// A pack is named whose upload may have been deleted as an orphan.
    #[error("the entry names an upload that began before the fence of orphans")]
    Swept,
}

impl Default for Snapshot {
    /// The state before the first entry.
    fn default() -> Self {
        Self {
            generation: 0,
            digest: [0; 32],
            object_format: None,
            refs: Refs::default(),
            head: None,
            packs: Arc::default(),
            upkeep: Arc::default(),
            pushes: 0,
            last_push: None,
            locks: Arc::default(),
        }
    }
}

impl Snapshot {
    /// The state after `entry`, whose own digest is `digest`.
    ///
    /// # Errors
    /// When the entry cannot follow this state.
    pub fn after(&self, entry: &Entry, digest: [u8; 32]) -> Result<Self, FoldError> {
        if entry.previous != self.digest {
            return Err(FoldError::Chain);
        }
        let mut next = Self { generation: self.generation + 1, digest, ..self.clone() };
        if self.generation == 0 {
            Arc::make_mut(&mut next.upkeep).begun = Some(entry.time);
        }
        for push in &entry.pushes {
            for edit in &push.edits {
                if next.refs.get(&edit.name) != edit.old {
                    return Err(FoldError::Edit(edit.name.clone()));
                }
                next.set(edit)?;
            }
            next.end_bundle(push, entry.time);
            if !push.dropped.is_empty() {
                Arc::make_mut(&mut next.upkeep).dropped.add(&push.dropped, next.generation, entry.time);
            }
            if push.packs.iter().any(|pack| !pack.exact) && next.upkeep.junk_since.is_none() {
                Arc::make_mut(&mut next.upkeep).junk_since = Some(entry.time);
            }
            let end = next.packs.len();
            next.add_packs(end, &push.packs, entry.time)?;
            if push.default_branch.is_some() {
                next.head.clone_from(&push.default_branch);
            }
            next.pushes += 1;
            next.last_push = Some(entry.time);
        }
        if let Some(compaction) = &entry.compaction {
            next.compact(compaction, entry.time)?;
        }
        if let Some(record) = &entry.upkeep {
            next.keep_up(record, entry.time)?;
        }
        for record in &entry.locks {
            Arc::make_mut(&mut next.locks).change(record, entry.time).ok_or(FoldError::Lock)?;
        }
        Ok(next)
    }

    /// Makes an edit, whatever the value before.
    pub(crate) fn set(&mut self, edit: &RefEdit) -> Result<(), FoldError> {
        if let Some(new) = edit.new
            && *self.object_format.get_or_insert_with(|| new.kind()) != new.kind()
        {
            return Err(FoldError::ObjectFormat(new));
        }
        self.refs.set(&edit.name, edit.value());
        Ok(())
    }

    /// Adds packs at a position of the order.
    fn add_packs(&mut self, at: usize, records: &[PackRecord], time: Timestamp) -> Result<(), FoldError> {
        for record in records {
            if let Place::Uploaded(upload) = record.place
                && !self.upkeep.admits(&upload)
            {
                return Err(FoldError::Swept);
            }
            // The same bytes may be pushed twice; one copy is enough.
            let pack = StoredPack { generation: self.generation, record: record.clone(), reach: None };
            if self.packs.iter().any(|pack| pack.record.id == record.id) {
                self.retire(&pack, time);
            } else {
                Arc::make_mut(&mut self.packs).insert(at, pack);
            }
        }
        Ok(())
    }

    /// What is added takes the place of the first pack that is retired: deltas look for their bases in older packs first.
    fn compact(&mut self, compaction: &Compaction, time: Timestamp) -> Result<(), FoldError> {
        let retired: HashSet<&PackId> = compaction.retired.iter().collect();
        let is_retired = |pack: &StoredPack| retired.contains(&pack.record.id);
        let first = self.packs.iter().position(is_retired).unwrap_or(self.packs.len());
        let (gone, kept): (Vec<_>, Vec<_>) = self.packs.iter().cloned().partition(is_retired);
        if gone.len() != retired.len() {
            return Err(FoldError::Retired);
        }
        self.packs = Arc::new(kept);
        for pack in &gone {
            self.retire(pack, time);
        }
        self.add_packs(first, &compaction.added, time)?;
        if let Some(through) = compaction.pruned_through {
            let upkeep = Arc::make_mut(&mut self.upkeep);
            upkeep.pruned_at = self.generation;
            upkeep.dropped.prune(through);
            upkeep.junk_since = if self.packs.iter().all(|pack| pack.record.exact) { None } else { Some(time) };
        }
        Ok(())
    }

    /// Leaves an upload to maintenance; what lies inside an entry goes with the entry.
    fn retire(&mut self, pack: &StoredPack, at: Timestamp) {
        let retired = pack.uploads().map(|(upload, bytes)| RetiredUpload { upload, bytes, at });
        Arc::make_mut(&mut self.upkeep).retired.extend(retired);
    }

    fn keep_up(&mut self, record: &UpkeepRecord, at: Timestamp) -> Result<(), FoldError> {
        self.add_tables(&record.reach, at)?;
        self.change_bundle(record.bundle.as_ref(), at)?;
        let upkeep = Arc::make_mut(&mut self.upkeep);
        if let Some(lease) = record.lease {
            upkeep.lease = Some((self.generation, lease));
        }
        upkeep.uploads_before = upkeep.uploads_before.max(record.uploads_before);
        upkeep.truncated = upkeep.truncated.max(record.truncated);
        if let Some(problems) = &record.scrubbed {
            upkeep.scrub = Some(Scrub { at, problems: problems.clone(), mended: record.mended.clone() });
        }
        if !record.deleted.is_empty() {
            let deleted: HashSet<_> = record.deleted.iter().collect();
            upkeep.retired.retain(|retired| !deleted.contains(&retired.upload));
        }
        Ok(())
    }

    /// Gives packs their tables, in place of damaged ones if they have any.
    fn add_tables(&mut self, tables: &[(PackId, ReachRecord)], at: Timestamp) -> Result<(), FoldError> {
        for (id, table) in tables {
            if !self.upkeep.admits(&table.upload) {
                return Err(FoldError::Swept);
            }
            let found = self.packs.iter().position(|pack| pack.record.id == *id).ok_or(FoldError::Table)?;
            let before = Arc::make_mut(&mut self.packs)[found].reach.replace(*table);
            let retired = before.map(|ReachRecord { upload, bytes, .. }| RetiredUpload { upload, bytes, at });
            Arc::make_mut(&mut self.upkeep).retired.extend(retired);
        }
        Ok(())
    }

    /// Puts a bundle in the place of the one before, if the entry says so.
    fn change_bundle(&mut self, change: Option<&BundleChange>, at: Timestamp) -> Result<(), FoldError> {
        let made = match change {
            None => return Ok(()),
            Some(BundleChange::Withdrawn) => None,
            Some(BundleChange::Made(bundle)) if !self.upkeep.admits(&bundle.upload) => return Err(FoldError::Swept),
            Some(BundleChange::Made(bundle)) => Some(bundle.clone()),
        };
        self.retire_bundle(at);
        Arc::make_mut(&mut self.upkeep).bundle = made;
        Ok(())
    }

    /// A bundle ends with the push that deletes its branch or does not go on from what the branch was: it may hold what nobody is to see.
    fn end_bundle(&mut self, push: &PushRecord, at: Timestamp) {
        let Some(bundle) = &self.upkeep.bundle else { return };
        let of_branch = push.edits.iter().filter(|edit| edit.name == bundle.branch);
        let mut edits = of_branch.map(|edit| (edit.old, edit.new));
        if edits.any(|(old, new)| new.is_none() || old.is_some_and(|old| push.dropped.contains(&old))) {
            self.retire_bundle(at);
        }
    }

    /// Leaves the bundle to maintenance, if there is one.
    fn retire_bundle(&mut self, at: Timestamp) {
        let upkeep = Arc::make_mut(&mut self.upkeep);
        let retired =
            upkeep.bundle.take().map(|bundle| RetiredUpload { upload: bundle.upload, bytes: bundle.bytes, at });
        upkeep.retired.extend(retired);
    }

    /// The edits that do not start from the present value, with that value: empty means that a push may go on.
    #[must_use]
    pub fn moved(&self, edits: &[RefEdit]) -> Vec<(RefName, Option<ObjectId>)> {
        let moved = |edit: &RefEdit| {
            let present = self.refs.get(&edit.name);
            (present != edit.old).then(|| (edit.name.clone(), present))
        };
        edits.iter().filter_map(moved).collect()
    }

    /// Bytes of all packs.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.packs.iter().map(|pack| pack.record.bytes).sum()
    }

    /// Objects in all packs.
    #[must_use]
    pub fn objects(&self) -> u64 {
        self.packs.iter().map(|pack| pack.record.objects).sum()
    }

    /// Uploads that are in use, or that wait for deletion in their own time.
    pub(crate) fn uploads(&self) -> BTreeSet<Upload> {
        let in_use = self.packs.iter().flat_map(StoredPack::uploads).map(|(upload, _)| upload);
        let bundle = self.upkeep.bundle.iter().map(|bundle| bundle.upload);
        in_use.chain(bundle).chain(self.upkeep.retired.iter().map(|retired| retired.upload)).collect()
    }

    /// Whether the pack lies inside a log entry.
    #[must_use]
    pub fn is_inlined(pack: &StoredPack) -> bool {
        matches!(pack.record.place, Place::Inlined { .. })
    }
}
