//! All commits that some lead to, by their numbers in reachability tables where they are in one: then a commit costs a bit,
//! and no id is looked up as long as the history stays in one pack.

use gix::{ObjectId, hashtable::HashMap};

use crate::{
    odb::{Bits, Commit, Error, Packs, Place, ReadCache},
    reach::Code,
};

/// A set of commits.
pub(crate) struct Commits {
    /// For each pack numbers of its table.
    pub(crate) tabled: Vec<Bits>,
    /// Those that are in no table.
    pub(crate) loose: HashMap<ObjectId, Commit>,
}

impl Commits {
    /// None of these packs.
    pub(crate) fn none(packs: &Packs) -> Self {
        Self { tabled: vec![Bits::default(); packs.packs().len()], loose: HashMap::default() }
    }

    /// Adds a commit; whether it is new.
    pub(crate) fn insert(&mut self, packs: &Packs, id: ObjectId, commit: Commit) -> bool {
        match commit.place {
            Some(place) => self.insert_at(packs, place),
            None => self.loose.insert(id, commit).is_none(),
        }
    }

    fn insert_at(&mut self, packs: &Packs, place: Place) -> bool {
        let table = packs.packs().get(place.pack).and_then(|pack| pack.table());
        let bits = self.tabled.get_mut(place.pack);
        table.zip(bits).is_some_and(|(table, bits)| bits.insert(place.number, table.len()))
    }

    /// Whether a commit is in it.
    pub(crate) fn contains(&self, packs: &Packs, id: &ObjectId) -> bool {
        // It may be in several tables, but was added in one or more of them.
        let marked = packs.packs().iter().zip(&self.tabled).filter(|(_, bits)| bits.len() > 0);
        let number = |pack: &crate::odb::Pack| pack.table()?.number(pack.position(id)?);
        self.loose.contains_key(id)
            || marked.into_iter().any(|(pack, bits)| number(pack).is_some_and(|number| bits.contains(number)))
    }

    /// How many are in tables.
    pub(crate) fn in_tables(&self) -> usize {
        self.tabled.iter().map(Bits::len).sum()
    }
}

/// The commits `tips` and all behind them; `None` when it was given up.
pub(crate) fn ancestors(
    packs: &Packs,
    tips: &[ObjectId],
    alive: &dyn Fn() -> bool,
    cache: &mut ReadCache,
) -> Result<Option<Commits>, Error> {
    let mut found = Commits::none(packs);
    let mut buffer = Vec::new();
    // What is to be looked up, near which pack; and what is in a table.
    let mut ids: Vec<(ObjectId, Option<usize>)> = tips.iter().map(|id| (*id, None)).collect();
    let mut places: Vec<Place> = Vec::new();
    let mut steps = 0_u32;
    loop {
        steps = steps.wrapping_add(1);
        if steps.is_multiple_of(1_024) && !alive() {
            return Ok(None);
        }
        if let Some(place) = places.pop() {
            parents(packs, place, &mut found, (&mut places, &mut ids))?;
            continue;
        }
        let Some((id, near)) = ids.pop() else { return Ok(Some(found)) };
        if found.loose.contains_key(&id) {
            continue;
        }
        let commit = packs.commit(&id, near, &mut buffer, cache)?;
        let place = commit.place;
        if place.is_none() {
            ids.extend(commit.parents.iter().map(|parent| (*parent, None)));
        }
        if found.insert(packs, id, commit) {
            places.extend(place);
        }
    }
}

/// Goes on to the parents of a commit in a table.
fn parents(
    packs: &Packs,
    place: Place,
    found: &mut Commits,
    (places, ids): (&mut Vec<Place>, &mut Vec<(ObjectId, Option<usize>)>),
) -> Result<(), Error> {
    let pack = packs.pack(place.pack)?;
    let Some(table) = pack.table() else { return Ok(()) };
    for parent in table.numbered_parents(place.number) {
        match parent.map_err(|code| table.code(code)) {
            Ok(number) => {
                let parent = Place { pack: place.pack, number };
                if found.insert_at(packs, parent) {
                    places.push(parent);
                }
            }
            Err(Code::Own(position)) => ids.push((pack.id_at(position).to_owned(), None)),
            Err(Code::Foreign(id)) => ids.push((id, None)),
        }
    }
    Ok(())
}
