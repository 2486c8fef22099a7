//! Lives of LFS objects: how one is deleted that may be uploaded again at the same moment (ADR 0015).
//!
//! A life is a copy of the object under keys of its own. It ends when its marker (`….gone`) is created, for ever: from then on nobody
//! relies on it who had not done so before, and whoever uploads the object begins the next life. So its content can be deleted
//! later, also by a server that stood still meanwhile. Those who relied on it before have until then to push what names it; if
//! they did, it is copied into the next life first.

use std::io::Write as _;

use bytes::Bytes;
use futures::stream::StreamExt as _;
use jiff::Timestamp;
use model::lfs::Oid;

use super::{LfsObject, LfsObjects, LfsReceived};
use crate::blocking::blocking;
use crate::error::Error;
use crate::keys::{self, LfsPart};
use crate::object::ObjectMeta;

/// Objects listed at once.
const PAGE: usize = 1_000;
/// What a marker says; only that it is there matters.
const GONE: &[u8] = b"CKLFSGONE\n";

/// What the bucket has of one life of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) oid: Oid,
    pub(crate) number: u32,
    /// When the newer one of content and sums was written, if one of them is there. In the far future when the store does not say.
    pub(crate) stored: Option<Timestamp>,
    /// Size of its content.
    pub(crate) bytes: u64,
    /// When its end was decided.
    pub(crate) gone: Option<Timestamp>,
}

impl LfsObjects {
    /// What is known of a life.
    pub(crate) async fn sums(&self, oid: &Oid, life: u32) -> Result<Option<LfsObject>, Error> {
        let key = keys::lfs_sums(&self.id, oid, life);
        let Some(bytes) = self.shared.store.get(&key).await? else { return Ok(None) };
        let found = LfsObject::decode(&bytes).map_err(|error| Error::entry(key.clone(), error))?;
        if found.oid() != oid {
            return Err(Error::Damaged { key, reason: "it speaks of another object".to_owned() });
        }
        Ok(Some(found.in_life(life)))
    }

    pub(crate) async fn is_gone(&self, oid: &Oid, life: u32) -> Result<bool, Error> {
        Ok(self.shared.store.get(&keys::lfs_gone(&self.id, oid, life)).await?.is_some())
    }

    /// The life that has not ended, and the object if it is there.
    pub(super) async fn lasting(&self, oid: &Oid) -> Result<(u32, Option<LfsObject>), Error> {
        let mut life = 0;
        loop {
            let (found, is_gone) = tokio::try_join!(self.sums(oid, life), self.is_gone(oid, life))?;
            if !is_gone {
                return Ok((life, found));
            }
            life += 1;
        }
    }

    /// Ends a life.
    pub(crate) async fn end(&self, oid: &Oid, life: u32) -> Result<(), Error> {
        self.create(&keys::lfs_gone(&self.id, oid, life), &Bytes::from_static(GONE)).await
    }

    /// Copies an object out of a life that has ended, unless it lives again.
    pub(crate) async fn revive(&self, oid: &Oid, life: u32) -> Result<(), Error> {
        let Some(object) = self.sums(oid, life).await? else { return Ok(()) };
        if self.lasting(oid).await?.1.is_some() {
            return Ok(());
        }
        self.keep(self.fetched(object).await?).await
    }

    /// Copies every object that this repository has to another one.
    ///
    /// # Errors
    /// When an object cannot be read or written; what was copied stays.
    pub async fn copy_all(&self, to: &Self) -> Result<u64, Error> {
        let (mut oids, mut copied) = (Vec::new(), 0);
        self.each_life(|life| oids.push(life.oid)).await?;
        // Lives of one object come one after the other.
        oids.dedup();
        for oid in oids {
            if let Some(object) = self.find(&oid).await? {
                to.keep(self.fetched(object).await?).await?;
                copied += 1;
            }
        }
        Ok(copied)
    }

    /// An object in a file, verified.
    async fn fetched(&self, object: LfsObject) -> Result<LfsReceived, Error> {
        let folder = self.shared.cache.incoming();
        let mut file = blocking(move || tempfile::NamedTempFile::new_in(folder)).await??;
        let mut chunks = std::pin::pin!(self.read(object.clone(), 0..object.size()));
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            file = blocking(move || file.write_all(&chunk).map(|()| file)).await??;
        }
        Ok(LfsReceived { object, file: file.into_temp_path() })
    }

    /// Deletes what is left of a life that has ended; its marker stays, so that its keys are never used again.
    pub(crate) async fn delete(&self, oid: &Oid, life: u32) -> Result<(), Error> {
        self.shared.store.delete(&keys::lfs_sums(&self.id, oid, life)).await?;
        Ok(self.shared.store.delete(&keys::lfs(&self.id, oid, life)).await?)
    }

    /// Shows every life that the bucket has something of.
    pub(crate) async fn each_life(&self, mut each: impl FnMut(&Life)) -> Result<(), Error> {
        let (mut lives, mut after): (Vec<Life>, Option<String>) = (Vec::new(), None);
        loop {
            let page = self.shared.store.list(&keys::lfs_all(&self.id), after.as_deref(), PAGE).await?;
            for (object, (oid, number, part)) in
                page.iter().filter_map(|object| Some((object, keys::lfs_part(&object.key)?)))
            {
                // In the order of keys all lives of an object come together.
                if lives.first().is_some_and(|life| life.oid != oid) {
                    lives.drain(..).for_each(|life| each(&life));
                }
                let at = lives.iter().position(|life| life.number == number).unwrap_or_else(|| {
                    lives.push(Life { oid, number, stored: None, bytes: 0, gone: None });
                    lives.len() - 1
                });
                lives[at].add(part, object);
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.key.clone()),
                _ => break,
            }
        }
        lives.iter().for_each(each);
        Ok(())
    }
}

impl Life {
    fn add(&mut self, part: LfsPart, object: &ObjectMeta) {
        let written = object.modified.unwrap_or(Timestamp::MAX);
        match part {
            LfsPart::Gone => self.gone = Some(written),
            LfsPart::Content => self.bytes = object.size,
            LfsPart::Sums => {}
        }
        if part != LfsPart::Gone {
            self.stored = self.stored.max(Some(written));
        }
    }
}
