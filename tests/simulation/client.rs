//! A client: it looks, fetches and pushes, on whatever server its connection ends at.

pub(crate) mod fetch;
mod intent;
mod push;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{ObjectId, RefName, RepositoryPath};
use store::{Error, Repositories, Repository, Snapshot};

use crate::dice::Dice;
use crate::git::Universe;
use crate::history::{EventsOperation, History, ReadOperation};
use crate::refs::Refs;
use crate::server::{Server, request};
use crate::world::World;

/// What clients of a run do, by weight.
#[derive(Debug, Clone)]
pub(crate) struct Habits {
    pub(crate) operations: usize,
    /// Requests, in a thousand, that go to the first server rather than to any.
    pub(crate) drawn: u32,
    pub(crate) fetch: u32,
    pub(crate) events: u32,
    pub(crate) push: u32,
    /// Pushes that move a branch to and fro.
    pub(crate) flip: u32,
    /// Pushes that delete, rewind or bring back.
    pub(crate) churn: u32,
    /// Pushes, in a thousand, that start from what the client saw some time ago.
    pub(crate) stale: u32,
    /// How long a client takes to send its pack, at most, and how many of a thousand packs take long.
    pub(crate) upload: (Duration, u32),
    /// Packs, in a thousand, that do not fit into an entry.
    pub(crate) bulky: u32,
    /// Packs, in a thousand, with objects that nothing leads to.
    pub(crate) junk: u32,
    /// What a request saw stays for this time.
    pub(crate) request_life: Duration,
    /// Milliseconds between operations, at most, most of the time.
    pub(crate) think_ms: u64,
    /// Times, in a thousand, that it thinks for minutes or hours.
    pub(crate) long: u32,
}

/// The reference that some client lately wanted to build on: a good one to delete.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rumours(Arc<Mutex<Option<RefName>>>);

impl Rumours {
    fn tell(&self, name: RefName) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
    }

    fn last(&self) -> Option<RefName> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A client of one repository.
pub(crate) struct Client {
    name: String,
    world: Arc<World>,
    universe: Arc<Universe>,
    history: Arc<History>,
    servers: Vec<Arc<Server>>,
    path: RepositoryPath,
    dice: Dice,
    habits: Habits,
    rumours: Rumours,
    /// References as last seen.
    seen: Refs,
    /// Tips that it has had to do with: it holds all that they lead to.
    tips: Vec<ObjectId>,
    requests: u32,
    /// Two commits that all clients know.
    flips: [ObjectId; 2],
}

/// What a client is told of the references.
pub(crate) struct Advertisement {
    pub(crate) repository: Arc<Repository>,
    pub(crate) snapshot: Arc<Snapshot>,
    asked: Duration,
    answered: Duration,
}

impl Advertisement {
    /// What the server knows now.
    pub(crate) async fn of(repository: Arc<Repository>, world: &World) -> Result<Self, Error> {
        let asked = world.now();
        let snapshot = request(repository.snapshot()).await?;
        Ok(Self { repository, snapshot, asked, answered: world.now() })
    }
}

impl Client {
    pub(crate) fn new(
        number: usize,
        servers: &[Arc<Server>],
        (world, universe): (&Arc<World>, &Arc<Universe>),
        history: &Arc<History>,
        path: RepositoryPath,
        (habits, rumours): (&Habits, &Rumours),
    ) -> Self {
        let name = format!("c{number}");
        Self {
            dice: world.dice(&name),
            name,
            world: Arc::clone(world),
            universe: Arc::clone(universe),
            history: Arc::clone(history),
            servers: servers.to_vec(),
            path,
            habits: habits.clone(),
            rumours: rumours.clone(),
            seen: Refs::new(),
            tips: vec![],
            requests: 0,
            flips: universe.flips(world.seed),
        }
    }

    /// Does its work.
    pub(crate) async fn run(mut self) {
        for _ in 0..self.habits.operations {
            if self.world.failed() {
                return;
            }
            match self.dice.weighed(&[self.habits.push, self.habits.fetch, self.habits.events]) {
                0 => self.push().await,
                1 => self.fetch().await,
                _ => self.events().await,
            }
            let time = if self.dice.chance(self.habits.long) {
                self.dice.millis(60_000, 28_800_000)
            } else {
                self.dice.millis(0, self.habits.think_ms)
            };
            tokio::time::sleep(time).await;
        }
    }

    /// Some server, by way of a Service that knows most of the time which ones are there.
    async fn server(&mut self) -> Arc<Server> {
        loop {
            let servers = if self.dice.chance(self.habits.drawn) { 1 } else { self.servers.len() };
            let number = self.dice.below(servers);
            let server = Arc::clone(&self.servers[number]);
            if server.is_up() || self.dice.chance(20) {
                return server;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Looks at the references.
    async fn look(&mut self) -> Option<Refs> {
        let server = self.server().await;
        let (path, world) = (self.path.clone(), Arc::clone(&self.world));
        let work = |repositories: Arc<Repositories>| async move {
            let repository = open(&repositories, &path).await?;
            Advertisement::of(repository, &world).await
        };
        let answer = server.serve(work).await;
        let told = self.told("looked", answer)?;
        let refs = self.record(&server, &told);
        self.tips.extend(refs.tips());
        self.seen = refs.clone();
        Some(refs)
    }

    /// Keeps what a server told of the references.
    fn record(&self, server: &Server, told: &Advertisement) -> Refs {
        let Advertisement { repository, snapshot, asked, answered } = told;
        let refs = Refs::of(&snapshot.refs);
        self.history.operations().reads.push(ReadOperation {
            reader: format!("{} on {}", self.name, server.name),
            repository: repository.id().to_string(),
            invoked: *asked,
            responded: *answered,
            generation: snapshot.generation,
            head: snapshot.head.clone(),
            refs: refs.clone(),
        });
        refs
    }

    /// Reads the events of some entry, as those who deliver them do.
    async fn events(&mut self) {
        let server = self.server().await;
        let (path, invoked, place) = (self.path.clone(), self.world.now(), self.dice.below(1_000) as u64);
        let read = |repositories: Arc<Repositories>| async move {
            let repository = open(&repositories, &path).await?;
            let generation = 1 + place % (repository.known().generation + 1);
            let events = request(repository.events_of(generation)).await?;
            Ok((repository.id().to_string(), generation, events))
        };
        let answer = server.serve(read).await;
        if let Some((repository, generation, events)) = self.told("asked for events", answer) {
            self.history.operations().events.push(EventsOperation {
                repository,
                invoked,
                generation,
                responded: self.world.now(),
                events,
            });
        }
    }

    /// An answer, unless it is a failure. Failures need no explanation while the weather is bad.
    fn told<T>(&self, what: &str, answer: Option<Result<T, Error>>) -> Option<T> {
        match answer {
            Some(Ok(told)) => {
                self.world.trace(format_args!("{} {what}", self.name));
                Some(told)
            }
            Some(Err(error)) => {
                self.world.trace(format_args!("{} {what}: {:?}", self.name, error.kind()));
                self.world.count("failed request");
                None
            }
            None => {
                self.world.trace(format_args!("{} {what}: connection lost", self.name));
                self.world.count("lost connection");
                None
            }
        }
    }

    /// All objects that the client holds.
    fn held(&self) -> BTreeSet<ObjectId> {
        self.universe.reachable(self.tips.iter().copied(), &BTreeSet::new())
    }
}

/// Opens the repository of a path, which is made when there is none.
pub(crate) async fn open(repositories: &Repositories, path: &RepositoryPath) -> Result<Arc<Repository>, Error> {
    let id = repositories.find_or_create(path).await?;
    repositories.open(&id).await
}

/// A reference by its full name.
fn reference(name: &str) -> RefName {
    RefName::try_from(name).expect("because it is a name")
}
