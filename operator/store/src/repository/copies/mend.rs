//! A copy is written anew: only from bytes that were verified after they came from their store, and never over a copy that is sound.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;

use super::{Copies, Kept, Read};
use crate::envelope::sealed_size;
use crate::error::Error;
use crate::file::FileStore;
use crate::object::{ObjectStore, StoreError};
use crate::repository::read;

/// Objects up to this size pass through memory.
const SMALL: u64 = 8 << 20;
/// What is told of one store; more would not help.
const MAX_TOLD: usize = 100;

/// The bytes of a sound copy, on their way.
struct Held {
    /// The store that they come from.
    from: usize,
    body: Body,
    /// Goes with it.
    _folder: TempDir,
}

enum Body {
    Bytes(Bytes),
    File(PathBuf),
}

impl Copies {
    /// Tells what is wrong with copies of an object, and writes them anew where it may and can.
    pub(in crate::repository) async fn mend(&mut self, kept: &Kept, read: Read) -> Result<(), Error> {
        let read = if sabotaged!(RepairUnverified) { self.as_if_the_primary_were_right(kept) } else { read };
        if read.is_sound() {
            return Ok(());
        }
        let held = if self.may_mend(kept) { self.hold(kept, &read.good).await? } else { None };
        for (at, fault) in read.faults {
            let outcome = match &held {
                Some(held) => self.write(at, kept, held).await,
                None => Ok(false),
            };
            self.note(at, &fault, held.as_ref(), outcome);
        }
        Ok(())
    }

    /// Whether copies are written anew: while the epoch is still that in which they were read.
    fn may_mend(&self, kept: &Kept) -> bool {
        let is_known = !matches!(kept, Kept::Entry { digest: None, .. });
        self.manner.mends && is_known && self.views.len() > 1 && self.shared.store.epoch() == self.epoch
    }

    /// Brings a sound copy here, and verifies what has come.
    async fn hold(&self, kept: &Kept, good: &[usize]) -> Result<Option<Held>, Error> {
        for at in good {
            match self.bring(kept, *at).await {
                Ok(Some(held)) => return Ok(Some(held)),
                // It was sound a moment ago.
                Ok(None) => {}
                Err(error) if error.is_damage() => {}
                Err(error @ Error::Cache(_)) => return Err(error),
                Err(error) => {
                    tracing::warn!(store = &*self.views[*at].member.name, %error, "a sound copy cannot be read again");
                }
            }
        }
        Ok(None)
    }

    async fn bring(&self, kept: &Kept, from: usize) -> Result<Option<Held>, Error> {
        let (folder, key, member) = (self.shared.cache.temporary()?, kept.key(&self.id), &self.views[from].member);
        let bench = FileStore::open(&folder.path().join("bench"), self.shared.metrics.clone()).await?;
        let size = kept.size().map(|size| if self.shared.envelope.is_some() { sealed_size(size) } else { size });
        let body = match size {
            Some(size) if size > SMALL => {
                let file = folder.path().join("object");
                if !member.download(&key, &file, size).await? {
                    return Ok(None);
                }
                bench.upload(&key, &file).await?;
                Body::File(file)
            }
            _ => {
                let Some(bytes) = member.get(&key).await? else { return Ok(None) };
                bench.put(&key, bytes.clone()).await?;
                Body::Bytes(bytes)
            }
        };
        if !sabotaged!(RepairUnverified) {
            kept.verify(&self.shared.at(Arc::new(bench)), &self.id).await?;
        }
        Ok(Some(Held { from, body, _folder: folder }))
    }

    /// Writes a copy anew and reads it back; false when that is not to be.
    async fn write(&self, to: usize, kept: &Kept, held: &Held) -> Result<bool, Error> {
        let (member, key) = (&self.views[to].member, kept.key(&self.id));
        match (kept, &held.body) {
            (Kept::Entry { number, .. }, Body::Bytes(body)) => {
                if !self.restore(to, *number, body).await? {
                    return Ok(false);
                }
            }
            (_, Body::Bytes(bytes)) => member.put(&key, bytes.clone()).await?,
            (_, Body::File(file)) => member.upload(&key, file).await?,
        }
        if sabotaged!(RepairUnverified) {
            return Ok(true);
        }
        kept.verify(&self.views[to].shared, &self.id).await.map(|_| true)
    }

    /// Puts an entry back, where nothing is that somebody can read: what can be read was written by a server, and the log decides about it.
    async fn restore(&self, to: usize, number: u64, body: &Bytes) -> Result<bool, Error> {
        let view = &self.views[to];
        let raw = view.member.get(&crate::keys::log_entry(&self.id, number)).await?;
        match read::read_number(&*view.shared.store, &self.id, number).await {
            Ok(Some(_)) => return Ok(false),
            Err(Error::Damaged { .. } | Error::Store(StoreError::Damaged { .. })) | Ok(None) => {}
            Err(error) => return Err(error),
        }
        Ok(view.member.restore(number, body, raw.as_ref()).await?)
    }

    fn note(&mut self, at: usize, fault: &Error, held: Option<&Held>, outcome: Result<bool, Error>) {
        let place = self.in_store(at);
        let from = held.map(|held| self.views[held.from].member.name.to_string()).unwrap_or_default();
        let id = self.id.to_string();
        let view = &mut self.views[at];
        match outcome {
            Ok(true) => {
                tracing::warn!(repo.id = id, store = &*view.member.name, from, fault = %fault, "a copy was written anew from another store's");
                view.mended.push(format!("{fault}{place}: written anew from the store '{from}'"));
            }
            Ok(false) => view.problems.push(format!("{fault}{place}")),
            Err(error) => view.problems.push(format!("{fault}{place}; it cannot be written anew: {error}")),
        }
        view.problems.truncate(MAX_TOLD);
        view.mended.truncate(MAX_TOLD);
    }

    /// A deliberate fault: whatever the primary store has goes to all others.
    fn as_if_the_primary_were_right(&self, kept: &Kept) -> Read {
        let fault = |at| (at, Error::Missing { key: kept.key(&self.id) });
        Read { good: vec![0], faults: (1..self.views.len()).map(fault).collect() }
    }
}
