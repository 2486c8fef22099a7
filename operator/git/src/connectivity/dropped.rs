//! Objects that hang on nothing but dropped tips. They are as good as gone: a push may not build on them.

use std::collections::{HashMap, HashSet};

use gix::{
    ObjectId,
    hashtable::HashSet as IdSet,
    objs::{Kind, TagRefIter, TreeRefIter},
};

use super::ancestry::read_commit;
use crate::{
    existing::{Existing, ReadError},
    refs::References,
};

/// Objects looked at before the question is given up. Then the push is let through, which is safe: what a dropped tip
/// reached was complete when it came, and nothing is deleted below a push in flight.
const BUDGET: usize = 2_000_000;

/// The first of `wanted` that is reachable from `dropped` and not from `refs`.
pub(super) fn only_dropped(
    objects: &dyn Existing,
    wanted: &[ObjectId],
    refs: &dyn References,
    dropped: &[ObjectId],
) -> Result<Option<ObjectId>, ReadError> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let wanted: IdSet<ObjectId> = wanted.iter().copied().collect();
    let mut kept = Walk { objects, seen: HashSet::new(), buffer: Vec::new(), left: BUDGET };
    // Cheap first: nearly every push builds on what a reference points to and on its tree.
    let mut suspects: HashSet<ObjectId> = wanted.iter().copied().collect();
    let mut tips = HashSet::new();
    refs.leading_to(&wanted, &mut |reference| tips.extend([reference.id]));
    for id in tips.iter().filter(|id| wanted.contains(*id)) {
        suspects.remove(id);
        if let Some(commit) = read_commit(objects, id, &mut kept.buffer)? {
            kept.trees(commit.tree, &mut suspects)?;
        }
    }
    if suspects.is_empty() {
        return Ok(None);
    }
    let tips: Vec<ObjectId> = refs.range(b"").map(|reference| reference.id).collect();
    let commits = kept.commits(&tips)?;
    suspects.retain(|id| !kept.seen.contains(id));
    for tip in tips.iter().filter_map(|id| commits.get(id)) {
        if suspects.is_empty() {
            return Ok(None);
        }
        kept.trees(*tip, &mut suspects)?;
    }
    if suspects.is_empty() {
        return Ok(None);
    }
    // Then only what dropped tips reach can be forbidden at all.
    let mut gone = Walk { objects, seen: HashSet::new(), buffer: Vec::new(), left: BUDGET };
    let dropped_commits = gone.commits(dropped)?;
    let mut innocent = suspects.clone();
    innocent.retain(|id| !gone.seen.contains(id));
    for (id, tree) in &dropped_commits {
        if !commits.contains_key(id) {
            gone.trees(*tree, &mut innocent)?;
        }
    }
    suspects.retain(|id| !innocent.contains(id));
    // Last the dear part: older trees of the references.
    for tree in commits.values() {
        if suspects.is_empty() || kept.left == 0 {
            break;
        }
        kept.trees(*tree, &mut suspects)?;
    }
    let known = kept.left > 0 && gone.left > 0;
    Ok(suspects.into_iter().min().filter(|_| known))
}

struct Walk<'a> {
    objects: &'a dyn Existing,
    seen: HashSet<ObjectId>,
    buffer: Vec<u8>,
    left: usize,
}

impl Walk<'_> {
    /// All commits behind the tips, with their trees. Tips may be tags.
    fn commits(&mut self, tips: &[ObjectId]) -> Result<HashMap<ObjectId, ObjectId>, ReadError> {
        let mut found = HashMap::new();
        let mut queue = tips.to_vec();
        while let Some(id) = queue.pop() {
            if self.left == 0 || !self.seen.insert(id) {
                continue;
            }
            self.left -= 1;
            if let Some(commit) = read_commit(self.objects, &id, &mut self.buffer)? {
                found.insert(id, commit.tree);
                queue.extend(commit.parents);
                continue;
            }
            let is_tag = self.objects.read(&id, &mut self.buffer)? == Some(Kind::Tag);
            if is_tag && let Ok(target) = TagRefIter::from_bytes(&self.buffer, id.kind()).target_id() {
                queue.push(target);
            }
        }
        Ok(found)
    }

    /// Walks what hangs on a tree, taking out of `suspects` what is met.
    fn trees(&mut self, root: ObjectId, suspects: &mut HashSet<ObjectId>) -> Result<(), ReadError> {
        let mut queue = vec![root];
        while let Some(id) = queue.pop() {
            suspects.remove(&id);
            if self.left == 0 || suspects.is_empty() || !self.seen.insert(id) {
                continue;
            }
            self.left -= 1;
            if self.objects.read(&id, &mut self.buffer)? != Some(Kind::Tree) {
                continue;
            }
            for entry in TreeRefIter::from_bytes(&self.buffer, id.kind()).filter_map(Result::ok) {
                if entry.mode.is_tree() {
                    queue.push(entry.oid.to_owned());
                } else {
                    suspects.remove(entry.oid);
                }
            }
        }
        Ok(())
    }
}
