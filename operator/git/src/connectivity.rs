//! Whether a push leaves the repository whole: everything new objects link to must be there.
//!
//! Works on what [`crate::ingest`] collected, so its cost is that of the push and not of the repository; only a
//! repository with dropped tips needs walks, within a budget.

mod ancestry;
mod dropped;

use gix::{ObjectId, objs::Kind};
use model::RefName;

pub use ancestry::is_ancestor;

use crate::{
    existing::{Existing, ReadError},
    ingest::Ingested,
    refs::References,
};

/// What is to be checked.
pub struct Check<'a> {
    /// The new values of the references that shall change.
    pub tips: &'a [(RefName, ObjectId)],
    /// The received pack, if one came.
    pub ingested: Option<&'a Ingested>,
    /// The objects of the repository together with those of the pack.
    pub all: &'a dyn Existing,
    /// Whether an object came in the pack.
    pub is_received: &'a dyn Fn(&ObjectId) -> bool,
    /// The objects of the repository without the pack.
    pub before: &'a dyn Existing,
    /// The references as they are now.
    pub refs: &'a dyn References,
    /// What references pointed to before they were deleted or forced elsewhere.
    pub dropped_tips: &'a [ObjectId],
}

/// The repository stays whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// Every object of the pack is reachable from the tips that were not refused.
    pub exact: bool,
    /// Tips that cannot be, with the reason: the object is not there, or a branch is no commit.
    pub refused: Vec<(RefName, String)>,
}

/// Why the repository would not stay whole.
#[derive(Debug, thiserror::Error)]
pub enum ConnectivityError {
    /// A linked object is not there for this client.
    #[error("missing object {0}: fetch first and push again")]
    Missing(ObjectId),
    /// An object cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Checks a push.
///
/// # Errors
/// When an object is missing that the pack needs.
pub fn check(check: &Check<'_>) -> Result<Connected, ConnectivityError> {
    let links = check.ingested.map_or(&[][..], |ingested| &ingested.links_out);
    for (id, _) in links {
        if !check.before.contains(id) {
            return Err(ConnectivityError::Missing(*id));
        }
    }
    let mut refused = Vec::new();
    let mut accepted = Vec::new();
    for (name, id) in check.tips {
        match tip_problem(check.all, name, id)? {
            Some(reason) => refused.push((name.clone(), reason)),
            None => accepted.push(*id),
        }
    }
    if !check.dropped_tips.is_empty() {
        // What came in the pack is the client's own, whatever the repository once had.
        let old_tips = accepted.iter().filter(|id| check.before.contains(id) && !(check.is_received)(id));
        let wanted: Vec<ObjectId> = links.iter().map(|(id, _)| *id).chain(old_tips.copied()).collect();
        if let Some(missing) = dropped::only_dropped(check.before, &wanted, check.refs, check.dropped_tips)? {
            return Err(ConnectivityError::Missing(missing));
        }
    }
    accepted.sort_unstable();
    let exact = check.ingested.is_none_or(|ingested| {
        // Links form no cycle, so whatever is linked to hangs, in the end, on something that is not.
        ingested.unreferenced.iter().all(|id| accepted.binary_search(id).is_ok())
    });
    Ok(Connected { exact, refused })
}

fn tip_problem(all: &dyn Existing, name: &RefName, id: &ObjectId) -> Result<Option<String>, ReadError> {
    if !all.contains(id) {
        return Ok(Some(format!("missing object {id}")));
    }
    if !name.is_branch() {
        return Ok(None);
    }
    let kind = all.read(id, &mut Vec::new())?;
    Ok((kind != Some(Kind::Commit)).then(|| "a branch must point to a commit".to_owned()))
}

#[cfg(test)]
mod tests;
