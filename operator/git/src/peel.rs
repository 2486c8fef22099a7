//! Peeling: what an annotated tag finally points at, remembered across requests.

use std::sync::Mutex;

use gix::{ObjectId, hashtable::HashMap, objs::Kind};

use crate::odb::{Error, Packs, ReadCache};

/// How many answers are remembered; beyond that everything is forgotten, which costs time only.
const MAX_REMEMBERED: usize = 400_000;

/// Longest chain of tags that point at tags; git has no limit, honest repositories have two.
const MAX_TAGS: usize = 100;

/// Remembers for each tip what it peels to, non-tags included. One per repository; objects never change, so neither do answers.
#[derive(Default)]
pub struct PeelCache {
    known: Mutex<HashMap<ObjectId, Option<ObjectId>>>,
}

impl PeelCache {
    /// What each of `ids` peels to: `None` for what is not a tag (or is not there).
    ///
    /// # Errors
    /// When an object is there and cannot be read.
    pub fn peel_all(&self, packs: &Packs, ids: &[ObjectId]) -> Result<Vec<Option<ObjectId>>, Error> {
        let mut unknown = Vec::new();
        let mut peeled = {
            let known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let lookup = |(at, id): (usize, &ObjectId)| {
                known.get(id).copied().unwrap_or_else(|| {
                    unknown.push(at);
                    None
                })
            };
            ids.iter().enumerate().map(lookup).collect::<Vec<_>>()
        };
        if unknown.is_empty() {
            return Ok(peeled);
        }
        let mut cache = ReadCache::new(1 << 20);
        for at in &unknown {
            peeled[*at] = peel(packs, &ids[*at], &mut cache)?.map(|tag| tag.target);
        }
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if known.len() + unknown.len() > MAX_REMEMBERED {
            known.clear();
        }
        for at in unknown.into_iter().take(MAX_REMEMBERED) {
            known.insert(ids[at], peeled[at]);
        }
        Ok(peeled)
    }
}

/// An annotated tag, followed to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peeled {
    /// The tag objects on the way, the given one first.
    pub tags: Vec<ObjectId>,
    /// The first object that is not a tag.
    pub target: ObjectId,
    /// What that is.
    pub kind: Kind,
}

/// Follows the tag `id`; `None` when it is not a tag or not there.
///
/// # Errors
/// When an object on the way is missing or cannot be read.
pub fn peel(packs: &Packs, id: &gix::oid, cache: &mut ReadCache) -> Result<Option<Peeled>, Error> {
    let Some((Kind::Tag, _)) = packs.header(id, cache)? else { return Ok(None) };
    let mut tags = Vec::new();
    let mut target = id.to_owned();
    let mut buffer = Vec::new();
    while tags.len() < MAX_TAGS {
        let object = packs.get(&target, &mut buffer, cache)?;
        if object.kind != Kind::Tag {
            return Ok(Some(Peeled { tags, target, kind: object.kind }));
        }
        tags.push(target);
        target = gix::objs::TagRefIter::from_bytes(object.data, gix::hash::Kind::Sha1)
            .target_id()
            .map_err(|_| Error::damaged("packs".as_ref(), format!("the tag {target} cannot be read")))?;
    }
    Err(Error::damaged("packs".as_ref(), format!("the tag {id} points at more than {MAX_TAGS} tags in a row")))
}
