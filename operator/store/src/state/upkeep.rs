//! What the log says about maintenance: who does it, what may be deleted, which uploads are too old to be named.

use std::fmt;

use jiff::Timestamp;
use model::ObjectId;

use crate::entry::BundleRecord;

/// Old tips that are remembered one by one; beyond, a complete walk replaces the short cut.
const MAX_DROPPED_TIPS: usize = 1_000;

/// An upload of a pack: it names the pack's objects in the bucket, and no other upload has the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Upload {
    /// The generation that its writer knew when it began.
    pub generation: u64,
    /// Random.
    pub nonce: [u8; 8],
}

impl fmt::Display for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{}", self.generation, hex::encode(self.nonce))
    }
}

/// Who does maintenance. Not a lock: every entry of maintenance is checked on its own; the lease only saves doing it twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Random name of a server process.
    pub holder: [u8; 16],
    /// Others leave maintenance alone for this long after they first saw the entry.
    pub seconds: u64,
}

/// An upload that no reference needs any more and whose objects are still in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetiredUpload {
    /// Which.
    pub upload: Upload,
    /// Size of its pack in bytes.
    pub bytes: u64,
    /// When it was retired.
    pub at: Timestamp,
}

/// Everything that the bucket held of the repository was read and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrub {
    /// When it came to an end.
    pub at: Timestamp,
    /// One line for each problem; none: all was sound.
    pub problems: Vec<String>,
    /// One line for each object that one store had lost or had damaged, and that was written anew from another one.
    pub mended: Vec<String>,
}

/// The part of a [`super::Snapshot`] that maintenance works on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Upkeep {
    /// The last lease, with the generation of its entry.
    pub lease: Option<(u64, Lease)>,
    /// The fence of orphans: no entry may name an upload that began at an older generation, so what no entry names is dead.
    pub uploads_before: u64,
    /// The last entry that let unreachable objects go. What was checked against an older generation must be checked again.
    pub pruned_at: u64,
    /// Uploads that wait for deletion, in the order of their retirement.
    pub retired: Vec<RetiredUpload>,
    /// Entries up to this one are stubs.
    pub truncated: u64,
    /// When the oldest pack with unreachable objects came that has not been pruned.
    pub junk_since: Option<Timestamp>,
    /// When the first entry was written.
    pub begun: Option<Timestamp>,
    /// What the last scrub found.
    pub scrub: Option<Scrub>,
    /// What references pointed to before they were deleted or forced elsewhere: what only they reach is invisible.
    pub dropped: DroppedTips,
    /// What clients are offered to read from the bucket themselves. At every moment its branch leads to all of it.
    pub bundle: Option<BundleRecord>,
}

/// Old values of references that were deleted or rewound, oldest first, with the time when that happened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DroppedTips {
    ids: Vec<ObjectId>,
    since: Vec<(u64, Timestamp)>,
    /// How many there were that are not remembered.
    pub(crate) forgotten: u64,
}

impl DroppedTips {
    /// From what a checkpoint says.
    pub(crate) fn new(tips: impl IntoIterator<Item = (ObjectId, u64, Timestamp)>, forgotten: u64) -> Self {
        let (ids, since) = tips.into_iter().map(|(id, generation, at)| (id, (generation, at))).unzip();
        Self { ids, since, forgotten }
    }

    /// The tips.
    #[must_use]
    pub fn ids(&self) -> &[ObjectId] {
        &self.ids
    }

    /// The tips with generation and time of the entry that dropped them.
    pub fn iter(&self) -> impl Iterator<Item = (ObjectId, u64, Timestamp)> + '_ {
        self.ids.iter().zip(&self.since).map(|(id, (generation, at))| (*id, *generation, *at))
    }

    /// Whether there are tips that nobody remembers.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.forgotten > 0
    }

    pub(super) fn add(&mut self, tips: &[ObjectId], generation: u64, at: Timestamp) {
        self.ids.extend_from_slice(tips);
        self.since.resize(self.ids.len(), (generation, at));
        let excess = self.ids.len().saturating_sub(MAX_DROPPED_TIPS);
        self.forgotten += excess as u64;
        self.ids.drain(..excess);
        self.since.drain(..excess);
    }

    /// Forgets those up to a generation, whose objects are gone.
    pub(super) fn prune(&mut self, through: u64) {
        let keep = self.since.iter().position(|(generation, _)| *generation > through).unwrap_or(self.ids.len());
        self.ids.drain(..keep);
        self.since.drain(..keep);
        self.forgotten = 0;
    }
}

impl Upkeep {
    /// Whether an entry after this state may name the upload.
    #[must_use]
    pub fn admits(&self, upload: &Upload) -> bool {
        upload.generation >= self.uploads_before || sabotaged!(DropFence)
    }
}
