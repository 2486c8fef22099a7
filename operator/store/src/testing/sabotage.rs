//! Deliberate faults, so that a test of the store can prove that it would notice.
//!
//! A fault is asked for by thread: a simulation runs on one. Where the feature `testing` is off, nothing of this exists and the
//! hooks are the constant `false`.

use std::cell::Cell;

/// A way in which the store may be made wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// After a lost race, the edits are not checked again.
    SkipRecheck,
    /// "Exists" is taken for another's entry without reading it.
    TakeExistsForTheirs,
    /// "Exists" is taken for our own entry without reading it.
    TakeExistsForOurs,
    /// A push is acknowledged before its entry is created.
    AcknowledgeEarly,
    /// An entry is written over the one that has its number.
    ReuseNumber,
    /// A doubtful answer is taken for a failure.
    TakeDoubtForFailure,
    /// A read is answered from memory, without asking the log.
    AnswerFromMemory,
    /// A read shares a request that began before it did.
    ShareOlderProbe,
    /// A push is told that references moved without asking the log.
    RefuseFromMemory,
    /// What can be done of an atomic push is done.
    SplitAtomic,
    /// A failed upload of an index is ignored.
    IgnoreFailedUpload,
    /// A pack that comes from the bucket is not verified.
    SkipVerification,
    /// A push that was checked before unreachable objects went is not checked again.
    SkipPruneRecheck,
    /// Unreachable objects go without a look at what was pushed meanwhile.
    PruneUnseen,
    /// Uploads that may have been swept are named all the same.
    DropFence,
    /// Retired packs are deleted before their readers had time to end.
    DeleteEarly,
    /// Entries become stubs although packs lie in them.
    StubNeeded,
    /// Old entries are deleted, not replaced by stubs.
    DeleteEntries,
    /// A stub is taken for the end of the log.
    StopAtStub,
    /// Every writing of an object is encrypted with the same salt, so with the same nonces.
    ReuseSalt,
    /// A push is acknowledged before enough replicas hold it.
    AcknowledgeBeforeQuorum,
    /// A replica becomes the primary store without closing the log of the old one.
    PromoteUnfenced,
    /// Copies are written anew from the primary store's, whether that was verified or not.
    RepairUnverified,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::SkipRecheck,
        Self::TakeExistsForTheirs,
        Self::TakeExistsForOurs,
        Self::AcknowledgeEarly,
        Self::ReuseNumber,
        Self::TakeDoubtForFailure,
        Self::AnswerFromMemory,
        Self::ShareOlderProbe,
        Self::RefuseFromMemory,
        Self::SplitAtomic,
        Self::IgnoreFailedUpload,
        Self::SkipVerification,
        Self::SkipPruneRecheck,
        Self::PruneUnseen,
        Self::DropFence,
        Self::DeleteEarly,
        Self::StubNeeded,
        Self::DeleteEntries,
        Self::StopAtStub,
        Self::ReuseSalt,
    ];
}

thread_local! {
    static ASKED: Cell<Option<Sabotage>> = const { Cell::new(None) };
}

/// From now on, the store is wrong in this way on this thread; with `None`, it is right again.
pub fn sabotage(fault: Option<Sabotage>) {
    ASKED.set(fault);
}

/// Whether a test asked for this fault.
pub(crate) fn asked(fault: Sabotage) -> bool {
    ASKED.get() == Some(fault)
}
