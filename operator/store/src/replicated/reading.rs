//! Reads: from the primary store, or from a replica when that one does not answer.

use std::sync::PoisonError;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use model::replication::ReplicationMode;
use tokio::time::Instant;

use super::member::{Member, Slot};
use super::{AWAY, FIRST_PATIENCE, Learned, Reign, ReplicatedStore};
use crate::keys;
use crate::object::StoreError;

/// Something that a store is asked for.
type Reading<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Times that the primary store may change while something is read.
const MAX_CHANGES: u32 = 4;

impl ReplicatedStore {
    /// Reads something that is the same in all stores that have it.
    pub(super) async fn read<'a, T>(
        &self,
        read: impl Fn(Member) -> Reading<'a, T> + Send + Sync,
        is_found: impl Fn(&T) -> bool + Send,
    ) -> Result<T, StoreError>
    where
        T: Send,
    {
        self.get_acquainted(FIRST_PATIENCE).await;
        let reign = self.reign.load_full();
        let error = match self.ask_primary(&reign, &read).await {
            Err(error) if is_away(&error) => error,
            answer => return answer,
        };
        for replica in self.members(&reign) {
            if let Ok(answer) = read(replica).await
                && is_found(&answer)
            {
                return Ok(answer);
            }
        }
        // What no replica has may still be in the primary store.
        Err(error)
    }

    /// An entry of the log; `by_replicas`: that of a replica will do while the primary store is away.
    pub(super) async fn get_entry(&self, number: u64, by_replicas: bool) -> Result<Option<Bytes>, StoreError> {
        self.get_acquainted(FIRST_PATIENCE).await;
        for _ in 0..MAX_CHANGES {
            let reign = self.reign.load_full();
            match self.ask_primary(&reign, |store| async move { store.slot(number).await }.boxed()).await {
                Ok(Slot::Holds(body)) => {
                    self.saw(number);
                    return Ok(Some(body));
                }
                Ok(Slot::Free) => return Ok(None),
                Ok(Slot::Closed) => match self.learn().await {
                    Learned::Newer => {}
                    // It goes on nowhere yet.
                    Learned::Nothing => return Ok(None),
                    Learned::Unsure => return Err(self.lost("read", number)),
                },
                Err(error) if is_away(&error) && self.is_replicated() => match self.learn_again().await {
                    Learned::Newer => {}
                    _ if by_replicas => return self.entry_of_replicas(&reign, number, error).await,
                    _ => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The log goes on somewhere, or is about to.
    pub(super) fn lost(&self, operation: &'static str, number: u64) -> StoreError {
        let reason = "another store is becoming the primary one; try again".to_owned();
        StoreError::Unavailable { operation, key: keys::log_entry(&self.id, number), reason }
    }

    /// An entry, from a replica. Copies are made in the order of the primary store's log; only what is written to all at once may be at the end
    /// of a replica's log in vain, so that one counts when another stands behind it.
    async fn entry_of_replicas(
        &self,
        reign: &Reign,
        number: u64,
        error: StoreError,
    ) -> Result<Option<Bytes>, StoreError> {
        let written_at_once = self.replication().is_some_and(|wanted| wanted.mode == ReplicationMode::Synchronous);
        let mut has_answered = false;
        for replica in self.members(reign) {
            // Before the entry is read: what was overruled in between would be seen as it was.
            let is_known =
                !written_at_once || self.replicas().get(&replica.name).is_some_and(|known| known.has(number));
            let is_settled = is_known || matches!(replica.slot(number + 1).await, Ok(Slot::Holds(_)));
            let Ok(slot) = replica.slot(number).await else { continue };
            has_answered = true;
            if let Slot::Holds(body) = slot
                && is_settled
            {
                return Ok(Some(body));
            }
        }
        if has_answered { Ok(None) } else { Err(error) }
    }

    /// Asks the primary store, unless it has just not answered and somebody else can.
    async fn ask_primary<'a, T>(
        &self,
        reign: &Reign,
        ask: impl Fn(Member) -> Reading<'a, T> + Send + Sync,
    ) -> Result<T, StoreError> {
        let is_away_now = || {
            let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
            away.is_some_and(|until| Instant::now() < until)
        };
        if is_away_now() && self.is_replicated() {
            let reason = format!("the store '{}' has just not answered", reign.primary.name);
            return Err(StoreError::Unavailable { operation: "read", key: String::new(), reason });
        }
        let answer = ask(reign.primary.clone()).await;
        let is_away_then = answer.as_ref().err().is_some_and(is_away);
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = is_away_then.then(|| Instant::now() + AWAY);
        answer
    }
}

/// Whether a store did not answer, or not sensibly.
pub(super) fn is_away(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable { .. } | StoreError::Unknown { .. } | StoreError::Refused { .. })
}
