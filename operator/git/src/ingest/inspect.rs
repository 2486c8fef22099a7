//! One object: its name with collision detection, git's rules, and what it links to.

use std::collections::HashSet;

use gix::{
    ObjectId,
    objs::{Kind, encode},
};

use super::{IngestError, links::Links};
use crate::object_check::{self, Mentions};

/// What was gathered from the objects seen by one thread.
#[derive(Default)]
pub(super) struct Inspector {
    pub(super) links: Links,
    /// What trees call `.gitmodules`.
    pub(super) gitmodules: HashSet<ObjectId>,
    /// What trees call `.gitattributes`.
    pub(super) gitattributes: HashSet<ObjectId>,
}

impl Inspector {
    /// Names and checks an object.
    pub(super) fn object(&mut self, kind: Kind, data: &[u8]) -> Result<ObjectId, IngestError> {
        let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
        hasher.update(&encode::loose_header(kind, data.len() as u64));
        hasher.update(data);
        let id = hasher.try_finalize().map_err(|_| IngestError::Collision)?;
        object_check::check(kind, data, self).map_err(|problem| IngestError::Object { id, problem })?;
        Ok(id)
    }

    /// Takes over what another thread gathered.
    pub(super) fn merge(&mut self, other: Self) {
        let Self { links, gitmodules, gitattributes } = other;
        self.links.merge(links);
        self.gitmodules.extend(gitmodules);
        self.gitattributes.extend(gitattributes);
    }
}

impl Mentions for Inspector {
    fn link(&mut self, id: &gix::oid, kind: Kind) {
        self.links.add(id, kind);
    }

    fn gitmodules(&mut self, id: &gix::oid) {
        self.gitmodules.insert(id.to_owned());
    }

    fn gitattributes(&mut self, id: &gix::oid) {
        self.gitattributes.insert(id.to_owned());
    }
}

/// The name of an object whose data comes in pieces.
pub(super) fn hash_pieces(
    kind: Kind,
    size: u64,
    pieces: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<(), IngestError>,
) -> Result<ObjectId, IngestError> {
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(&encode::loose_header(kind, size));
    pieces(&mut |piece| hasher.update(piece))?;
    hasher.try_finalize().map_err(|_| IngestError::Collision)
}
