//! Peeling: what an annotated tag finally points at.

use gix::{ObjectId, objs::Kind};

use crate::odb::{Error, Packs, ReadCache};

/// Longest chain of tags that point at tags; git has no limit, honest repositories have two.
pub(crate) const MAX_TAGS: usize = 100;

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
    let Some(Kind::Tag) = packs.kind(id, cache)? else { return Ok(None) };
    let mut tags = Vec::new();
    let mut target = id.to_owned();
    let mut buffer = Vec::new();
    while tags.len() < MAX_TAGS {
        let object = packs.get(&target, &mut buffer, cache)?;
        if object.kind != Kind::Tag {
            return Ok(Some(Peeled { tags, target, kind: object.kind }));
        }
        tags.push(target);
        target = gix::objs::TagRefIter::from_bytes(object.data, target.kind())
            .target_id()
            .map_err(|_| Error::damaged("packs".as_ref(), format!("the tag {target} cannot be read")))?;
    }
    Err(Error::TagChain(id.to_owned()))
}
