//! Turns of requests that work at the same time. Who waits for a client does not work: others have the turn meanwhile. Nobody has more
//! than a share of them, so that one user cannot keep all others out.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

/// How long a client keeps a turn by what it neither sends nor reads.
const SHORT: Duration = Duration::from_secs(1);

/// For each turn, so many may have lent theirs: each of them has a thread and half a megabyte.
const AWAY: usize = 2;

/// One owner has at most this part of the turns, and of those that are lent: a half.
const SHARE: usize = 2;

/// How many work at the same time, and how many may be away beside them.
#[derive(Clone)]
pub(crate) struct Turns {
    all: Arc<Pool>,
    /// Turns that an owner may have.
    share: usize,
    /// Those who have turns, or wait for one.
    owners: Arc<Mutex<HashMap<String, Weak<Pool>>>>,
}

struct Pool {
    working: Arc<Semaphore>,
    away: Arc<Semaphore>,
}

/// Why there is no turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Busy {
    /// The owner has all that one may have.
    Owner,
    /// All turns are taken.
    All,
}

/// A turn, given back when dropped.
pub(crate) struct Turn(Arc<Held>);

struct Held {
    all: Arc<Pool>,
    own: Arc<Pool>,
    permits: Mutex<Option<Permits>>,
}

/// The owner's, and one of all.
type Permits = [OwnedSemaphorePermit; 2];

/// Knows a turn and does not keep it: what waits for the client on behalf of whoever has the turn.
#[derive(Clone, Default)]
pub(crate) struct Lender(Weak<Held>);

impl Pool {
    fn new(working: usize) -> Arc<Self> {
        Arc::new(Self { working: Arc::new(Semaphore::new(working)), away: Arc::new(Semaphore::new(working * AWAY)) })
    }
}

impl Turns {
    pub(crate) fn new(working: usize) -> Self {
        Self { all: Pool::new(working), share: (working / SHARE).max(1), owners: Arc::default() }
    }

    /// Waits this long for a turn. An owner waits for the own share first, so that there are few of one in the queue for all.
    pub(crate) async fn take(&self, owner: &str, patience: Duration) -> Result<Turn, Busy> {
        let (all, own, deadline) = (Arc::clone(&self.all), self.of(owner), Instant::now() + patience);
        let first = timeout_at(deadline, Arc::clone(&own.working).acquire_owned()).await;
        let first = first.ok().and_then(Result::ok).ok_or(Busy::Owner)?;
        let second = timeout_at(deadline, Arc::clone(&all.working).acquire_owned()).await;
        let second = second.ok().and_then(Result::ok).ok_or(Busy::All)?;
        Ok(Turn(Arc::new(Held { all, own, permits: Mutex::new(Some([first, second])) })))
    }

    fn of(&self, owner: &str) -> Arc<Pool> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = owners.get(owner).and_then(Weak::upgrade) {
            return own;
        }
        owners.retain(|_, own| own.strong_count() > 0);
        let own = Pool::new(self.share);
        owners.insert(owner.to_owned(), Arc::downgrade(&own));
        own
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
    fn lend(&self) -> Option<Permits> {
        let own = Arc::clone(&self.own.away).try_acquire_owned().ok()?;
        let away = [own, Arc::clone(&self.all.away).try_acquire_owned().ok()?];
        self.swap(None).map(|_| away)
    }

    fn swap(&self, permits: Option<Permits>) -> Option<Permits> {
        std::mem::replace(&mut *self.permits.lock().unwrap_or_else(PoisonError::into_inner), permits)
    }
}

impl Lender {
    /// Waits for a client. When that takes long, the turn is others' until the client is there again.
    pub(crate) async fn wait<T>(&self, client: impl Future<Output = T>) -> T {
        let mut client = pin!(client);
        if let Ok(done) = timeout(SHORT, &mut client).await {
            return done;
        }
        let away = self.0.upgrade().and_then(|held| held.lend());
        let done = client.await;
        if let Some(held) = self.0.upgrade().filter(|_| away.is_some()) {
            let own = Arc::clone(&held.own.working).acquire_owned().await;
            let all = Arc::clone(&held.all.working).acquire_owned().await;
            held.swap(own.ok().zip(all.ok()).map(|(own, all)| [own, all]));
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
        let turn = turns.take("a", SHORT * 99).await.unwrap();
        let lender = turn.lender();
        lender.wait(tokio::time::sleep(SHORT / 2)).await;
        assert_eq!(turns.all.working.available_permits(), 0, "it is kept for a moment");
        let waiting = tokio::spawn(async move { lender.wait(tokio::time::sleep(SHORT * 10)).await });
        tokio::time::sleep(SHORT * 2).await;
        let other = turns.take("a", SHORT * 99).await.unwrap();
        tokio::time::sleep(SHORT * 20).await;
        assert!(!waiting.is_finished(), "it works on only when it has a turn again");
        drop(other);
        waiting.await.unwrap();
        assert_eq!(turns.all.working.available_permits(), 0);
        drop(turn);
        assert_eq!(turns.all.working.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_twice_as_many_are_away() {
        let turns = Turns::new(1);
        for _ in 0..=AWAY {
            let turn = turns.take("a", SHORT * 99).await.unwrap();
            tokio::spawn(async move { turn.lender().wait(std::future::pending::<()>()).await });
            tokio::time::sleep(SHORT * 2).await;
        }
        assert_eq!(turns.all.working.available_permits(), 0, "the last one keeps it");
        assert_eq!(turns.all.away.available_permits(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_owner_has_half_of_them_working_and_half_of_them_away() {
        let turns = Turns::new(4);
        let mine = [turns.take("a", SHORT).await.unwrap(), turns.take("a", SHORT).await.unwrap()];
        assert_eq!(turns.take("a", SHORT).await.err(), Some(Busy::Owner));
        let others = [turns.take("b", SHORT).await.unwrap(), turns.take("c", SHORT).await.unwrap()];
        assert_eq!(turns.take("d", SHORT).await.err(), Some(Busy::All));
        drop((mine, others));
        assert_eq!(turns.all.working.available_permits(), 4);

        // Clients that stand still: half of all that may be away, and half of those that work.
        for _ in 0..6 {
            let turn = turns.take("a", SHORT * 3).await.unwrap();
            tokio::spawn(async move { turn.lender().wait(std::future::pending::<()>()).await });
        }
        tokio::time::sleep(SHORT * 3).await;
        assert_eq!(turns.take("a", SHORT).await.err(), Some(Busy::Owner));
        assert_eq!((turns.all.working.available_permits(), turns.all.away.available_permits()), (2, 4));
        assert!(turns.take("b", SHORT).await.is_ok());
    }

    #[tokio::test]
    async fn who_has_none_is_forgotten() {
        let turns = Turns::new(4);
        for number in 0..100 {
            drop(turns.take(&number.to_string(), SHORT).await.unwrap());
        }
        assert_eq!(turns.owners.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_no_turn_any_more_takes_none() {
        let turns = Turns::new(1);
        let lender = turns.take("a", SHORT * 99).await.unwrap().lender();
        lender.wait(tokio::time::sleep(SHORT * 10)).await;
        assert_eq!(turns.all.working.available_permits(), 1);
    }
}
