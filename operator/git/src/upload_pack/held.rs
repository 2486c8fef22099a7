//! What the client has, as far as it is known or tables tell.

use std::cell::{Cell, OnceCell};

use gix::{ObjectId, hashtable::HashSet};

use super::{
    ancestors::{Commits, ancestors},
    plan::Question,
};
use crate::odb::{Marks, Packs, ReadCache};

/// What the client has, as far as it is known.
#[derive(Default)]
pub(super) struct Held<'a> {
    /// Single objects.
    pub(super) ids: HashSet<ObjectId>,
    /// All that some commits lead to.
    pub(super) behind: Option<Marks<'a>>,
    /// What else can be found out.
    haves: Option<Box<Haves<'a>>>,
}

/// What commits lead to that the client has, found out object by object, and not before it was in vain for some.
pub(super) struct Haves<'a> {
    packs: &'a Packs,
    commits: Vec<ObjectId>,
    misses: Cell<u32>,
    behind: OnceCell<Option<Commits>>,
}

/// So many objects that are not known cost less than finding out what is behind the commits that the client has.
const MISSES: u32 = 8;

/// With more objects than this the tables' lists take longer to read, once for each server, than the trees at the edge.
const MANY_OBJECTS: u64 = 2_000_000;

impl<'a> Haves<'a> {
    /// Of the client that a question is about; `None` if tables cannot tell, or it lacks some of what its commits lead to.
    pub(super) fn of(question: &Question<'a>) -> Option<Self> {
        let Question { request, view, common, boundary, .. } = *question;
        let has_tables = view.packs.packs().iter().any(|pack| pack.table().is_some());
        let has_all = request.filter.is_none() && boundary.cut.is_empty() && !common.is_empty();
        (has_all && has_tables).then(|| Self {
            packs: view.packs,
            commits: common.commits.iter().copied().collect(),
            misses: Cell::new(0),
            behind: OnceCell::new(),
        })
    }

    fn contains(&self, id: &gix::oid) -> bool {
        self.misses.set(self.misses.get().saturating_add(1));
        self.misses.get() > MISSES && self.lead_to(id)
    }

    /// Whether tables know of all that the commits lead to, and are asked sooner than the trees at the edge.
    pub(super) fn tell_all(&self) -> bool {
        let objects: u64 =
            self.packs.packs().iter().filter(|pack| pack.table().is_some()).map(|pack| u64::from(pack.len())).sum();
        objects <= MANY_OBJECTS && self.behind().is_some_and(|behind| behind.loose.is_empty())
    }

    /// The commits, and those behind them; `None` if they cannot be read.
    fn behind(&self) -> Option<&Commits> {
        let walk = || ancestors(self.packs, &self.commits, &|| true, &mut ReadCache::default()).ok().flatten();
        self.behind.get_or_init(walk).as_ref()
    }

    /// Whether tables say that the commits lead to an object.
    pub(super) fn lead_to(&self, id: &gix::oid) -> bool {
        let Some(behind) = self.behind() else { return false };
        self.packs.packs().iter().zip(&behind.tabled).any(|(pack, numbers)| {
            let found = pack.table().zip(pack.position(id));
            found.is_some_and(|(table, position)| {
                let number = table.number(position).or_else(|| table.introducer(position));
                number.is_some_and(|number| numbers.contains(number))
            })
        })
    }
}

impl<'a> Held<'a> {
    /// These objects.
    pub(super) fn these(ids: HashSet<ObjectId>) -> Self {
        Self { ids, ..Self::default() }
    }

    pub(super) fn contains(&self, id: &gix::oid) -> bool {
        self.ids.contains(id)
            || self.behind.as_ref().is_some_and(|behind| behind.contains(id))
            || self.haves.as_ref().is_some_and(|haves| haves.contains(id))
    }

    /// And what these lead to.
    pub(super) fn and_behind(self, haves: Option<Haves<'a>>) -> Self {
        Self { haves: haves.map(Box::new), ..self }
    }
}
