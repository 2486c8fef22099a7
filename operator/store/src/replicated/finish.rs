//! A promotion whose maker has gone is ended by whoever notices: a log that stays closed takes no pushes (ADR 0019).

use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

use super::member::{Member, Slot};
use super::promote::PromoteError;
use super::{Learned, Reign, ReplicatedStore};
use crate::keys;
use crate::object::StoreError;

/// For how long a closed log is left to whoever closed it: between that and the decision nothing takes long.
const LEFT: Duration = Duration::from_mins(1);

impl ReplicatedStore {
    /// Ends a promotion, if one seems to have been left half way for some time.
    pub(super) async fn end_promotion(&self, reign: &Reign) {
        let epoch = reign.epochs.number();
        if !self.is_closed(reign).await {
            *self.closed() = None;
            return;
        }
        let since = match *self.closed() {
            Some((of, since)) if of == epoch => since,
            _ => Instant::now(),
        };
        *self.closed() = Some((epoch, since));
        // Whoever is at it may have told some stores already.
        if since.elapsed() < LEFT || self.learn().await != Learned::Nothing {
            return;
        }
        match self.go_on(reign).await {
            Ok(Some(primary)) => {
                tracing::warn!(repo.name = %self.path, primary, "a promotion that was left half way was ended");
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(repo.name = %self.path, %error, "a promotion was left half way, and cannot be ended yet");
            }
        }
    }

    fn closed(&self) -> std::sync::MutexGuard<'_, Option<(u64, Instant)>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the log of the present epoch was closed in the primary store, or in a replica that lacks something since.
    async fn is_closed(&self, reign: &Reign) -> bool {
        if matches!(reign.primary.slot(self.seen().max(reign.epochs.base()) + 1).await, Ok(Slot::Closed)) {
            return true;
        }
        for member in self.members(reign) {
            let known = self.replicas().get(&member.name).cloned();
            let Some(known) = known.filter(|known| known.generation < self.seen()) else { continue };
            if matches!(ends_closed(&member, known.generation).await, Ok(true)) {
                return true;
            }
        }
        false
    }

    /// Goes on with what was decided; where nothing was, the primary store stays what it is, in another epoch. Only when every store says what
    /// it knows of decisions: with losses accepted, one may be where it is not looked for first.
    async fn go_on(&self, reign: &Reign) -> Result<Option<String>, PromoteError> {
        let key = keys::promotion(&self.id, reign.epochs.number() + 1);
        let registrar = self.registrars(reign).first().map(|member| member.name.clone());
        let (mut at_registrar, mut elsewhere) = (None, false);
        for member in self.members(reign).into_iter().chain([reign.primary.clone()]) {
            let found = member.raw().get(&key).await?;
            if Some(&member.name) == registrar.as_ref() {
                at_registrar = found;
            } else {
                elsewhere |= found.is_some();
            }
        }
        let has_all = self.members(reign).len() == self.names(reign).len();
        if !has_all || elsewhere && at_registrar.is_none() {
            return Ok(None);
        }
        Ok(Some(self.renew(reign).await?.primary))
    }
}

async fn ends_closed(member: &Member, known: u64) -> Result<bool, StoreError> {
    let end = member.end(known).await?;
    Ok(member.slot(end + 1).await? == Slot::Closed)
}
