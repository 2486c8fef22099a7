//! What walks need of commits, from a reachability table when there is one, else inflated and parsed.

use std::collections::HashMap;

use gix::{ObjectId, objs::Kind};
use model::ObjectFormat;

use super::{Error, Location, Packs, ReadCache};
use crate::reach::Code;

/// What a walk needs of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    /// Its tree.
    pub(crate) tree: ObjectId,
    /// Its parents.
    pub(crate) parents: Box<[ObjectId]>,
    /// When it was committed; only a hint for the order.
    pub(crate) date: i64,
    /// Where a table has it.
    pub(crate) place: Option<Place>,
}

/// A commit in a reachability table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// Position of the pack among the packs.
    pub(crate) pack: usize,
    /// Number of the commit in the pack's table.
    pub(crate) number: u32,
}

impl Commit {
    /// Parses the parts that matter; `None` when it is not a commit.
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        let (tree, mut rest) = take_id(data.strip_prefix(b"tree ")?)?;
        let mut parents = Vec::new();
        while let Some(line) = rest.strip_prefix(b"parent ") {
            let (parent, after) = take_id(line)?;
            parents.push(parent);
            rest = after;
        }
        Some(Self { tree, parents: parents.into(), date: committer_date(rest).unwrap_or(0), place: None })
    }
}

/// The id that fills the rest of a line, and what follows that line.
fn take_id(line: &[u8]) -> Option<(ObjectId, &[u8])> {
    let end = line.iter().take(ObjectFormat::longest().len_in_hex() + 1).position(|byte| *byte == b'\n')?;
    Some((ObjectId::from_hex(&line[..end]).ok()?, &line[end + 1..]))
}

/// The seconds in the line `committer <name> <<mail>> <seconds> <zone>`.
fn committer_date(headers: &[u8]) -> Option<i64> {
    let line = headers
        .split(|byte| *byte == b'\n')
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.strip_prefix(b"committer "))?;
    let after = &line[line.iter().rposition(|byte| *byte == b'>')? + 1..];
    let seconds = after.split(|byte| *byte == b' ').find(|word| !word.is_empty())?;
    std::str::from_utf8(seconds).ok()?.parse().ok()
}

/// Where a commit is found: in a table, or only as an object.
enum Found {
    Tabled(Place),
    Stored(Location),
}

impl Packs {
    /// The commit `id`, which must be there. It is looked for `near` that pack first, where a child of it was.
    pub(crate) fn commit(
        &self,
        id: &gix::oid,
        near: Option<usize>,
        buffer: &mut Vec<u8>,
        cache: &mut ReadCache,
    ) -> Result<Commit, Error> {
        let location = match self.find_commit(id, near) {
            Some(Found::Tabled(place)) => return self.tabled(place),
            Some(Found::Stored(location)) => location,
            None => return Err(Error::Missing(id.to_owned())),
        };
        let kind = self.read(location, buffer, cache)?;
        let commit = if kind == Kind::Commit { Commit::parse(buffer) } else { None };
        commit.ok_or_else(|| Error::damaged("packs".as_ref(), format!("{id} is not a commit that can be read")))
    }

    /// Where a table has the commit `id`.
    pub(crate) fn place(&self, id: &gix::oid) -> Option<Place> {
        match self.find_commit(id, None)? {
            Found::Tabled(place) => Some(place),
            Found::Stored(_) => None,
        }
    }

    /// Kind of an object, without inflating anything; `None` when it is not there.
    pub(crate) fn kind(&self, id: &gix::oid, cache: &mut ReadCache) -> Result<Option<Kind>, Error> {
        match self.find_commit(id, None) {
            Some(Found::Tabled(_)) => Ok(Some(Kind::Commit)),
            Some(Found::Stored(location)) => self.kind_at(location, &mut HashMap::new(), cache).map(Some),
            None => Ok(None),
        }
    }

    /// Looks through the packs, youngest first; any table will do, because they all say the same of a commit.
    fn find_commit(&self, id: &gix::oid, near: Option<usize>) -> Option<Found> {
        let mut stored = None;
        for at in near.into_iter().chain((0..self.packs().len()).rev()) {
            let Some(pack) = self.packs().get(at) else { continue };
            let Some(position) = pack.position(id) else { continue };
            if let Some(number) = pack.table().and_then(|table| table.number(position)) {
                return Some(Found::Tabled(Place { pack: at, number }));
            }
            stored = stored.or_else(|| Some(Location { pack: at, offset: pack.offset_at(position) }));
        }
        stored.map(Found::Stored)
    }

    /// What the table says of the commit at `place`.
    pub(crate) fn tabled(&self, place: Place) -> Result<Commit, Error> {
        let pack = self.pack(place.pack)?;
        let gone = || Error::damaged(pack.parts().pack.name(), "its reachability table lacks a commit that was in it");
        let table = pack.table().filter(|table| place.number < table.len()).ok_or_else(gone)?;
        let id = |code| match table.code(code) {
            Code::Own(position) => pack.id_at(position).to_owned(),
            Code::Foreign(id) => id,
        };
        let parents = table.parents(place.number).map(id).collect();
        let (tree, date) = (id(table.tree(place.number)), table.date(place.number));
        Ok(Commit { tree, parents, date, place: Some(place) })
    }
}
