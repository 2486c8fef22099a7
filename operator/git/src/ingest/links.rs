//! The objects that received objects link to, each once, and how they relate to the pack in the end.

use std::collections::HashMap;

use gix::{ObjectId, objs::Kind};

use super::{IngestError, table::Table};

/// Slots of the filter. Trees that are deltas of each other follow each other and share nearly all links; the filter
/// fits the processor's second cache, the map does not.
const RECENT: usize = 1 << 14;

/// Links that do without the filter: a small push need not clear its memory.
const FEW: usize = 256;

/// How links relate to the pack.
pub(super) struct Settled {
    /// Those that leave it, with what kind they expect.
    pub(super) out: Vec<(ObjectId, Kind)>,
    /// Objects of the pack that none leads to.
    pub(super) unreferenced: Vec<ObjectId>,
}

/// A set of links.
#[derive(Default)]
pub(super) struct Links {
    recent: Vec<(ObjectId, u8)>,
    /// Bit set of the kinds as which an object is linked to. The map's hash is keyed with a random secret, because
    /// clients choose these bytes.
    seen: HashMap<ObjectId, u8>,
}

impl Links {
    /// Notes a link.
    pub(super) fn add(&mut self, id: &gix::oid, kind: Kind) {
        if self.recent.is_empty() {
            if self.seen.len() < FEW {
                *self.seen.entry(id.to_owned()).or_insert(0) |= bit(kind);
                return;
            }
            self.recent.resize(RECENT, (id.kind().null(), 0));
        }
        let [first, second, ..] = *id.as_bytes() else { return };
        let slot = &mut self.recent[(usize::from(first) << 8 | usize::from(second)) % RECENT];
        let link = (id.to_owned(), bit(kind));
        // This line runs for every entry of every tree.
        if *slot != link {
            *slot = link;
            *self.seen.entry(link.0).or_insert(0) |= link.1;
        }
    }

    /// Takes over the links of another thread.
    pub(super) fn merge(&mut self, mut other: Self) {
        if other.seen.len() > self.seen.len() {
            std::mem::swap(self, &mut other);
        }
        for (id, kinds) in other.seen {
            *self.seen.entry(id).or_insert(0) |= kinds;
        }
    }

    /// The links that leave the pack and the objects of the pack that no link leads to, both sorted. Refuses links to
    /// objects that are of another kind.
    pub(super) fn settle(&self, table: &Table, order: &[u32]) -> Result<Settled, IngestError> {
        let mut referenced = vec![false; order.len()];
        let mut out = Vec::new();
        for (id, kinds) in &self.seen {
            let expected = kind_of(*kinds);
            match table.position(order, id) {
                Some(position) => {
                    referenced[position] = true;
                    let is = table.kinds[order[position] as usize];
                    if bit(is) != *kinds {
                        return Err(IngestError::WrongKind { id: *id, is, expected: other_than(*kinds, is) });
                    }
                }
                None if bit(expected) == *kinds => out.push((*id, expected)),
                None => {
                    let is = expected;
                    return Err(IngestError::WrongKind { id: *id, is, expected: other_than(*kinds, is) });
                }
            }
        }
        out.sort_unstable();
        let lonely = order.iter().zip(&referenced).filter(|(_, referenced)| !**referenced);
        let unreferenced = lonely.map(|(entry, _)| table.ids[*entry as usize]).collect();
        Ok(Settled { out, unreferenced })
    }
}

fn bit(kind: Kind) -> u8 {
    match kind {
        Kind::Commit => 1,
        Kind::Tree => 2,
        Kind::Blob => 4,
        Kind::Tag => 8,
    }
}

fn kind_of(kinds: u8) -> Kind {
    [Kind::Commit, Kind::Tree, Kind::Blob].into_iter().find(|kind| kinds & bit(*kind) != 0).unwrap_or(Kind::Tag)
}

fn other_than(kinds: u8, is: Kind) -> Kind {
    kind_of(kinds & !bit(is))
}
