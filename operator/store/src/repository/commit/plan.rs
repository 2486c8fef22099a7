//! What a group of pushes makes of a state: pure.

use model::{ObjectId, RefName};

use super::Pending;
use crate::entry::{PackRecord, Place, PushRecord};
use crate::repository::{EditResult, Push};
use crate::state::{FoldError, RefEdit, Snapshot};

/// The entry to write, and what each push will be told.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) pushes: Vec<PushRecord>,
    pub(super) payload: Vec<u8>,
    pub(super) outcomes: Vec<Outcome>,
}

pub(super) enum Outcome {
    Accepted(Vec<EditResult>),
    Moved(Vec<(RefName, Option<ObjectId>)>),
    /// Unreachable objects have gone since it was checked: it may rely on them.
    Pruned,
    /// No entry with it could follow this state.
    Impossible(FoldError),
}

impl Plan {
    /// Decides each push against the state that the pushes before it leave.
    pub(super) fn new(base: &Snapshot, group: &[Pending]) -> Self {
        let mut plan = Self::default();
        let mut state = base.clone();
        for pending in group {
            if pending.push.checked_at < base.upkeep.pruned_at && !sabotaged!(SkipPruneRecheck) {
                plan.outcomes.push(Outcome::Pruned);
                continue;
            }
            let results: Vec<EditResult> = pending.push.edits.iter().map(|edit| check(&state, edit)).collect();
            let refused = results.iter().filter(|result| result.is_err()).count();
            let atomic = pending.push.atomic && !sabotaged!(SplitAtomic);
            if refused > 0 && (atomic || refused == results.len()) {
                plan.outcomes.push(Outcome::Moved(state.moved(&pending.push.edits)));
                continue;
            }
            let accepted = pending.push.edits.iter().zip(&results).filter(|(_, result)| result.is_ok());
            let edits: Vec<RefEdit> = accepted.map(|(edit, _)| edit.clone()).collect();
            let mut next = state.clone();
            if let Err(error) = edits.iter().try_for_each(|edit| next.set(edit)) {
                plan.outcomes.push(Outcome::Impossible(error));
                continue;
            }
            state = next;
            let default_branch = pending.push.default_branch.clone().filter(|branch| {
                state.head.is_none() && edits.iter().any(|edit| edit.name == *branch && edit.new.is_some())
            });
            if default_branch.is_some() {
                state.head.clone_from(&default_branch);
            }
            plan.accept(pending, edits, default_branch, refused == 0);
            plan.outcomes.push(Outcome::Accepted(results));
        }
        plan
    }

    fn accept(&mut self, pending: &Pending, edits: Vec<RefEdit>, default_branch: Option<RefName>, whole: bool) {
        let packs = pending.pack.iter().map(|pack| {
            let mut record = pack.record.clone();
            // What came for a reference that is refused now is reachable from nothing.
            record.exact &= whole;
            if let Some(bytes) = &pack.inline {
                record.place = Place::Inlined { offset: self.payload.len() as u64 };
                self.payload.extend_from_slice(bytes);
            }
            record
        });
        let packs: Vec<PackRecord> = packs.collect();
        let Push { actor, request_id, options, certificate, dropped, .. } = &pending.push;
        self.pushes.push(PushRecord {
            actor: actor.clone(),
            request_id: request_id.clone(),
            options: options.clone(),
            certificate: certificate.clone(),
            edits,
            packs,
            dropped: dropped.clone(),
            default_branch,
        });
    }

    /// Whether somebody would be told something that may be old news.
    pub(super) fn is_doubtful(&self) -> bool {
        self.outcomes.iter().any(|outcome| match outcome {
            Outcome::Moved(_) => true,
            Outcome::Pruned | Outcome::Impossible(_) => false,
            Outcome::Accepted(results) => results.iter().any(Result::is_err),
        })
    }
}

fn check(state: &Snapshot, edit: &RefEdit) -> EditResult {
    let present = state.refs.get(&edit.name);
    if present == edit.old { Ok(()) } else { Err(present) }
}
