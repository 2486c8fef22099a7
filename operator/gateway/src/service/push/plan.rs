//! What a push wants, what of it is refused and why, and what remains to be committed. Pure but for the audit of decisions.

use std::collections::HashMap;
use std::sync::Arc;

use git::receive_pack::{Command, Report, Request};
use model::desired::DesiredState;
use model::policy::Action;
use model::{ObjectId, RefName};
use store::{Committed, Push, PushedPack, RefEdit};

use super::super::Work;
use super::super::refs::head;
use super::receive::Received;
use crate::authorize;

/// A push in the making: each command with the reason that stops it, if any.
pub(super) struct Plan {
    commands: Vec<(Command, Result<(), String>)>,
    atomic: bool,
    /// Commands that went into the commit, by index.
    submitted: Vec<usize>,
    /// What the policies were when it was decided.
    decided_by: Arc<DesiredState>,
}

impl Plan {
    /// Decides each reference by the policies.
    pub(super) fn authorized(request: &Request, work: &Work) -> Self {
        let names: Vec<RefName> = request.commands.iter().map(|command| command.name.clone()).collect();
        let desired = work.gateway.desired();
        let decisions = authorize::references(&names, &work.config, &work.caller, &desired, &work.gateway.metrics);
        let commands = request.commands.iter().cloned().zip(decisions).collect();
        let mut plan = Self { commands, atomic: request.capabilities.atomic, submitted: vec![], decided_by: desired };
        plan.keep_atomic(!request.refused.is_empty());
        plan
    }

    /// Commands that nothing stops so far.
    pub(super) fn remaining(&self) -> impl Iterator<Item = &Command> {
        self.commands.iter().filter(|(_, result)| result.is_ok()).map(|(command, _)| command)
    }

    /// Stops the commands of some references.
    fn refuse<'a>(&mut self, reasons: impl IntoIterator<Item = (&'a RefName, String)>) {
        let mut reasons: HashMap<&RefName, String> = reasons.into_iter().collect();
        for (command, result) in self.commands.iter_mut().filter(|(_, result)| result.is_ok()) {
            if let Some(reason) = reasons.remove(&command.name) {
                *result = Err(reason);
            }
        }
    }

    /// Stops whatever is not stopped yet.
    pub(super) fn refuse_all(&mut self, reason: &str) {
        for (_, result) in &mut self.commands {
            if result.is_ok() {
                *result = Err(reason.to_owned());
            }
        }
    }

    /// Decides once more where policies changed meanwhile: a pack takes as long as its client likes.
    fn decide_again(&mut self, work: &Work) {
        let desired = work.gateway.desired();
        if Arc::ptr_eq(&desired, &self.decided_by) {
            return;
        }
        let (path, caller, metrics) = (&work.config.path, &work.caller, &work.gateway.metrics);
        match authorize::admit(Action::GitPush, path, caller, &desired, metrics) {
            Ok(config) => {
                let names: Vec<RefName> = self.remaining().map(|command| command.name.clone()).collect();
                let decisions = authorize::references(&names, &config, caller, &desired, metrics);
                self.refuse(names.iter().zip(decisions).filter_map(|(name, decision)| Some((name, decision.err()?))));
            }
            Err(denial) => self.refuse_all(denial.text().trim_end()),
        }
        self.decided_by = desired;
    }

    fn keep_atomic(&mut self, refused: bool) {
        if self.atomic && (refused || self.commands.iter().any(|(_, result)| result.is_err())) {
            self.refuse_all("atomic push failed: another reference was refused");
        }
    }

    /// What is left as a push for the store; `None` when nothing is.
    pub(super) fn push(&mut self, received: &Received, work: &Work, request: &Request) -> Option<Push> {
        self.decide_again(work);
        self.refuse(received.refused.iter().map(|(name, reason)| (name, reason.clone())));
        let default = head(&received.snapshot, &work.config);
        if self.remaining().any(|command| command.new.is_none() && command.name == default) {
            let reason = "deletion of the default branch is refused; make another branch the default first";
            self.refuse([(&default, reason.to_owned())]);
        }
        self.keep_atomic(false);
        let left = self.commands.iter().enumerate().filter(|(_, (_, result))| result.is_ok());
        self.submitted = left.map(|(index, _)| index).collect();
        if self.submitted.is_empty() {
            return None;
        }
        let edits: Vec<RefEdit> = self
            .remaining()
            .map(|command| {
                let peeled = command.new.and_then(|new| received.peeled.get(&new).copied());
                RefEdit { name: command.name.clone(), old: command.old, new: command.new, peeled }
            })
            .collect();
        let creates = |edit: &&RefEdit| edit.new.is_some() && edit.name.is_branch();
        let refs = &received.snapshot.refs;
        let has_default = refs.get(&default).is_some()
            || edits.iter().filter(creates).any(|edit| edit.name == work.config.default_branch);
        let default_branch = if has_default { None } else { edits.iter().find(creates).map(|edit| edit.name.clone()) };
        Some(Push {
            actor: work.caller.principal.to_string(),
            request_id: work.caller.request_id.clone(),
            options: request.push_options.clone(),
            certificate: request.certificate.as_ref().map(|certificate| certificate.text.clone()),
            atomic: self.atomic,
            edits,
            pack: received.take_pack().map(PushedPack::Received),
            checked_at: received.snapshot.generation,
            dropped: received.dropped.clone(),
            default_branch,
        })
    }

    /// Takes over what became of the edits.
    pub(super) fn settle(&mut self, committed: &Committed) {
        for (index, result) in self.submitted.iter().zip(&committed.results) {
            if let (Err(present), Some((_, mine))) = (result, self.commands.get_mut(*index)) {
                *mine = Err(moved_reason(*present));
            }
        }
    }

    /// The commit failed because references moved.
    pub(super) fn moved(&mut self, moved: &[(RefName, Option<ObjectId>)]) {
        self.refuse(moved.iter().map(|(name, present)| (name, moved_reason(*present))));
        self.refuse_all("atomic push failed: another reference moved meanwhile");
    }

    pub(super) fn report(self) -> Report {
        let refs = self.commands.into_iter().map(|(command, result)| (command.name, result)).collect();
        Report { unpack: Ok(()), refs }
    }
}

/// As git words it, so that people and scripts know what to do.
fn moved_reason(present: Option<ObjectId>) -> String {
    match present {
        Some(_) => "fetch first: the reference moved meanwhile".to_owned(),
        None => "fetch first: the reference does not exist any more".to_owned(),
    }
}
