//! Turns of requests that work at the same time. Who waits for a client does not work: others have the turn meanwhile.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// How long a client keeps a turn by what it neither sends nor reads.
const SHORT: Duration = Duration::from_secs(1);

/// For each turn, so many may have lent theirs: each of them has a thread and half a megabyte.
const AWAY: usize = 2;

/// How many work at the same time, and how many may be away beside them.
#[derive(Clone)]
pub(crate) struct Turns {
    working: Arc<Semaphore>,
    away: Arc<Semaphore>,
}

/// A turn, given back when dropped.
pub(crate) struct Turn(Arc<Held>);

struct Held {
    turns: Turns,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

/// Knows a turn and does not keep it: what waits for the client on behalf of whoever has the turn.
#[derive(Clone, Default)]
pub(crate) struct Lender(Weak<Held>);

impl Turns {
    pub(crate) fn new(working: usize) -> Self {
        Self { working: Arc::new(Semaphore::new(working)), away: Arc::new(Semaphore::new(working * AWAY)) }
    }

    /// Waits for a turn.
    pub(crate) async fn take(&self) -> Result<Turn, AcquireError> {
        let permit = Arc::clone(&self.working).acquire_owned().await?;
        Ok(Turn(Arc::new(Held { turns: self.clone(), permit: Mutex::new(Some(permit)) })))
    }
}

impl Turn {
    /// What lends this turn to others.
    pub(crate) fn lender(&self) -> Lender {
        Lender(Arc::downgrade(&self.0))
    }
}

impl Held {
    /// Gives the turn to others, unless too many have done so; gives what is kept until it is taken again.
    fn lend(&self) -> Option<OwnedSemaphorePermit> {
        let away = Arc::clone(&self.turns.away).try_acquire_owned().ok()?;
        self.swap(None).map(|_| away)
    }

    fn swap(&self, permit: Option<OwnedSemaphorePermit>) -> Option<OwnedSemaphorePermit> {
        std::mem::replace(&mut *self.permit.lock().unwrap_or_else(PoisonError::into_inner), permit)
    }
}

impl Lender {
    /// Waits for a client. When that takes long, the turn is others' until the client is there again.
    pub(crate) async fn wait<T>(&self, client: impl Future<Output = T>) -> T {
        let mut client = pin!(client);
        if let Ok(done) = tokio::time::timeout(SHORT, &mut client).await {
            return done;
        }
        let away = self.0.upgrade().and_then(|held| held.lend());
        let done = client.await;
        if let Some(held) = self.0.upgrade().filter(|_| away.is_some()) {
            let permit = Arc::clone(&held.turns.working).acquire_owned().await;
            held.swap(permit.ok());
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_others_while_a_client_is_waited_for() {
        let turns = Turns::new(1);
        let turn = turns.take().await.unwrap();
        let lender = turn.lender();
        lender.wait(tokio::time::sleep(SHORT / 2)).await;
        assert_eq!(turns.working.available_permits(), 0, "it is kept for a moment");
        let waiting = tokio::spawn(async move { lender.wait(tokio::time::sleep(SHORT * 10)).await });
        tokio::time::sleep(SHORT * 2).await;
        let other = turns.take().await.unwrap();
        tokio::time::sleep(SHORT * 20).await;
        assert!(!waiting.is_finished(), "it works on only when it has a turn again");
        drop(other);
        waiting.await.unwrap();
        assert_eq!(turns.working.available_permits(), 0);
        drop(turn);
        assert_eq!(turns.working.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_twice_as_many_are_away() {
        let turns = Turns::new(1);
        for _ in 0..=AWAY {
            let turn = turns.take().await.unwrap();
            tokio::spawn(async move { turn.lender().wait(std::future::pending::<()>()).await });
            tokio::time::sleep(SHORT * 2).await;
        }
        assert_eq!(turns.working.available_permits(), 0, "the last one keeps it");
        assert_eq!(turns.away.available_permits(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_no_turn_any_more_takes_none() {
        let turns = Turns::new(1);
        let lender = turns.take().await.unwrap().lender();
        lender.wait(tokio::time::sleep(SHORT * 10)).await;
        assert_eq!(turns.working.available_permits(), 1);
    }
}
