//! LFS objects in every store: content and sums, each compared with the name of the object.

use std::collections::BTreeSet;
use std::time::Duration;

use model::lfs::Oid;

use super::{Copies, Kept, Read};
use crate::error::Error;
use crate::keys::{self, LfsPart};
use crate::lfs::{LfsObject, LfsObjects};
use crate::object::ObjectStore as _;

/// Objects listed at once.
const PAGE: usize = 1_000;
/// A replica that has no entry to go by gets what was uploaded a moment ago in this time.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

impl Copies {
    /// Keys of LFS objects behind this one that any store has, in their order, and whether there are no more.
    pub(in crate::repository) async fn lfs_page(
        &mut self,
        after: Option<&str>,
    ) -> Result<(BTreeSet<String>, bool), Error> {
        let (mut keys, mut end): (BTreeSet<String>, Option<String>) = (BTreeSet::new(), None);
        for at in 0..self.views.len() {
            let view = &mut self.views[at];
            if view.away.is_some() {
                continue;
            }
            let page = match view.member.list(&keys::lfs_all(&self.id), after, PAGE).await {
                Ok(page) => page,
                Err(error) if at == 0 => return Err(error.into()),
                Err(error) => {
                    view.is_away(&error.into());
                    continue;
                }
            };
            if let Some(last) = page.last().filter(|_| page.len() == PAGE) {
                end = Some(end.map_or_else(|| last.key.clone(), |end| end.min(last.key.clone())));
            }
            keys.extend(page.into_iter().map(|object| object.key));
        }
        if let Some(end) = &end {
            keys.retain(|key| key <= end);
        }
        Ok((keys, end.is_none()))
    }

    /// Reads a part of an object in every store, as [`LfsObjects::scrub`] does in one; all of it where something is wrong with one.
    pub(in crate::repository) async fn scrub_lfs(
        &mut self,
        (oid, life): (&Oid, u32),
        offset: u64,
        most: u64,
    ) -> Result<(u64, Option<u64>), Error> {
        let (mut done, mut is_sound) = ((0, None), true);
        for at in 0..self.views.len() {
            let view = &mut self.views[at];
            if view.away.is_some() {
                continue;
            }
            let objects = LfsObjects::of(&view.shared, &self.id);
            let read = match objects.sums(oid, life).await {
                Ok(Some(_)) => objects.scrub((oid, life), offset, most).await,
                Ok(None) => Err(Error::Missing { key: keys::lfs_sums(&self.id, oid, life) }),
                Err(error) => Err(error),
            };
            match read {
                Ok((bytes, next)) => done = (bytes.max(done.0), next.or(done.1)),
                Err(error) if error.is_damage() => is_sound = false,
                Err(error) if at == 0 => return Err(error),
                Err(error) => view.is_away(&error),
            }
        }
        if !is_sound {
            self.examine_lfs(oid, life).await?;
            done.1 = None;
        }
        Ok(done)
    }

    /// Reads all copies of an object, and mends what is to be mended: the content first, for sums make it visible.
    pub(in crate::repository) async fn examine_lfs(&mut self, oid: &Oid, life: u32) -> Result<(), Error> {
        let sums = Kept::LfsSums(*oid, life);
        if let Some(object) = self.lfs_object(oid, life).await? {
            let content = Kept::LfsContent(object);
            let read = self.read_lfs(&content, (oid, life)).await?;
            self.mend(&content, read).await?;
        }
        let read = self.read_lfs(&sums, (oid, life)).await?;
        // One that is nowhere was deleted since it was listed.
        if read.good.is_empty() && read.faults.iter().all(|(_, fault)| matches!(fault, Error::Missing { .. })) {
            return Ok(());
        }
        self.mend(&sums, read).await
    }

    /// What is known of an object, from the first store whose sums can be read.
    async fn lfs_object(&self, oid: &Oid, life: u32) -> Result<Option<LfsObject>, Error> {
        for view in self.views.iter().filter(|view| view.away.is_none()) {
            match LfsObjects::of(&view.shared, &self.id).sums(oid, life).await {
                Ok(Some(object)) => return Ok(Some(object)),
                Ok(None) => {}
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// As [`Self::read`]; that an object is missing whose end was decided is right, and one that came a moment ago is waited for.
    async fn read_lfs(&mut self, kept: &Kept, (oid, life): (&Oid, u32)) -> Result<Read, Error> {
        let mut read = self.read(kept).await?;
        let is_missing = |(_, fault): &(usize, Error)| matches!(fault, Error::Missing { .. });
        if self.manner.rests && read.is_sound_at_home() && read.faults.iter().any(is_missing) {
            tokio::time::sleep(ON_ITS_WAY).await;
            read = self.read(kept).await?;
        }
        if read.faults.iter().any(is_missing) && self.views[0].has_ended(&self.id, oid, life).await? {
            read.faults.retain(|fault| !is_missing(fault));
        }
        Ok(read)
    }

    /// Reads and mends all LFS objects.
    pub(super) async fn examine_all_lfs(&mut self) -> Result<(), Error> {
        let mut after: Option<String> = None;
        loop {
            let (page, is_last) = self.lfs_page(after.as_deref()).await?;
            for key in &page {
                if let Some((oid, life, LfsPart::Sums)) = keys::lfs_part(key) {
                    self.examine_lfs(&oid, life).await?;
                }
            }
            after = page.into_iter().next_back().or(after);
            if is_last {
                return Ok(());
            }
        }
    }
}
