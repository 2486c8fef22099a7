//! The state of a repository: a pure fold of its log.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use model::{ObjectId, RefName, RefValue};

use crate::entry::{Entry, PackRecord, Place};
use crate::refs::Refs;

/// Old tips that are remembered one by one; beyond, a complete walk replaces the short cut.
const MAX_DROPPED_TIPS: usize = 1_000;

/// The name of a pack: the SHA-256 of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackId(pub(crate) [u8; 32]);

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
}

/// The state after one entry.
#[derive(Clone)]
pub struct Snapshot {
    /// Number of the entry; 0 before the first.
    pub generation: u64,
    /// SHA-256 that ends the entry; the next entry names it.
    pub digest: [u8; 32],
    /// The references.
    pub refs: Refs,
    /// The branch that became the default by being pushed first.
    pub head: Option<RefName>,
    /// The packs that hold the objects, oldest first.
    pub packs: Arc<Vec<StoredPack>>,
    /// Old values of references that were deleted or rewound: what only they reach is invisible.
    pub dropped_tips: Arc<Vec<ObjectId>>,
    /// More tips were dropped than are remembered: only a walk tells what is visible.
    pub complete_walk_needed: bool,
    /// Pushes so far.
    pub pushes: u64,
    /// Time of the last push.
    pub last_push: Option<Timestamp>,
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
    /// A pack is retired that is not there.
    #[error("the entry retires a pack that the repository does not have")]
    Retired,
}

impl Default for Snapshot {
    /// The state before the first entry.
    fn default() -> Self {
        Self {
            generation: 0,
            digest: [0; 32],
            refs: Refs::default(),
            head: None,
            packs: Arc::default(),
            dropped_tips: Arc::default(),
            complete_walk_needed: false,
            pushes: 0,
            last_push: None,
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
        for push in &entry.pushes {
            for edit in &push.edits {
                if next.refs.get(&edit.name) != edit.old {
                    return Err(FoldError::Edit(edit.name.clone()));
                }
                next.refs.set(&edit.name, edit.value());
            }
            next.drop_tips(&push.dropped);
            next.add_packs(&push.packs);
            if push.default_branch.is_some() {
                next.head.clone_from(&push.default_branch);
            }
            next.pushes += 1;
            next.last_push = Some(entry.time);
        }
        if let Some(compaction) = &entry.compaction {
            next.retire_packs(&compaction.retired)?;
            next.add_packs(&compaction.added);
        }
        Ok(next)
    }

    fn drop_tips(&mut self, dropped: &[ObjectId]) {
        if dropped.is_empty() || self.complete_walk_needed {
            return;
        }
        let tips = Arc::make_mut(&mut self.dropped_tips);
        tips.extend_from_slice(dropped);
        if tips.len() > MAX_DROPPED_TIPS {
            tips.clear();
            self.complete_walk_needed = true;
        }
    }

    fn add_packs(&mut self, records: &[PackRecord]) {
        if records.is_empty() {
            return;
        }
        let generation = self.generation;
        let packs = Arc::make_mut(&mut self.packs);
        for record in records {
            // The same bytes may be pushed twice; one copy is enough.
            if !packs.iter().any(|pack| pack.record.id == record.id) {
                packs.push(StoredPack { generation, record: record.clone() });
            }
        }
    }

    fn retire_packs(&mut self, retired: &[PackId]) -> Result<(), FoldError> {
        let retired: HashSet<&PackId> = retired.iter().collect();
        let packs = Arc::make_mut(&mut self.packs);
        let before = packs.len();
        packs.retain(|pack| !retired.contains(&pack.record.id));
        if before - packs.len() == retired.len() { Ok(()) } else { Err(FoldError::Retired) }
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

    /// Whether the pack lies inside a log entry.
    #[must_use]
    pub fn is_inlined(pack: &StoredPack) -> bool {
        matches!(pack.record.place, Place::Inlined { .. })
    }
}
