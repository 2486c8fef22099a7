//! Promotion: a replica becomes the primary store, and the old one cannot acknowledge anything any more (ADR 0019).
//!
//! The log of the present epoch is closed: in the old primary store, if that can be reached, so that nothing is lost whatever the mode; else
//! in all replicas, without which nothing is acknowledged in the mode Synchronous. What was agreed on is created once, in the first of the
//! replicas by name: of two that promote at the same time, one decides. When the new primary store has every entry that counts, it
//! is told of its epoch, and servers may follow.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::epoch::Epoch;
use super::follow::Depth;
use super::member::{Member, Slot};
use super::{LOST_PATIENCE, PATIENCE, Reign, ReplicatedStore};
use crate::error::Error;
use crate::keys;
use crate::mirror::MirrorError;
use crate::object::{Create, StoreError};
use crate::sealed::unseal;

/// How long an old primary store that answers may take to be closed before it counts as lost.
const OLD_PATIENCE: Duration = Duration::from_secs(10);

/// Whether pushes may be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Rather do nothing.
    Refuse,
    /// The old primary store is lost, and nobody writes to it any more.
    Accept,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    /// The present epoch.
    pub epoch: u64,
    /// The primary store.
    pub primary: String,
    /// The last entry of the epoch before that counts.
    pub generation: u64,
    /// The primary store before.
    pub was: Option<String>,
    /// Whether something has changed.
    pub is_new: bool,
    /// Entries of the old primary store that do not count; `None` when it could not be asked. They stay there.
    pub left_behind: Option<u64>,
}

/// Why a store is not made the primary one.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// It holds no copy of the repository.
    #[error("{0}")]
    Unknown(String),
    /// Pushes that were acknowledged could be lost.
    #[error("{0}")]
    Unsafe(String),
    /// A store failed. Trying again goes on.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<StoreError> for PromoteError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<MirrorError> for PromoteError {
    fn from(error: MirrorError) -> Self {
        match error {
            MirrorError::Failed(error) => Self::Failed(error),
            other => Self::Unsafe(other.to_string()),
        }
    }
}

/// Where the log of the present epoch ends.
struct End {
    base: u64,
    /// The store that has all of it.
    source: Member,
    left_behind: Option<u64>,
    /// Stores that were not asked.
    without: Vec<String>,
}

impl End {
    /// The log of the primary store was closed.
    fn of_primary(reign: &Reign, base: u64) -> Self {
        Self { base, source: reign.primary.clone(), left_behind: Some(0), without: vec![] }
    }
}

impl ReplicatedStore {
    /// Makes a store the primary one. Trying again goes on where an earlier try was stopped.
    pub(crate) async fn promote(&self, to: &str, loss: Loss) -> Result<Promotion, PromoteError> {
        let before = self.reign.load_full();
        let (_, answers) = tokio::join!(self.learn(), self.answers(&before.primary));
        let reign = self.reign.load_full();
        let answers = answers || reign.epochs != before.epochs;
        if *reign.primary.name == *to {
            return Ok(Promotion {
                epoch: reign.epochs.number(),
                primary: to.to_owned(),
                generation: reign.epochs.base(),
                was: None,
                is_new: false,
                left_behind: Some(0),
            });
        }
        let name: Arc<str> = self.names(&reign).into_iter().find(|name| **name == *to).ok_or_else(|| {
            PromoteError::Unknown(format!(
                "'{to}' is none of the stores of this repository; see spec.replication.stores"
            ))
        })?;
        self.prepare(&reign, &name, answers).await?;
        let end = self.close(&reign, loss, answers).await?;
        self.begin(&reign, to, end, loss).await
    }

    /// Begins another epoch with the same primary store, because all stores count again.
    pub(crate) async fn renew(&self, reign: &Reign) -> Result<Promotion, PromoteError> {
        let end = End::of_primary(reign, reign.primary.close(0).await?);
        self.begin(reign, &reign.primary.name, end, Loss::Refuse).await
    }

    /// Begins the next epoch.
    async fn begin(&self, reign: &Reign, to: &str, end: End, loss: Loss) -> Result<Promotion, PromoteError> {
        let End { base, source, left_behind, without } = end;
        let wanted = Epoch {
            number: reign.epochs.number() + 1,
            primary: to.to_owned(),
            base,
            without,
            time: self.context.clock.now(),
        };
        let epoch = self.decide(reign, wanted, loss).await?;
        let epochs = Arc::new(reign.epochs.with(epoch.clone()));
        let chosen: Arc<str> = epoch.primary.as_str().into();
        let target = self.member(&chosen, &epochs).ok_or_else(|| {
            PromoteError::Unknown(format!(
                "'{chosen}' is being made the primary store, and this server has none of that name"
            ))
        })?;
        // Whoever decided may have known of a store with more than we have asked.
        let source = self.holding(reign, source, epoch.base).await?;
        if source.name != chosen {
            self.copy(&reign.epochs, &source.of(Arc::clone(&epochs)), &target, Depth::Objects, u64::MAX).await?;
        }
        // Whoever reads that store alone learns here that the log goes on under other names.
        target.of(Arc::clone(&reign.epochs)).close(epoch.base).await?;
        for known in epochs.after(0) {
            create(&target, &keys::epoch(&self.id, known.number), known.encode()?).await?;
        }
        self.learn().await;
        self.context.metrics.replication.promotions.inc();
        // The others are told when they are copied to.
        self.kick(Depth::Everything);
        let is_new = *chosen == *to;
        let was = Some(reign.primary.name.to_string());
        let Epoch { number, primary, base, .. } = epoch;
        Ok(Promotion { epoch: number, primary, generation: base, was, is_new, left_behind })
    }

    /// A store that has the log of an epoch up to an entry; this one, if it has.
    async fn holding(&self, reign: &Reign, first: Member, base: u64) -> Result<Member, PromoteError> {
        for member in std::iter::once(first).chain(self.members(reign)) {
            if base == 0 || matches!(member.slot(base).await, Ok(Slot::Holds(_))) {
                return Ok(member);
            }
        }
        Err(Error::Missing { key: keys::log_entry(&self.id, base) }.into())
    }

    /// Whether a store answers as one that holds the repository.
    async fn answers(&self, store: &Member) -> bool {
        matches!(timeout(PATIENCE, store.raw().get(&keys::catalog_entry(&self.path))).await, Ok(Ok(Some(_))))
    }

    /// Copies what is there while pushes go on, and finds out whether it can be copied at all.
    async fn prepare(&self, reign: &Reign, name: &Arc<str>, answers: bool) -> Result<(), PromoteError> {
        let target = self.member(name, &reign.epochs).ok_or_else(|| {
            PromoteError::Unknown(format!("this server has no store '{name}': give it as --store {name}=URL"))
        })?;
        // A store that cannot be written to is found out before anything is closed.
        target.raw().put(&keys::promotion(&self.id, 0), Bytes::from_static(b"a trial")).await?;
        if answers {
            // Those who push may be faster than a copy: what comes from now on is copied when the log is closed.
            let enough = reign.primary.end(reign.epochs.base()).await?;
            match self.copy(&reign.epochs, &reign.primary, &target, Depth::Objects, enough).await {
                // Somebody promotes already.
                Ok(_) | Err(MirrorError::Superseded) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Closes the log of the present epoch.
    async fn close(&self, reign: &Reign, loss: Loss, answers: bool) -> Result<End, PromoteError> {
        if sabotaged!(PromoteUnfenced) {
            let replica = self.members(reign).into_iter().next().ok_or_else(|| nothing(reign))?;
            let base = replica.end(0).await?;
            return Ok(End { base, source: replica, left_behind: None, without: vec![reign.primary.name.to_string()] });
        }
        let primary = &reign.primary;
        let patience = if answers { OLD_PATIENCE } else { LOST_PATIENCE };
        let reason = match timeout(patience, primary.close(0)).await {
            Ok(Ok(base)) => return Ok(End::of_primary(reign, base)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not answer".to_owned(),
        };
        if loss == Loss::Refuse && self.needed(reign) == 0 {
            return Err(PromoteError::Unsafe(format!(
                "the primary store '{}' cannot be reached ({reason}), and it may hold pushes that were acknowledged and not copied; when it \
                 is lost for good and no server writes to it, say that you accept the loss",
                primary.name
            )));
        }
        self.close_replicas(reign, loss).await
    }

    /// Closes the logs of all replicas, without which nothing is acknowledged.
    async fn close_replicas(&self, reign: &Reign, loss: Loss) -> Result<End, PromoteError> {
        let mut best: Option<(u64, Member)> = None;
        let mut without = vec![reign.primary.name.to_string()];
        for name in self.names(reign) {
            let Some(replica) = self.member(&name, &reign.epochs) else {
                if loss == Loss::Refuse && !reign.epochs.is_without(&name) {
                    return Err(PromoteError::Unsafe(format!(
                        "the primary store '{}' cannot be reached, and this server has no store '{name}', whose log would have to be closed: \
                         give it as --store {name}=URL",
                        reign.primary.name
                    )));
                }
                without.push(name.to_string());
                continue;
            };
            let closed = match timeout(PATIENCE, closed(&replica)).await {
                Ok(closed) => closed,
                Err(_) => Err(StoreError::Unavailable {
                    operation: "close",
                    key: keys::log_all(&self.id),
                    reason: "it did not answer in time".to_owned(),
                }),
            };
            let end = match closed {
                Ok(end) => end,
                Err(_) if loss == Loss::Accept || reign.epochs.is_without(&replica.name) => {
                    without.push(replica.name.to_string());
                    continue;
                }
                Err(error) => {
                    return Err(PromoteError::Unsafe(format!(
                        "neither the primary store '{}' nor the replica '{}' can be reached ({error}): pushes that were acknowledged may be \
                         there only; when both are lost for good, say that you accept the loss",
                        reign.primary.name, replica.name
                    )));
                }
            };
            if let Some((most, other)) = &best
                && end == *most
                && end > reign.epochs.base()
                && !is_same(other, &replica, end).await?
                && loss == Loss::Refuse
            {
                return Err(PromoteError::Unsafe(format!(
                    "'{}' and '{}' differ in their last entry, {end}, and only the primary store knows which one was acknowledged; choose \
                     and say that you accept the loss",
                    other.name, replica.name
                )));
            }
            if best.as_ref().is_none_or(|(most, _)| end > *most) {
                best = Some((end, replica));
            }
        }
        let (base, source) = best.ok_or_else(|| nothing(reign))?;
        if base < reign.epochs.base() && loss == Loss::Refuse {
            return Err(PromoteError::Unsafe(format!(
                "the primary store '{}' cannot be reached, and no replica has all that it had when it became the primary one; when it is lost \
                 for good, say that you accept the loss",
                reign.primary.name
            )));
        }
        Ok(End { base, source, left_behind: None, without })
    }

    /// Who decides is always the same, whoever can reach what: not a store that does not count, which comes and goes.
    pub(super) fn registrars(&self, reign: &Reign) -> Vec<Member> {
        let counting = |member: &Member| !reign.epochs.is_without(&member.name);
        let registrars: Vec<Member> = self.members(reign).into_iter().filter(counting).collect();
        if registrars.is_empty() { vec![reign.primary.clone()] } else { registrars }
    }

    /// What is agreed on: of several who promote at the same time, the first decides.
    async fn decide(&self, reign: &Reign, wanted: Epoch, loss: Loss) -> Result<Epoch, PromoteError> {
        let (key, body) = (keys::promotion(&self.id, wanted.number), wanted.encode()?);
        let mut failure = nothing(reign);
        let mut registrars = self.registrars(reign);
        if loss == Loss::Accept {
            registrars.extend(self.members(reign));
        }
        for registrar in registrars {
            match create(&registrar, &key, body.clone()).await {
                Ok(()) => {
                    let found = registrar.raw().get(&key).await?;
                    let found = found.ok_or_else(|| Error::Missing { key: key.clone() })?;
                    return Ok(unseal(&found).map_err(|reason| Error::Damaged { key, reason })?);
                }
                Err(error) if loss == Loss::Accept => failure = error,
                Err(error) => return Err(error),
            }
        }
        Err(failure)
    }
}

/// Closes the log of a replica, and tells its last entry: it may lack some of what was written before the present epoch.
async fn closed(replica: &Member) -> Result<u64, StoreError> {
    replica.close(0).await?;
    let end = replica.end(0).await?;
    replica.adopt_decision(end).await?;
    Ok(end)
}

/// Creates something that counts once it is there, whoever creates it.
async fn create(store: &Member, key: &str, body: Bytes) -> Result<(), PromoteError> {
    match store.raw().create(key, body).await {
        Ok(Create::Created | Create::Exists) => Ok(()),
        Err(error @ StoreError::Unknown { .. }) => match store.raw().get(key).await? {
            Some(_) => Ok(()),
            None => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

async fn is_same(one: &Member, other: &Member, number: u64) -> Result<bool, StoreError> {
    let (one, other) = tokio::try_join!(one.slot(number), other.slot(number))?;
    Ok(matches!((one, other), (Slot::Holds(one), Slot::Holds(other)) if one == other))
}

fn nothing(reign: &Reign) -> PromoteError {
    PromoteError::Unknown(format!("the repository is in the store '{}' only", reign.primary.name))
}
