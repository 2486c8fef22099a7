//! Writes: to the primary store, and to as many replicas as have to hold what is acknowledged, at the same time.
//!
//! The primary store decides what stands at a number of the log. What a replica got of a writer that lost there is overruled by the winner,
//! which is acknowledged only then. A replica takes an entry only when it has the one before, with all that these name.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, timeout};

use super::follow::Depth;
use super::member::{Member, Settled, Slot};
use super::reading::is_away;
use super::status::{ReplicationProblem, Step};
use super::{Learned, Reign, ReplicatedStore};
use crate::keys;
use crate::object::{Create, ObjectStore as _, StoreError};

/// How long a replica may take for something small before it counts as away.
const PATIENCE: Duration = Duration::from_secs(15);
/// The same for something large: each request to a store has a limit of its own.
const UPLOAD_PATIENCE: Duration = Duration::from_hours(1);
/// How long the others are waited for when enough replicas have answered.
const GRACE: Duration = Duration::from_millis(200);
/// How long a write waits for replicas that catch up.
const CATCH_UP: Duration = Duration::from_secs(10);
/// Looks at a replica whose last entry is another one than that of the primary store: its writer may be about to overrule it.
const LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(40);

/// What came of a request to a replica.
type Attempt<T> = (Arc<str>, Result<T, StoreError>);

impl ReplicatedStore {
    /// Creates an entry that builds on what the log was in this epoch.
    pub(super) async fn create_entry(&self, epoch: u64, number: u64, body: Bytes) -> Result<Create, StoreError> {
        self.get_acquainted(Duration::MAX).await;
        let reign = self.reign.load_full();
        let key = keys::log_entry(&self.id, number);
        if reign.epochs.number() != epoch {
            return Err(StoreError::Superseded { operation: "create", key });
        }
        if number <= reign.epochs.base() {
            // Of a past epoch: the primary store has it, perhaps in another log.
            return Ok(Create::Exists);
        }
        let needed = self.needed(&reign);
        if needed == 0 {
            let answer = reign.primary.create(&key, body).await;
            let answer = self.decided(&reign, number, answer).await?;
            self.tell_replicas(&reign);
            return Ok(answer);
        }
        let replicas = self.ready(&reign, number - 1, needed).await?;
        let first = |replica: &Member| {
            let (replica, key, body) = (replica.clone(), key.clone(), body.clone());
            async move { (Arc::clone(&replica.name), replica.create(&key, body).await) }.boxed()
        };
        let early = sabotaged!(AcknowledgeBeforeQuorum);
        let firsts = gather(replicas.iter().map(first), needed, PATIENCE, |answer| *answer == Create::Created);
        let (answer, firsts) = tokio::join!(reign.primary.create(&key, body.clone()), firsts);
        let answer = self.decided(&reign, number, answer).await?;
        if answer == Create::Exists {
            return Ok(answer);
        }
        let is_created =
            |name: &Arc<str>| firsts.iter().any(|(of, first)| of == name && matches!(first, Ok(Create::Created)));
        let (held, doubtful): (Vec<_>, Vec<_>) = replicas.into_iter().partition(|replica| is_created(&replica.name));
        for replica in &held {
            self.holds(&reign, &replica.name, number);
        }
        if held.len() >= needed || early {
            self.tell_replicas(&reign);
            return Ok(answer);
        }
        let settled = self.settle(&reign, number, &body, doubtful, needed - held.len()).await;
        self.tell_replicas(&reign);
        settled.map(|()| answer)
    }

    /// Has replicas catch up that have not got everything.
    pub(super) fn tell_replicas(&self, reign: &Reign) {
        let seen = self.seen();
        let names = self.names(reign);
        {
            let mut replicas = self.replicas();
            for name in &names {
                let replica = replicas.entry(Arc::clone(name)).or_default();
                if replica.generation < seen {
                    replica.behind_since.get_or_insert_with(Instant::now);
                }
            }
        }
        self.note_lags(reign);
        self.kick(Depth::Entries);
    }

    /// What the primary store said of an entry.
    async fn decided(
        &self,
        reign: &Reign,
        number: u64,
        answer: Result<Create, StoreError>,
    ) -> Result<Create, StoreError> {
        match answer {
            Ok(Create::Created) => {
                self.saw(number);
                Ok(Create::Created)
            }
            Ok(Create::Exists) if self.is_replicated() && reign.primary.slot(number).await? == Slot::Closed => {
                let key = keys::log_entry(&self.id, number);
                Err(match self.learn().await {
                    Learned::Newer => StoreError::Superseded { operation: "create", key },
                    Learned::Nothing | Learned::Unsure => self.lost("create", number),
                })
            }
            Err(error) if is_away(&error) && self.is_replicated() => {
                self.learn_again().await;
                // Replicas may have it, and one of them may be the primary store by now.
                Err(if self.needed(reign) == 0 {
                    error
                } else {
                    doubtful("create", &keys::log_entry(&self.id, number), &error)
                })
            }
            answer => answer,
        }
    }

    /// Makes enough replicas hold what the primary store has at a number.
    async fn settle(
        &self,
        reign: &Reign,
        number: u64,
        body: &Bytes,
        replicas: Vec<Member>,
        needed: usize,
    ) -> Result<(), StoreError> {
        let settle = |replica: Member| {
            let body = body.clone();
            async move { (Arc::clone(&replica.name), replica.settle(number, &body).await) }.boxed()
        };
        let replicas = replicas.into_iter().map(settle);
        let settled = gather(replicas, needed, PATIENCE, |settled| *settled == Settled::Same).await;
        let (mut held, mut is_closed, mut problem) = (0, false, String::new());
        for (name, settled) in settled {
            match settled {
                Ok(Settled::Same) => {
                    self.holds(reign, &name, number);
                    held += 1;
                }
                Ok(Settled::Closed) => is_closed = true,
                Err(error) => {
                    problem = format!("{name}: {error}");
                    self.missed(reign, &name, Some(&error));
                }
            }
        }
        if held >= needed {
            return Ok(());
        }
        let key = keys::log_entry(&self.id, number);
        if is_closed {
            self.learn().await;
            "another store is becoming the primary one".clone_into(&mut problem);
        }
        let reason = format!("the store '{}' has it, too few of the replicas do: {problem}", reign.primary.name);
        Err(StoreError::Unknown { operation: "create", key, reason })
    }

    /// Makes sure that enough stores hold an entry that the primary store has.
    pub(super) async fn confirm_entry(&self, number: u64) -> Result<(), StoreError> {
        let reign = self.reign.load_full();
        let needed = self.needed(&reign);
        if needed == 0 || sabotaged!(AcknowledgeBeforeQuorum) {
            return Ok(());
        }
        let key = keys::log_entry(&self.id, number);
        let Slot::Holds(body) = reign.primary.slot(number).await? else {
            let reason = "it is not in the primary store any more".to_owned();
            return Err(StoreError::Unknown { operation: "confirm", key, reason });
        };
        let unknown = |error: StoreError| doubtful("confirm", &key, &error);
        let replicas = self.ready(&reign, number - 1, needed).await.map_err(unknown)?;
        self.settle(&reign, number, &body, replicas, needed).await
    }

    /// Replicas that have everything up to an entry; fails when there are not enough.
    async fn ready(&self, reign: &Reign, generation: u64, needed: usize) -> Result<Vec<Member>, StoreError> {
        let key = keys::log_entry(&self.id, generation + 1);
        let is_ready =
            |replica: Member| async move { self.is_ready(reign, &replica, generation).await.then_some(replica) };
        self.enough(reign, needed, &key, is_ready).await
    }

    /// Replicas that are fit for something; waits a while for those that catch up when there are not enough.
    async fn enough<F: Future<Output = Option<Member>>>(
        &self,
        reign: &Reign,
        needed: usize,
        key: &str,
        is_fit: impl Fn(Member) -> F,
    ) -> Result<Vec<Member>, StoreError> {
        let deadline = Instant::now() + CATCH_UP;
        loop {
            let stepped = self.stepped.notified();
            // Those that need not have it get it with the others, or later.
            let counting = self.members(reign).into_iter().filter(|replica| !reign.epochs.is_without(&replica.name));
            let fit = self.fit(reign, counting.collect(), needed, &is_fit).await;
            if fit.len() >= needed {
                return Ok(fit);
            }
            self.kick(Depth::Objects);
            if self.learn_again().await == Learned::Newer {
                return Err(StoreError::Superseded { operation: "write", key: key.to_owned() });
            }
            if timeout(deadline.saturating_duration_since(Instant::now()), stepped).await.is_err() {
                let reason = format!("{} of the {needed} replicas that must hold it are up to date", fit.len());
                return Err(StoreError::Unavailable { operation: "write", key: key.to_owned(), reason });
            }
        }
    }

    /// Those that are fit for something. When there are enough, the others are waited for only a little, and have missed something if they
    /// do not answer: a replica that is away must not keep those that are not.
    async fn fit<F: Future<Output = Option<Member>>>(
        &self,
        reign: &Reign,
        replicas: Vec<Member>,
        needed: usize,
        is_fit: impl Fn(Member) -> F,
    ) -> Vec<Member> {
        let mut silent: Vec<Arc<str>> = replicas.iter().map(|replica| Arc::clone(&replica.name)).collect();
        let asked = replicas.into_iter().map(|replica| {
            let (name, is_fit) = (Arc::clone(&replica.name), is_fit(replica));
            async move { (name, is_fit.await) }
        });
        let (mut asked, mut fit): (FuturesUnordered<_>, _) = (asked.collect(), Vec::new());
        let mut deadline = Instant::now() + PATIENCE;
        while let Ok(Some((name, found))) = tokio::time::timeout_at(deadline, asked.next()).await {
            silent.retain(|silent| *silent != name);
            fit.extend(found);
            if fit.len() == needed {
                deadline = deadline.min(Instant::now() + GRACE);
            }
        }
        for name in &silent {
            self.missed(reign, name, None);
        }
        fit
    }

    /// Whether a replica has everything up to an entry.
    async fn is_ready(&self, reign: &Reign, replica: &Member, generation: u64) -> bool {
        let step = self.replicas().entry(Arc::clone(&replica.name)).or_default().step;
        match step {
            Step::In(known) if known >= generation => return true,
            Step::Out => return false,
            Step::In(_) | Step::Unknown => {}
        }
        // Of a new repository nobody knows whether its name is there.
        let is_same = generation > 0 && timeout(PATIENCE, self.has_same(reign, replica, generation)).await == Ok(true);
        if is_same {
            self.holds(reign, &replica.name, generation);
        } else {
            self.missed(reign, &replica.name, None);
        }
        is_same
    }

    async fn has_same(&self, reign: &Reign, replica: &Member, generation: u64) -> bool {
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            match tokio::try_join!(reign.primary.slot(generation), replica.slot(generation)) {
                Ok((Slot::Holds(here), Slot::Holds(there))) if here == there => return true,
                // Somebody else wrote it, and has not come here yet, or was not the first.
                Ok((Slot::Holds(_), Slot::Free | Slot::Holds(_))) => {}
                _ => return false,
            }
        }
        false
    }

    /// Creates what is not an entry: the primary store decides, and replicas get what they must hold.
    pub(super) async fn create_object(&self, key: &str, body: Bytes) -> Result<Create, StoreError> {
        loop {
            match self.try_to_create_object(key, body.clone()).await {
                Err(StoreError::Superseded { .. }) => {}
                answer => return answer,
            }
        }
    }

    async fn try_to_create_object(&self, key: &str, body: Bytes) -> Result<Create, StoreError> {
        let reign = self.reign.load_full();
        let answer = reign.primary.create(key, body.clone()).await?;
        if answer == Create::Created && self.is_held(&reign, key) {
            let put = |replica: Member| {
                let (key, body) = (key.to_owned(), body.clone());
                async move { (Arc::clone(&replica.name), replica.put(&key, body).await) }.boxed()
            };
            self.everywhere(&reign, key, put).await?;
        }
        Ok(answer)
    }

    /// Uploads a file to the primary store and to the replicas that must hold it.
    pub(super) async fn upload_everywhere(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        loop {
            match self.try_to_upload(key, file).await {
                Err(StoreError::Superseded { .. }) => {}
                answer => return answer,
            }
        }
    }

    async fn try_to_upload(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        let reign = self.reign.load_full();
        if !self.is_held(&reign, key) {
            return reign.primary.upload(key, file).await;
        }
        let upload = |replica: Member| {
            let (key, file) = (key.to_owned(), file.to_owned());
            async move { (Arc::clone(&replica.name), replica.upload(&key, &file).await) }.boxed()
        };
        let (primary, replicas) = tokio::join!(reign.primary.upload(key, file), self.everywhere(&reign, key, upload));
        primary.and(replicas)
    }

    /// Whether replicas must hold an object when it is said to be there: packs and LFS objects. The rest follows from the log, or is copied
    /// before the log is.
    fn is_held(&self, reign: &Reign, key: &str) -> bool {
        let is_lfs = key.starts_with(&keys::lfs_all(&self.id));
        let is_needed = self.needed(reign) > 0;
        if is_lfs && !is_needed {
            self.kick(Depth::Objects);
        }
        is_needed && (is_lfs || key.starts_with(&keys::pack_all(&self.id)))
    }

    /// Writes something to replicas that have not missed anything; fails when too few of them have it.
    async fn everywhere<'a>(
        &self,
        reign: &Reign,
        key: &str,
        write: impl Fn(Member) -> BoxFuture<'a, Attempt<()>> + Send,
    ) -> Result<(), StoreError> {
        let needed = self.needed(reign);
        let is_up_to_date = |replica: Member| {
            let step = self.replicas().entry(Arc::clone(&replica.name)).or_default().step;
            std::future::ready((step != Step::Out).then_some(replica))
        };
        let replicas = self.enough(reign, needed, key, is_up_to_date).await?;
        let names: Vec<_> = replicas.iter().map(|replica| Arc::clone(&replica.name)).collect();
        let written = gather(replicas.into_iter().map(write), needed, UPLOAD_PATIENCE, |()| true).await;
        let (mut held, mut problem) = (0, String::new());
        for name in names {
            match written.iter().find(|(of, _)| *of == name) {
                Some((_, Ok(()))) => held += 1,
                Some((_, Err(error))) => {
                    problem = format!("{name}: {error}");
                    self.missed(reign, &name, Some(error));
                }
                None => self.missed(reign, &name, None),
            }
        }
        if held >= needed {
            return Ok(());
        }
        let reason = format!("{held} of the {needed} replicas that must hold it do: {problem}");
        Err(StoreError::Unavailable { operation: "upload", key: key.to_owned(), reason })
    }

    fn holds(&self, reign: &Reign, name: &Arc<str>, generation: u64) {
        let mut replicas = self.replicas();
        if self.epoch() == reign.epochs.number() {
            replicas.entry(Arc::clone(name)).or_default().catch_up(generation, &self.sightings());
        }
    }

    fn missed(&self, reign: &Reign, name: &Arc<str>, error: Option<&StoreError>) {
        let problem = error.map(|error| ReplicationProblem::Unavailable(error.to_string()));
        {
            let mut replicas = self.replicas();
            if self.epoch() != reign.epochs.number() {
                return;
            }
            replicas.entry(Arc::clone(name)).or_default().miss(problem);
        }
        self.kick(Depth::Objects);
    }
}

/// Waits until as many as are needed have done well, and a little for the others. Who has not answered by then is not among the results.
async fn gather<'a, T>(
    attempts: impl Iterator<Item = BoxFuture<'a, Attempt<T>>>,
    needed: usize,
    patience: Duration,
    is_good: impl Fn(&T) -> bool,
) -> Vec<Attempt<T>> {
    let mut attempts: FuturesUnordered<_> = attempts.collect();
    let (mut done, mut good, mut deadline) = (Vec::new(), 0, Instant::now() + patience);
    while let Ok(Some(attempt)) = tokio::time::timeout_at(deadline, attempts.next()).await {
        good += usize::from(attempt.1.as_ref().is_ok_and(&is_good));
        done.push(attempt);
        if good == needed {
            deadline = deadline.min(Instant::now() + GRACE);
        }
    }
    done
}

fn doubtful(operation: &'static str, key: &str, error: &StoreError) -> StoreError {
    StoreError::Unknown { operation, key: key.to_owned(), reason: error.to_string() }
}
