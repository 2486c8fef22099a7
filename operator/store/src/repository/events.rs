//! The events of the log, read back for those who deliver them.

use model::event::{ReferenceChange, ReferenceEvent};

use super::{Repository, read};
use crate::entry::{Entry, Numbered};
use crate::error::Error;

/// What the log says happened in a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Events {
    /// The log does not have it yet.
    NotYet,
    /// These, in order; often none.
    Of(Vec<ReferenceEvent>),
    /// It is older than the log goes back by now.
    Gone,
}

impl Repository {
    /// The events of one entry.
    ///
    /// # Errors
    /// When the entry cannot be read.
    pub async fn events_of(&self, generation: u64) -> Result<Events, Error> {
        Ok(match read::read_number(&*self.shared.store, &self.id, generation).await? {
            None => Events::NotYet,
            Some(Numbered::Stub(_)) => Events::Gone,
            Some(Numbered::Entry(read)) => Events::Of(self.events(generation, &read.entry)),
        })
    }

    fn events(&self, generation: u64, entry: &Entry) -> Vec<ReferenceEvent> {
        let mut events = Vec::new();
        for (push_index, push) in entry.pushes.iter().enumerate() {
            for (edit_index, edit) in push.edits.iter().enumerate() {
                let Some(change) = ReferenceChange::between(edit.old, edit.new) else { continue };
                events.push(ReferenceEvent {
                    id: format!("{}/{generation}/{push_index}/{edit_index}", self.id),
                    time: entry.time,
                    repository_id: self.id.clone(),
                    actor: push.actor.clone(),
                    reference: edit.name.clone(),
                    change,
                    old: edit.old,
                    new: edit.new,
                    generation,
                });
            }
        }
        events
    }
}
