//! Replicas catch up: what they lack is copied from the primary store, objects first, then entries in their order.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::Instant;

use super::epoch::Epochs;
use super::member::Member;
use super::status::{MemberStatus, ReplicationProblem, ReplicationStatus, Step};
use super::{LOST_PATIENCE, Reign, ReplicatedStore};
use crate::error::Error;
use crate::keys;
use crate::mirror::{Copying, Manner, MirrorError, Mirrored, Part};
use crate::object::ObjectStore as _;

/// The first pause after something went wrong; each is twice as long, up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Entries that are copied before it is looked whether something else is wanted.
const IN_A_ROW: u64 = 1_000;

/// What is looked at, the cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depth {
    /// Entries and the packs that they name.
    Entries,
    /// LFS objects, too.
    Objects,
    /// Also what replicas hold in vain.
    Everything,
}

impl Depth {
    fn parts(self) -> &'static [Part] {
        match self {
            Self::Entries => &[Part::Keys, Part::Packs],
            Self::Objects => &[Part::Keys, Part::Packs, Part::LfsContents, Part::LfsSums],
            Self::Everything => &Part::ALL,
        }
    }
}

/// The tasks that copy, one for each replica while there is something to copy, and what they are to look at next.
pub(super) type Following = BTreeMap<Arc<str>, Option<Depth>>;

impl ReplicatedStore {
    fn following(&self) -> MutexGuard<'_, Following> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has every replica catch up, beside what goes on.
    pub(crate) fn kick(&self, depth: Depth) {
        for name in self.names(&self.reign.load()) {
            let mut following = self.following();
            if let Some(wanted) = following.get_mut(&name) {
                *wanted = (*wanted).max(Some(depth));
                continue;
            }
            following.insert(Arc::clone(&name), Some(depth));
            tokio::spawn(follow(Weak::clone(&self.this), name));
        }
    }

    /// Looks whether the primary store has an entry that nobody here has seen, and has replicas catch up.
    pub(crate) async fn look(&self) {
        let reign = self.reign.load_full();
        if self.names(&reign).is_empty() {
            return;
        }
        if let Ok(end) = reign.primary.end(self.seen().max(reign.epochs.base())).await {
            self.saw(end);
        }
        self.end_promotion(&reign).await;
        let reign = self.reign.load_full();
        self.tell_replicas(&reign);
    }

    /// What a task is to look at; it ends when there is nothing.
    fn take(&self, name: &Arc<str>) -> Option<Depth> {
        let mut following = self.following();
        let wanted = following.get_mut(name).and_then(Option::take);
        if wanted.is_none() {
            following.remove(name);
        }
        wanted
    }

    /// Brings one replica up to date; false when it is to be tried again.
    async fn follow(&self, name: &Arc<str>, depth: Depth) -> bool {
        let reign = self.reign.load_full();
        if !self.names(&reign).contains(name) {
            self.replicas().remove(name);
            return true;
        }
        let (step, troubles) = {
            let mut replicas = self.replicas();
            let replica = replicas.entry(Arc::clone(name)).or_default();
            (replica.step, replica.troubles)
        };
        if depth == Depth::Entries && matches!(step, Step::In(known) if known >= self.seen()) {
            return true;
        }
        let copied = self.copy_to(&reign, name, depth).await;
        let is_well = match copied {
            Ok(done) => {
                if done.left_behind > 0 {
                    tracing::warn!(
                        repo.name = %self.path,
                        store = &**name,
                        entries = done.left_behind,
                        "a store that was the primary one holds entries that came too late: they stay there, and are served to nobody"
                    );
                }
                let mut replicas = self.replicas();
                let replica = replicas.entry(Arc::clone(name)).or_default();
                let is_well = replica.troubles == troubles && self.epoch() == reign.epochs.number();
                if is_well {
                    replica.catch_up(done.generation, &self.sightings());
                }
                is_well
            }
            Err(MirrorError::Superseded) => {
                self.learn().await;
                false
            }
            Err(error) => {
                self.note_failure(&reign, name, error).await;
                false
            }
        };
        self.note_lags(&reign);
        if is_well && reign.epochs.is_without(name) {
            self.take_back(&reign, name).await;
        }
        is_well
    }

    /// A store that was lost has everything again: from now on it counts.
    async fn take_back(&self, reign: &Reign, name: &Arc<str>) {
        match self.renew(reign).await {
            Ok(_) => tracing::info!(repo.name = %self.path, store = &**name, "a store that was lost counts again"),
            Err(error) => tracing::warn!(repo.name = %self.path, store = &**name, %error, "a store does not count yet"),
        }
    }

    async fn note_failure(&self, reign: &Reign, name: &Arc<str>, error: MirrorError) {
        let problem = match error {
            MirrorError::Diverged(key) => Some(ReplicationProblem::Diverged(format!(
                "the store '{name}' holds another {key}: it was written to, or is of something else; empty it, or choose another prefix"
            ))),
            // The replica is not to blame for a primary store that does not answer.
            other if self.is_to_blame(reign, name).await => Some(ReplicationProblem::Unavailable(other.to_string())),
            _ => None,
        };
        let mut replicas = self.replicas();
        let replica = replicas.entry(Arc::clone(name)).or_default();
        if let Some(problem) = problem.as_ref().filter(|problem| replica.problem.as_ref() != Some(problem)) {
            tracing::warn!(repo.name = %self.path, store = &**name, %problem, "a replica is not up to date; it is tried again");
        }
        replica.miss(problem);
    }

    /// Whether a replica does not answer, while the primary store does.
    async fn is_to_blame(&self, reign: &Reign, name: &Arc<str>) -> bool {
        let key = keys::catalog_entry(&self.path);
        let asked = tokio::time::timeout(LOST_PATIENCE, reign.primary.raw().get(&key)).await;
        matches!(asked, Ok(Ok(_))) || self.peer(name).is_none()
    }

    async fn copy_to(&self, reign: &Reign, name: &Arc<str>, depth: Depth) -> Result<Mirrored, MirrorError> {
        let to = self.member(name, &reign.epochs);
        let to = to.ok_or_else(|| Error::Packs(ReplicationProblem::Unknown(name.to_string()).to_string()))?;
        let is_in_step = matches!(self.replicas().get(name).map(|replica| replica.step), Some(Step::In(_)));
        let enough = match depth {
            Depth::Everything => u64::MAX,
            _ if is_in_step => self.seen() + IN_A_ROW,
            // The name of a new repository comes last: under load there is always one more entry before it.
            _ => self.seen(),
        };
        let done = self.copy(&reign.epochs, &reign.primary, &to, depth, enough).await?;
        self.saw(done.generation);
        Ok(done)
    }

    /// Copies from one store to another, which is told of these epochs.
    pub(super) async fn copy(
        &self,
        epochs: &Epochs,
        from: &Member,
        to: &Member,
        depth: Depth,
        enough: u64,
    ) -> Result<Mirrored, MirrorError> {
        let known = self.replicas().get(&to.name).map_or(0, |replica| replica.generation);
        let folder = self.context.cache.temporary().map_err(Error::Cache)?;
        let grace = SignedDuration::try_from(self.context.policy.grace).unwrap_or(SignedDuration::MAX);
        let now = self.context.clock.now();
        let before = now.checked_sub(grace).unwrap_or(now);
        let manner = Manner::Replica { before, named: self.named.load_full(), opener: self.opener() };
        let (id, path) = (&self.id, &self.path);
        // What is copied for an epoch that has not begun is nothing that the present one has.
        let told = |generation: u64| {
            let mut replicas = self.replicas();
            if [to.epoch(), self.epoch()] == [epochs.number(); 2] {
                replicas.entry(Arc::clone(&to.name)).or_default().advance(generation, &self.sightings());
            }
        };
        let (folder, told) = (folder.path(), &told);
        let copying = Copying { from, to, id, path, epochs, folder, manner, known, enough, told };
        match copying.run(depth.parts()).await {
            Err(MirrorError::Failed(Error::Missing { key })) if key == keys::catalog_entry(path) => {
                self.name(from, &key).await?;
                copying.run(depth.parts()).await
            }
            done => done,
        }
    }

    /// Brings the repository's name to a store that was made the primary one before anything was written.
    async fn name(&self, store: &Member, key: &str) -> Result<(), MirrorError> {
        let reign = self.reign.load_full();
        for member in self.members(&reign).iter().chain([&reign.primary]) {
            if let Ok(Some(name)) = member.raw().get(key).await {
                store.raw().create(key, name).await?;
                return Ok(());
            }
        }
        Err(Error::Missing { key: key.to_owned() }.into())
    }

    /// Where the repository is kept; `None` when nowhere else.
    pub(crate) fn status(&self) -> Option<ReplicationStatus> {
        let reign = self.reign.load_full();
        if !self.is_replicated() {
            return None;
        }
        let (seen, replicas) = (self.seen(), self.replicas());
        let member = |name: &Arc<str>| {
            let known = replicas.get(name).cloned().unwrap_or_default();
            let unknown = || ReplicationProblem::Unknown(name.to_string());
            MemberStatus {
                store: name.to_string(),
                generation: known.generation,
                behind_entries: seen.saturating_sub(known.generation),
                behind: known.behind_since.map_or(Duration::ZERO, |since| since.elapsed()),
                problem: if self.peer(name).is_some() { known.problem } else { Some(unknown()) },
            }
        };
        let members = self.names(&reign).iter().map(member).collect();
        Some(ReplicationStatus { primary: reign.primary.name.to_string(), epoch: reign.epochs.number(), members })
    }

    /// Tells the metrics how far behind replicas are.
    pub(super) fn note_lags(&self, reign: &Reign) {
        let seen = self.seen();
        for name in self.names(reign) {
            let lag = self.replicas().get(&name).and_then(|replica| {
                let since: Instant = replica.behind_since?;
                Some((seen.saturating_sub(replica.generation), since))
            });
            self.context.metrics.replication.note(&self.id, &name, lag);
        }
    }
}

/// Copies until there is nothing to copy.
async fn follow(store: Weak<ReplicatedStore>, name: Arc<str>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let Some(this) = store.upgrade() else { return };
        let Some(depth) = this.take(&name) else { return };
        let is_well = this.follow(&name, depth).await;
        this.stepped.notify_waiters();
        if is_well {
            pause = FIRST_PAUSE;
            continue;
        }
        this.following().entry(Arc::clone(&name)).and_modify(|wanted| *wanted = (*wanted).max(Some(depth)));
        drop(this);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}
