//! What lies beside the log and is not encrypted: keyrings, and what stores say of epochs.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::Copies;
use crate::envelope::{SUPERSEDED, is_keyring};
use crate::error::Error;
use crate::keys;
use crate::object::list_all;
use crate::replicated::Epochs;

/// What one store has of a record.
enum Found {
    Sound(Bytes),
    Missing,
    Damaged(Bytes),
    /// Something that can be read, and says something else.
    Other,
}

impl Copies {
    /// Reads all keyrings and epochs of all stores, and mends what is to be mended.
    pub(in crate::repository) async fn examine_records(&mut self) -> Result<(), Error> {
        self.examine_keyrings().await?;
        let epochs = self.views[0].member.epoch_records()?;
        for (key, wanted) in epochs {
            // What a replica has not been told yet it is told in its time, after its log was closed.
            let found = self.records(&key, |body| *body == wanted).await?.into_iter().map(|(at, found)| match found {
                Found::Damaged(body) if Epochs::is_record(&body) => (at, Found::Other),
                found => (at, found),
            });
            let found = found.filter(|(at, found)| *at == 0 || !matches!(found, Found::Missing)).collect();
            self.mend_record(&key, found, Some(wanted)).await?;
        }
        Ok(())
    }

    /// The newest keyring has to be one; of an older one nothing is left to be read but that there is a newer one.
    async fn examine_keyrings(&mut self) -> Result<(), Error> {
        let mut numbers = BTreeSet::new();
        for at in 0..self.views.len() {
            let view = &mut self.views[at];
            if view.away.is_some() {
                continue;
            }
            match list_all(view.member.raw(), &keys::keyring_all(&self.id)).await {
                Ok(listed) => numbers.extend(listed.iter().filter_map(|object| keys::number(&object.key))),
                Err(error) if at == 0 => return Err(error.into()),
                Err(error) => view.is_away(&error.into()),
            }
        }
        let newest = numbers.last().copied();
        // The newest one first: an older one is given up only where it can be read.
        for number in numbers.into_iter().rev() {
            let (key, id, is_newest) = (keys::keyring(&self.id, number), self.id.clone(), Some(number) == newest);
            let is_sound = |body: &Bytes| is_keyring(body, &id) || !is_newest && body == SUPERSEDED;
            let found = self.records(&key, is_sound).await?;
            let first = found.iter().find_map(|(_, found)| match found {
                Found::Sound(body) => Some(body.clone()),
                _ => None,
            });
            let wanted = if is_newest { first } else { Some(Bytes::from_static(SUPERSEDED)) };
            self.mend_record(&key, found, wanted).await?;
        }
        Ok(())
    }

    async fn records(&mut self, key: &str, is_sound: impl Fn(&Bytes) -> bool) -> Result<Vec<(usize, Found)>, Error> {
        let mut found = vec![];
        for at in 0..self.views.len() {
            let view = &mut self.views[at];
            if view.away.is_some() {
                continue;
            }
            view.objects += 1;
            match view.member.raw().get(key).await {
                Ok(None) => found.push((at, Found::Missing)),
                Ok(Some(body)) if is_sound(&body) => found.push((at, Found::Sound(body))),
                Ok(Some(body)) => found.push((at, Found::Damaged(body))),
                Err(error) if at == 0 => return Err(error.into()),
                Err(error) => view.is_away(&error.into()),
            }
        }
        Ok(found)
    }

    async fn mend_record(&mut self, key: &str, found: Vec<(usize, Found)>, wanted: Option<Bytes>) -> Result<(), Error> {
        for (at, found) in found {
            let (fault, bad) = match found {
                Found::Sound(_) => continue,
                Found::Missing => (Error::Missing { key: key.to_owned() }, None),
                Found::Damaged(body) => {
                    let reason = "it is not what it has to be".to_owned();
                    (Error::Damaged { key: key.to_owned(), reason }, Some(body))
                }
                Found::Other => {
                    let place = self.in_store(at);
                    self.views[at]
                        .problems
                        .push(format!("{key} says something else than that of the primary store{place}"));
                    continue;
                }
            };
            let place = self.in_store(at);
            let outcome = match &wanted {
                Some(wanted) if self.manner.mends => self.put_record(at, key, bad, wanted).await,
                _ => Ok(false),
            };
            let view = &mut self.views[at];
            match outcome {
                Ok(true) => view.mended.push(format!("{fault}{place}: written anew")),
                Ok(false) => view.problems.push(format!("{fault}{place}")),
                Err(error) => view.problems.push(format!("{fault}{place}; it cannot be written anew: {error}")),
            }
        }
        Ok(())
    }

    /// Writes a record anew, unless somebody has been here since.
    async fn put_record(&self, at: usize, key: &str, bad: Option<Bytes>, wanted: &Bytes) -> Result<bool, Error> {
        let store = self.views[at].member.raw();
        if store.get(key).await? != bad {
            return Ok(false);
        }
        Ok(store.put(key, wanted.clone()).await.map(|()| true)?)
    }
}
