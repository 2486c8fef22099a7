//! What a copy lacks, and what it has too much of: pure.

use std::collections::{BTreeMap, BTreeSet};

use model::RepositoryId;

use crate::keys::{self, LfsPart};
use crate::replicated::is_stub;

/// A part of a repository, in the order in which parts are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Keys,
    Packs,
    LfsContents,
    LfsSums,
    References,
    Checkpoints,
    Cursors,
    /// Entries that became stubs; those that are missing are copied one by one, in their order.
    Log,
}

impl Part {
    pub(crate) const ALL: [Self; 8] = [
        Self::Keys,
        Self::Packs,
        Self::LfsContents,
        Self::LfsSums,
        Self::References,
        Self::Checkpoints,
        Self::Cursors,
        Self::Log,
    ];

    pub(super) fn prefix(self, id: &RepositoryId) -> String {
        match self {
            Self::Keys => keys::keyring_all(id),
            Self::Packs => keys::pack_all(id),
            // Sums make an object visible, so they come after its content.
            Self::LfsContents | Self::LfsSums => keys::lfs_all(id),
            Self::References => keys::references_all(id),
            Self::Checkpoints => keys::checkpoint_all(id),
            Self::Cursors => keys::cursors_all(id),
            Self::Log => keys::log_all(id),
        }
    }

    /// Whether an object of this part is never replaced by another one.
    pub(super) fn is_constant(self) -> bool {
        matches!(self, Self::Packs | Self::LfsContents | Self::LfsSums)
    }

    /// Whether an object is of this part, when the copy has entries up to `newest`.
    fn has(self, key: &str, newest: u64) -> bool {
        match self {
            Self::LfsContents => !is_sums(key),
            Self::LfsSums => is_sums(key),
            // A state that the log does not reach would be believed by nobody.
            Self::References | Self::Checkpoints => keys::number(key).is_some_and(|number| number <= newest),
            Self::Keys | Self::Packs | Self::Cursors | Self::Log => true,
        }
    }
}

fn is_sums(key: &str) -> bool {
    matches!(keys::lfs_part(key), Some((_, _, LfsPart::Sums)))
}

/// Whether the source says that nobody relies on this life of an LFS object.
fn has_ended(key: &str, source: &BTreeSet<&str>) -> bool {
    let life = match keys::lfs_part(key) {
        Some((_, _, LfsPart::Content)) => key,
        Some((_, _, LfsPart::Sums)) => key.strip_suffix(".sums").unwrap_or(key),
        Some((_, _, LfsPart::Gone)) | None => return false,
    };
    source.contains(format!("{life}.gone").as_str())
}

/// What is to be done to the copy.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// Keys and sizes.
    pub(super) copy: Vec<(String, u64)>,
    pub(super) delete: Vec<String>,
}

impl Difference {
    /// Between the source's objects and those of the copy, each with its size. What has another size was replaced at the source, or one of
    /// both is damaged where nothing is ever replaced: then it stays. Nothing goes because the source has lost it: LFS objects go when their
    /// end was decided, derived states when the source has none as old.
    pub(super) fn between(
        part: Part,
        here: &BTreeSet<(String, u64)>,
        there: &BTreeSet<(String, u64)>,
        newest: u64,
    ) -> Self {
        let copied: BTreeMap<&str, u64> = there.iter().map(|(key, size)| (key.as_str(), *size)).collect();
        let named: BTreeSet<&str> = here.iter().map(|(key, _)| key.as_str()).collect();
        let lacks = |(key, size): &&(String, u64)| match (part, copied.get(key.as_str())) {
            // Entries that are not there come in their order; those that are there change in one way only.
            (Part::Log, None) => false,
            (Part::Log, found) => found != Some(size) && usize::try_from(*size).is_ok_and(is_stub),
            (part, found) if part.is_constant() => found.is_none(),
            (_, found) => found != Some(size),
        };
        let copy = here.iter().filter(|(key, _)| part.has(key, newest)).filter(lacks).cloned().collect();
        // The log and its keys are never shorter.
        let oldest = here.iter().filter_map(|(key, _)| keys::number(key)).min();
        let may_go = |key: &str| match part {
            Part::Log | Part::Keys => false,
            Part::Packs | Part::Cursors => true,
            Part::LfsContents | Part::LfsSums => has_ended(key, &named),
            Part::References | Part::Checkpoints => oldest > keys::number(key),
        };
        let gone =
            there.iter().map(|(key, _)| key).filter(|key| part.has(key, u64::MAX) && !named.contains(key.as_str()));
        Self { copy, delete: gone.filter(|key| may_go(key)).cloned().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(objects: &[(&str, u64)]) -> BTreeSet<(String, u64)> {
        objects.iter().map(|(key, size)| ((*key).to_owned(), *size)).collect()
    }

    #[test]
    fn what_is_missing_or_was_replaced_is_copied_and_what_is_gone_goes() {
        let (here, there) = (set(&[("a", 1), ("b", 2), ("c", 3)]), set(&[("a", 1), ("b", 9), ("d", 4)]));
        let found = Difference::between(Part::Cursors, &here, &there, 0);
        assert_eq!((found.copy, found.delete), (vec![("b".to_owned(), 2), ("c".to_owned(), 3)], vec!["d".to_owned()]));
        // A pack is never replaced: one of both is damaged.
        let packs = Difference::between(Part::Packs, &here, &there, 0);
        assert_eq!((packs.copy, packs.delete), (vec![("c".to_owned(), 3)], vec!["d".to_owned()]));
        let (here, there) = (set(&[("a", 1), ("b", 88), ("c", 3)]), set(&[("a", 7), ("b", 900)]));
        let log = Difference::between(Part::Log, &here, &there, 0);
        assert_eq!((log.copy, log.delete), (vec![("b".to_owned(), 88)], vec![]));
    }

    #[test]
    fn what_the_source_has_lost_stays_in_the_copy() {
        let number = |number: u64| format!("x/checkpoint/{number:020}");
        let there = BTreeSet::from([(number(5), 1), (number(7), 1), (number(9), 1)]);
        let between = |here: &BTreeSet<_>| Difference::between(Part::Checkpoints, here, &there, 9).delete;
        assert_eq!(between(&BTreeSet::new()), Vec::<String>::new());
        assert_eq!(between(&BTreeSet::from([(number(7), 1)])), [number(5)]);
        let oid = "0".repeat(64);
        let object = |suffix: &str| format!("x/lfs/{oid}{suffix}");
        let there: BTreeSet<_> = ["", ".sums", ".1", ".1.sums"].map(|suffix| (object(suffix), 1)).into();
        let here = BTreeSet::from([(object(".gone"), 10), (object(".1"), 1)]);
        let gone = |part| Difference::between(part, &here, &there, 9).delete;
        assert_eq!((gone(Part::LfsContents), gone(Part::LfsSums)), (vec![object("")], vec![object(".sums")]));
    }

    #[test]
    fn states_that_the_log_does_not_reach_wait() {
        let number = |number: u64| format!("x/checkpoint/{number:020}");
        let here = BTreeSet::from([(number(5), 1), (number(9), 1)]);
        let found = Difference::between(Part::Checkpoints, &here, &BTreeSet::new(), 7);
        assert_eq!(found.copy, [(number(5), 1)]);
    }
}
