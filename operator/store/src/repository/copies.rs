//! Every store's copy of a repository: read, verified, and written anew from a copy that was verified (ADR 0021).
//!
//! A copy is read through the layers that stand above all stores, over that one store: so what is encrypted is verified as well as what is
//! not, against what the log says and not against another copy. The bytes that mend a copy are verified once more where they lie, between
//! the store that they come from and the one that they go to.

mod kept;
mod lfs;
mod log;
mod mend;
mod records;
mod verify;

use std::sync::Arc;

use model::RepositoryId;

use super::{Shared, open};
use crate::error::Error;
use crate::keys;
use crate::object::ObjectStore as _;
use crate::replicated::Member;
pub(super) use kept::Kept;
pub use verify::{StoreReport, Surplus, Verified};

/// What is done about what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    /// Whether copies are written anew.
    pub(super) mends: bool,
    /// Whether it reads no faster than a scrub may.
    pub(super) rests: bool,
}

/// The stores of a repository, the primary one first.
pub(super) struct Copies {
    id: RepositoryId,
    shared: Arc<Shared>,
    views: Vec<View>,
    epoch: u64,
    manner: Manner,
}

/// A store's copy.
struct View {
    member: Member,
    /// The repository as this store alone has it.
    shared: Arc<Shared>,
    /// The last entry that it has, as far as that is known.
    end: u64,
    /// Objects that were read.
    objects: u64,
    /// What is not what it has to be.
    problems: Vec<String>,
    /// What was, and has been written anew.
    mended: Vec<String>,
    /// Why it is not read any further.
    away: Option<String>,
}

/// What became of reading all copies of an object.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Those that are what they have to be.
    good: Vec<usize>,
    faults: Vec<(usize, Error)>,
}

impl Read {
    pub(super) fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    /// Whether the primary store's copy is sound.
    pub(super) fn is_sound_at_home(&self) -> bool {
        self.faults.iter().all(|(at, _)| *at > 0)
    }
}

impl Copies {
    /// The copies of a repository, in the present epoch.
    pub(super) fn of(shared: &Arc<Shared>, id: &RepositoryId, manner: Manner) -> Result<Self, Error> {
        let (epoch, members) = if let Some(replicated) = &shared.replicated {
            replicated.copies()?
        } else {
            let (name, store) = (Arc::clone(&shared.home.name), Arc::clone(&shared.home.store));
            (0, vec![Member::new(name, store, id.clone(), Arc::default())])
        };
        let views = members.into_iter().map(|member| View {
            shared: shared.at(Arc::new(member.clone())),
            member,
            end: 0,
            objects: 0,
            problems: vec![],
            mended: vec![],
            away: None,
        });
        Ok(Self { id: id.clone(), shared: Arc::clone(shared), views: views.collect(), epoch, manner })
    }

    /// Problems of all stores, and what was mended.
    pub(super) fn told(&self) -> (Vec<String>, Vec<String>) {
        let all = |lines: fn(&View) -> &Vec<String>| self.views.iter().flat_map(lines).cloned().collect();
        (all(|view| &view.problems), all(|view| &view.mended))
    }

    /// Reads every store's copy. That a replica does not answer is no damage, nor that it lacks what it has no entry for yet.
    pub(super) async fn read(&mut self, kept: &Kept) -> Result<Read, Error> {
        let mut read = Read::default();
        for at in 0..self.views.len() {
            let view = &self.views[at];
            if view.away.is_some() {
                continue;
            }
            let verified = kept.verify(&view.shared, &self.id).await;
            self.rest(*verified.as_ref().unwrap_or(&kept::SMALL)).await;
            let view = &mut self.views[at];
            match verified {
                Ok(_) => {
                    view.objects += 1;
                    read.good.push(at);
                }
                Err(Error::Missing { .. }) if kept.is_derived() || at > 0 && kept.since() > view.end => {}
                Err(error) if error.is_damage() => read.faults.push((at, error)),
                Err(error) if at == 0 => return Err(error),
                Err(error) => view.is_away(&error),
            }
        }
        Ok(read)
    }

    /// Reads every store's copy and mends what is to be mended.
    pub(super) async fn examine(&mut self, kept: &Kept) -> Result<(), Error> {
        let read = self.read(kept).await?;
        self.mend(kept, read).await
    }

    /// Checkpoints and their bases, of entries up to this one.
    pub(super) async fn examine_derived(&mut self, generation: u64) -> Result<(), Error> {
        let (mut checkpoints, mut bases) = (vec![], vec![]);
        for at in 0..self.views.len() {
            let view = &mut self.views[at];
            if view.away.is_some() {
                continue;
            }
            match tokio::try_join!(open::checkpoints(&view.shared, &self.id), open::bases(&view.shared, &self.id)) {
                Ok((some, others)) => {
                    checkpoints.extend(some);
                    bases.extend(others);
                }
                Err(error) if at == 0 => return Err(error),
                Err(error) => view.is_away(&error),
            }
        }
        for numbers in [&mut checkpoints, &mut bases] {
            numbers.retain(|number| *number <= generation);
            numbers.sort_unstable();
            numbers.dedup();
        }
        for kept in bases.into_iter().map(Kept::References).chain(checkpoints.into_iter().map(Kept::Checkpoint)) {
            self.examine(&kept).await?;
        }
        Ok(())
    }

    /// Waits for as long as the bytes may take.
    async fn rest(&self, bytes: u64) {
        if self.manner.rests {
            tokio::time::sleep(self.shared.policy.scrub_time(bytes)).await;
        }
    }

    /// How a store is named in what is told: not at all where there is one only.
    fn in_store(&self, at: usize) -> String {
        if self.views.len() == 1 { String::new() } else { format!(" (in the store '{}')", self.views[at].member.name) }
    }
}

impl View {
    fn is_away(&mut self, error: &Error) {
        tracing::warn!(store = &*self.member.name, %error, "a replica is not verified any further");
        self.away = Some(error.to_string());
    }

    /// Whether this store says that a life of an LFS object has ended.
    async fn has_ended(&self, id: &RepositoryId, oid: &model::lfs::Oid, life: u32) -> Result<bool, Error> {
        Ok(self.member.get(&keys::lfs_gone(id, oid, life)).await?.is_some())
    }
}
