//! Scrubbing LFS objects: some in each round, as all of them may take days, during which the repository is looked after.
//!
//! How far it has come is kept in the bucket when a round ends before the objects do, so that another server, or this one after a
//! restart, goes on there. It is a hint: without it, all is read again.

use model::lfs::Oid;
use serde::{Deserialize, Serialize};

use super::scrub::{MANNER, MAX_PROBLEMS};
use super::{Housekeeping, Repository};
use crate::error::Error;
use crate::keys::{self, LfsPart};
use crate::repository::copies::Copies;
use crate::sealed::{seal, unseal};

/// For how many seconds is read, at the rate of the scrub, before it is looked after what cannot wait, ...
const STRETCH: u64 = 60;
/// ... and how often in one round.
const STRETCHES: usize = 10;
/// What an object costs beside its content.
const OVERHEAD: u64 = 4_096;

/// A scrub under way: packs and log are read, LFS objects are being read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LfsScrub {
    /// The last key that was looked at, ...
    after: Option<String>,
    /// ... and where in the object behind it the next chunk begins.
    offset: u64,
    /// All that was found so far.
    pub(super) problems: Vec<String>,
    /// All that was written anew so far.
    #[serde(default)]
    pub(super) mended: Vec<String>,
    /// Whether the bucket knows of it.
    #[serde(skip)]
    is_kept: bool,
}

impl LfsScrub {
    pub(super) fn after_packs(problems: Vec<String>, mended: Vec<String>) -> Self {
        Self { problems, mended, ..Self::default() }
    }
}

impl Repository {
    /// The scrub that is under way, by whomever.
    pub(super) async fn scrub_under_way(&self, state: &mut Housekeeping) -> Result<Option<LfsScrub>, Error> {
        if let Some(known) = state.lfs_scrub.take() {
            return Ok(Some(known));
        }
        let kept = self.shared.store.get(&keys::lfs_scrub(&self.id)).await?;
        let scrub = kept.and_then(|bytes| unseal::<LfsScrub>(&bytes).ok());
        Ok(scrub.map(|scrub| LfsScrub { is_kept: true, ..scrub }))
    }

    /// Goes on with a scrub; true when it has come to its end.
    pub(super) async fn scrub_lfs(&self, scrub: &mut LfsScrub, state: &mut Housekeeping) -> Result<bool, Error> {
        let key = keys::lfs_scrub(&self.id);
        for _ in 0..STRETCHES {
            if self.scrub_some(scrub).await? {
                if scrub.is_kept {
                    self.shared.store.delete(&key).await?;
                }
                return Ok(true);
            }
            let bytes = seal(&*scrub).map_err(|error| Error::Packs(error.to_string()))?;
            self.shared.store.put(&key, bytes).await?;
            scrub.is_kept = true;
            self.keep_small(state).await?;
        }
        Ok(false)
    }

    /// Reads a stretch; true when that was the rest.
    async fn scrub_some(&self, scrub: &mut LfsScrub) -> Result<bool, Error> {
        let mut copies = Copies::of(&self.shared, &self.id, MANNER)?;
        let is_done = self.scrub_stretch(scrub, &mut copies).await;
        let (problems, mended) = copies.told();
        scrub.problems.extend(problems);
        scrub.mended.extend(mended);
        is_done
    }

    async fn scrub_stretch(&self, scrub: &mut LfsScrub, copies: &mut Copies) -> Result<bool, Error> {
        let mut left = self.shared.policy.scrub_rate.saturating_mul(STRETCH);
        loop {
            let (page, is_last) = copies.lfs_page(scrub.after.as_deref()).await?;
            for key in page {
                let is_read = match keys::lfs_part(&key) {
                    Some((oid, life, LfsPart::Sums)) => {
                        self.scrub_object(copies, (&oid, life), scrub, &mut left).await?
                    }
                    _ => true,
                };
                if !is_read {
                    return Ok(false);
                }
                scrub.after = Some(key);
            }
            if is_last || scrub.problems.len() + copies.told().0.len() >= MAX_PROBLEMS {
                return Ok(true);
            }
        }
    }

    /// Reads an object, or what is left of it; false when the stretch ends before the object does.
    async fn scrub_object(
        &self,
        copies: &mut Copies,
        object: (&Oid, u32),
        scrub: &mut LfsScrub,
        left: &mut u64,
    ) -> Result<bool, Error> {
        if *left == 0 {
            return Ok(false);
        }
        let (bytes, rest) = copies.scrub_lfs(object, std::mem::take(&mut scrub.offset), *left).await?;
        *left = left.saturating_sub(OVERHEAD + bytes);
        self.rest(OVERHEAD).await;
        scrub.offset = rest.unwrap_or(0);
        Ok(rest.is_none())
    }
}
