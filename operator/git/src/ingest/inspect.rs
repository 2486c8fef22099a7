//! One object: its name with collision detection, git's rules, and what it links to.

use std::collections::HashSet;

use gix::{
    ObjectId,
    objs::{Kind, encode},
};
use model::ObjectFormat;

use super::{IngestError, links::Links};
use crate::object_check::{self, Mentions};

/// What was gathered from the objects seen by one thread.
pub(super) struct Inspector {
    format: ObjectFormat,
    pub(super) links: Links,
    /// What trees call `.gitmodules`.
    pub(super) gitmodules: HashSet<ObjectId>,
    /// What trees call `.gitattributes`.
    pub(super) gitattributes: HashSet<ObjectId>,
}

impl Inspector {
    /// One that has seen nothing.
    pub(super) fn new(format: ObjectFormat) -> Self {
        Self { format, links: Links::default(), gitmodules: HashSet::new(), gitattributes: HashSet::new() }
    }

    /// Names and checks an object. The hasher finds the marks of a collision attack.
    pub(super) fn object(&mut self, kind: Kind, data: &[u8]) -> Result<ObjectId, IngestError> {
        let mut hasher = gix::hash::hasher(self.format);
        hasher.update(&encode::loose_header(kind, data.len() as u64));
        hasher.update(data);
        let id = hasher.try_finalize().map_err(|_| IngestError::Collision)?;
        object_check::check(kind, data, self.format, self).map_err(|problem| IngestError::Object { id, problem })?;
        Ok(id)
    }

    /// Takes over what another thread gathered.
    pub(super) fn merge(&mut self, other: Self) {
        let Self { links, gitmodules, gitattributes, format: _ } = other;
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

/// The name of a blob whose data comes in pieces.
pub(super) fn hash_pieces(
    format: ObjectFormat,
    size: u64,
    pieces: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<(), IngestError>,
) -> Result<ObjectId, IngestError> {
    let mut hasher = gix::hash::hasher(format);
    hasher.update(&encode::loose_header(Kind::Blob, size));
    pieces(&mut |piece| hasher.update(piece))?;
    hasher.try_finalize().map_err(|_| IngestError::Collision)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first 320 bytes of the files of `SHAttered` (<https://shattered.io>), up to where their collision is complete. No object
    /// begins like this: whoever wants one that collides has to pay for another attack, which leaves the same marks.
    const SHATTERED: [&str; 2] = [
        include_str!("../../../../tests/e2e/classes/shattered-1.hex"),
        include_str!("../../../../tests/e2e/classes/shattered-2.hex"),
    ];

    #[test]
    fn marks_of_a_collision_attack_are_found() {
        let digests = SHATTERED.map(|text| {
            let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
            let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
            let bytes: Vec<u8> = digits.chunks(2).map(byte).collect();
            let mut hasher = gix::hash::hasher(ObjectFormat::Sha1);
            hasher.update(&bytes[..256]);
            hasher.update(&bytes[256..]);
            assert!(hasher.try_finalize().is_err());
            bytes
        });
        assert_ne!(digests[0], digests[1]);
        let mut harmless = gix::hash::hasher(ObjectFormat::Sha1);
        harmless.update(&digests[0][..192]);
        harmless.try_finalize().unwrap();
    }
}
