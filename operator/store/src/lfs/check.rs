//! Reads LFS objects and compares them with their checksums: all at once for `codekeep fsck`, some now and then for the scrub.

use aws_lc_rs::digest::{Context, SHA256};
use futures::stream::StreamExt as _;
use model::lfs::Oid;

use super::{LfsObject, LfsObjects};
use crate::error::Error;
use crate::keys::{self, LfsPart};

/// Objects that are listed at once.
const PAGE: usize = 1_000;
/// Problems that are told; more would not help.
const MAX_PROBLEMS: usize = 100;

impl LfsObjects {
    /// How many objects there are, and one line for each that cannot be had. Contents without sums are left out: nobody sees them.
    pub(crate) async fn check(&self) -> Result<(u64, Vec<String>), Error> {
        let (mut seen, mut problems, mut after) = (0, Vec::new(), None);
        loop {
            let page = self.shared.store.list(&keys::lfs_all(&self.id), after.as_deref(), PAGE).await?;
            for (oid, life, part) in page.iter().filter_map(|object| keys::lfs_part(&object.key)) {
                if part != LfsPart::Sums {
                    continue;
                }
                seen += 1;
                match self.check_one(&oid, life).await {
                    Ok(()) => {}
                    Err(error) if error.is_damage() && problems.len() < MAX_PROBLEMS => {
                        problems.push(error.to_string());
                    }
                    Err(error) if error.is_damage() => {}
                    Err(error) => return Err(error),
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.key.clone()),
                _ => return Ok((seen, problems)),
            }
        }
    }

    async fn check_one(&self, oid: &Oid, life: u32) -> Result<(), Error> {
        match self.sums(oid, life).await? {
            Some(object) => self.check_whole(object).await,
            None => Ok(()),
        }
    }

    /// Reads all of an object, whose sums are known.
    pub(crate) async fn check_whole(&self, object: LfsObject) -> Result<(), Error> {
        let (oid, life, size) = (*object.oid(), object.life(), object.size());
        let mut context = Context::new(&SHA256);
        let mut chunks = std::pin::pin!(self.read(object, 0..size));
        while let Some(chunk) = chunks.next().await {
            context.update(&chunk?);
        }
        if context.finish().as_ref() == oid.as_bytes() {
            return Ok(());
        }
        let reason = "it does not have the hash that is its name".to_owned();
        Err(Error::Damaged { key: keys::lfs(&self.id, &oid, life), reason })
    }

    /// Reads an object from an offset on, where a chunk begins, at the rate of the scrub, and at most about `most` bytes. Returns
    /// how many it read, and where it stopped unless that is the end.
    pub(crate) async fn scrub(
        &self,
        (oid, life): (&Oid, u32),
        offset: u64,
        most: u64,
    ) -> Result<(u64, Option<u64>), Error> {
        let Some(object) = self.sums(oid, life).await? else { return Ok((0, None)) };
        let (size, mut at) = (object.size(), offset);
        let mut chunks = std::pin::pin!(self.read(object, offset.min(size)..size));
        while at < offset.saturating_add(most) {
            match chunks.next().await {
                Some(Ok(chunk)) => {
                    at += chunk.len() as u64;
                    tokio::time::sleep(self.shared.policy.scrub_time(chunk.len() as u64)).await;
                }
                // It may have been deleted meanwhile.
                Some(Err(Error::Missing { .. })) if self.sums(oid, life).await?.is_none() => break,
                Some(Err(error)) => return Err(error),
                None => break,
            }
        }
        Ok((at - offset, (offset.saturating_add(most)..size).contains(&at).then_some(at)))
    }
}
