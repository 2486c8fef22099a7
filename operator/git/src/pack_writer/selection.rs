//! Which objects a pack is made of.

use gix::ObjectId;

use crate::odb::{self, Location, Packs};

/// Which objects a pack is made of.
pub struct Selection {
    /// Where the objects are: sorted, each object once.
    pub(super) entries: Vec<Location>,
    /// All objects of all packs.
    pub(super) everything: bool,
}

impl Selection {
    /// Selects the oldest copies of the objects `ids`, each of which must be there and occur once.
    ///
    /// # Errors
    /// When one is missing.
    pub fn of(packs: &Packs, ids: impl IntoIterator<Item = ObjectId>) -> Result<Self, odb::Error> {
        let locate = |id: ObjectId| packs.locate_oldest(&id).ok_or(odb::Error::Missing(id));
        let mut entries = ids.into_iter().map(locate).collect::<Result<Vec<_>, _>>()?;
        entries.sort_unstable();
        entries.dedup();
        Ok(Self { entries, everything: false })
    }

    /// Selects what is at these places: sorted, each object once, its oldest copy.
    pub(crate) fn at(entries: Vec<Location>) -> Self {
        Self { entries, everything: false }
    }

    /// Selects all objects of all packs, of duplicates the oldest copy.
    #[must_use]
    pub fn all(packs: &Packs) -> Self {
        Self { everything: true, ..Self::from(packs, 0) }
    }

    /// Selects the objects of the packs from position `from` on that no older pack has.
    #[must_use]
    pub fn from(packs: &Packs, from: usize) -> Self {
        let mut entries = Vec::new();
        for (at, pack) in packs.packs().iter().enumerate().skip(from) {
            let older = &packs.packs()[..at];
            let new = pack.iter().filter(|(id, _, _)| !older.iter().any(|older| older.contains(id)));
            entries.extend(new.map(|(_, offset, _)| Location { pack: at, offset }));
        }
        entries.sort_unstable();
        Self { entries, everything: false }
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
