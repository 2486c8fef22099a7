//! Whether one commit is behind another.

use std::collections::{BinaryHeap, HashSet};

use gix::{
    ObjectId,
    objs::{CommitRefIter, Kind},
};

use crate::existing::{Commit, Existing, ReadError};

/// Clocks of committers differ; a commit is looked for this far below its own date.
const SKEW_SECONDS: i64 = 86_400;

/// Reads a commit; `None` when it is no commit or not there.
pub(super) fn read_commit(
    objects: &dyn Existing,
    id: &gix::oid,
    buffer: &mut Vec<u8>,
) -> Result<Option<Commit>, ReadError> {
    if let Some(known) = objects.known_commit(id) {
        return Ok(Some(known));
    }
    if objects.read(id, buffer)? != Some(Kind::Commit) {
        return Ok(None);
    }
    let mut tree = None;
    let mut parents = Vec::new();
    let mut seconds = 0;
    for token in CommitRefIter::from_bytes(buffer, id.kind()) {
        use gix::objs::commit::ref_iter::Token;
        match token {
            Ok(Token::Tree { id }) => tree = Some(id),
            Ok(Token::Parent { id }) => parents.push(id),
            Ok(Token::Committer { signature }) => {
                seconds = signature.seconds();
                break;
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    Ok(tree.map(|tree| Commit { tree, parents, seconds }))
}

/// Whether `old` is `new` or behind it; `None` when `budget` commits did not suffice to know.
///
/// A "no" may be wrong where clocks of committers were off by more than a day. It is used to remember dropped tips,
/// where one too many costs a walk and nothing else.
///
/// # Errors
/// When a commit cannot be read.
pub fn is_ancestor(
    objects: &dyn Existing,
    old: &ObjectId,
    new: &ObjectId,
    budget: usize,
) -> Result<Option<bool>, ReadError> {
    if old == new {
        return Ok(Some(true));
    }
    let mut buffer = Vec::new();
    let Some(target) = read_commit(objects, old, &mut buffer)? else { return Ok(Some(false)) };
    let Some(start) = read_commit(objects, new, &mut buffer)? else { return Ok(Some(false)) };
    let mut seen = HashSet::from([*new]);
    let mut queue = BinaryHeap::from([Dated { seconds: start.seconds, parents: start.parents }]);
    while let Some(Dated { seconds, parents }) = queue.pop() {
        if seconds < target.seconds.saturating_sub(SKEW_SECONDS) {
            break;
        }
        if parents.contains(old) {
            return Ok(Some(true));
        }
        for parent in parents {
            if !seen.insert(parent) {
                continue;
            }
            if seen.len() > budget {
                return Ok(None);
            }
            if let Some(commit) = read_commit(objects, &parent, &mut buffer)? {
                queue.push(Dated { seconds: commit.seconds, parents: commit.parents });
            }
        }
    }
    Ok(Some(false))
}

/// A commit to look behind, youngest first.
struct Dated {
    seconds: i64,
    parents: Vec<ObjectId>,
}

impl Ord for Dated {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.seconds.cmp(&other.seconds)
    }
}

impl PartialOrd for Dated {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Dated {
    fn eq(&self, other: &Self) -> bool {
        self.seconds == other.seconds
    }
}

impl Eq for Dated {}
