//! Who is a delta against whom.

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
};

use gix::ObjectId;

use crate::ingest::table::{BY_NAME, ByName, Table, WHOLE};

/// No entry.
const NONE: u32 = u32::MAX;

/// The deltas against each entry.
pub(super) struct Family {
    first: Vec<u32>,
    next: Vec<u32>,
    /// The child with most descendants.
    heavy: Vec<u32>,
    /// At the first of the deltas that name the same base: whether a walk has taken them all. An object that comes
    /// twice would otherwise make its children twice, and so on.
    claimed: Vec<AtomicBool>,
    /// Whole objects that deltas build on.
    pub(super) roots: Vec<u32>,
}

/// What is left to visit of the children of one object.
pub(super) struct Children {
    next: u32,
    heavy: u32,
    by_name: Range<usize>,
}

impl Family {
    /// Looks at all entries. `table.by_name` is sorted.
    pub(super) fn new(table: &Table) -> Self {
        let len = table.len();
        let mut family = Self {
            first: vec![NONE; len],
            next: vec![NONE; len],
            heavy: vec![NONE; len],
            claimed: table.by_name.iter().map(|_| AtomicBool::new(false)).collect(),
            roots: Vec::new(),
        };
        let mut weights = vec![1_u32; len];
        // Bases come before their deltas, so from the end every weight is complete when it is added to the base's.
        for entry in (0..len).rev() {
            let parent = table.parents[entry];
            if parent == WHOLE || parent == BY_NAME {
                continue;
            }
            let (child, parent) = (u32::try_from(entry).unwrap_or(NONE), parent as usize);
            family.next[entry] = std::mem::replace(&mut family.first[parent], child);
            let heavy = family.heavy[parent];
            if heavy == NONE || weights[entry] > weights[heavy as usize] {
                family.heavy[parent] = child;
            }
            weights[parent] = weights[parent].saturating_add(weights[entry]);
        }
        family.roots = family.find_roots(table);
        family
    }

    fn find_roots(&self, table: &Table) -> Vec<u32> {
        let has_children = |entry: usize| {
            self.first[entry] != NONE || !table.by_name.is_empty() && !named(table, &table.ids[entry]).is_empty()
        };
        (0..table.len())
            .filter(|entry| table.parents[*entry] == WHOLE && has_children(*entry))
            .filter_map(|entry| u32::try_from(entry).ok())
            .collect()
    }

    /// The deltas against `entry`, which is called `id`. To be asked once per entry.
    pub(super) fn children(&self, table: &Table, entry: u32, id: &ObjectId) -> Children {
        let entry = entry as usize;
        Children { next: self.first[entry], heavy: self.heavy[entry], by_name: self.claim(table, id) }
    }

    /// The deltas against an object outside of the pack.
    pub(super) fn children_of_outside(&self, table: &Table, id: &ObjectId) -> Children {
        Children { next: NONE, heavy: NONE, by_name: self.claim(table, id) }
    }

    fn claim(&self, table: &Table, id: &ObjectId) -> Range<usize> {
        let range = named(table, id);
        let taken = range.is_empty() || self.claimed[range.start].swap(true, Ordering::Relaxed);
        if taken { 0..0 } else { range }
    }

    /// Takes the next child; `true` when its base was found by name.
    pub(super) fn take(&self, table: &Table, children: &mut Children) -> Option<(u32, bool)> {
        while children.next != NONE {
            let child = children.next;
            children.next = self.next[child as usize];
            if child != children.heavy {
                return Some((child, false));
            }
        }
        if let Some(position) = children.by_name.next() {
            return Some((table.by_name[position].entry, true));
        }
        let heavy = std::mem::replace(&mut children.heavy, NONE);
        (heavy != NONE).then_some((heavy, false))
    }

    /// Deltas whose base was not found.
    pub(super) fn unclaimed<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = &'a ByName> {
        let groups = table.by_name.chunk_by(|one, other| one.base == other.base);
        let starts = groups.scan(0, |next, group| {
            let start = *next;
            *next += group.len();
            Some((start, group))
        });
        starts.filter(|(start, _)| !self.claimed[*start].load(Ordering::Relaxed)).flat_map(|(_, group)| group)
    }
}

impl Children {
    /// Whether there is certainly no further child.
    pub(super) fn is_empty(&self) -> bool {
        self.next == NONE && self.heavy == NONE && self.by_name.is_empty()
    }
}

fn named(table: &Table, id: &ObjectId) -> Range<usize> {
    let start = table.by_name.partition_point(|delta| delta.base < *id);
    let len = table.by_name[start..].partition_point(|delta| delta.base == *id);
    start..start + len
}
