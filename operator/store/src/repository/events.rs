//! The events of the log, read back for those who deliver them.

use gix::bstr::BString;
use jiff::Timestamp;
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

/// What a client has signed, and what the log knows of its push. Nobody has verified the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushCertificate {
    /// The entry of the log.
    pub generation: u64,
    /// When it was written.
    pub time: Timestamp,
    /// Who pushed, as they were known to the server.
    pub actor: String,
    /// The request that did.
    pub request_id: String,
    /// The certificate as it was sent, with its signature.
    pub text: BString,
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

    /// The certificates of the signed pushes that one entry commits; none where it is older than the log goes back by now.
    ///
    /// # Errors
    /// When the entry cannot be read.
    pub async fn certificates_of(&self, generation: u64) -> Result<Vec<PushCertificate>, Error> {
        let Some(Numbered::Entry(read)) = read::read_number(&*self.shared.store, &self.id, generation).await? else {
            return Ok(vec![]);
        };
        let time = read.entry.time;
        let signed = read.entry.pushes.into_iter().filter_map(|push| {
            let (actor, request_id) = (push.actor, push.request_id);
            push.certificate.map(|text| PushCertificate { generation, time, actor, request_id, text })
        });
        Ok(signed.collect())
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
