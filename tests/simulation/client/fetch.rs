//! A fetch: the references, then all packs, then a walk from each reference.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use store::{Error, LocalPacks, Repositories, Repository, Snapshot};
use tokio::time::Instant;

use super::{Advertisement, Client, open};
use crate::git::{Universe, readable};
use crate::server::request;
use crate::world::World;

/// Times that a request which was overtaken by maintenance reads the newest state and goes on with that.
const TRIES: u32 = 4;

/// What came of a fetch on a server: what was advertised last, and whether all of it was there.
type Fetched = Result<(Advertisement, Result<(), String>), Error>;

impl Client {
    pub(super) async fn fetch(&mut self) {
        let server = self.server().await;
        let (path, world, universe) = (self.path.clone(), Arc::clone(&self.world), Arc::clone(&self.universe));
        let dwell = if self.dice.chance(100) { self.dice.millis(1_000, 1_200_000) } else { self.dice.millis(0, 50) };
        let life = self.habits.request_life;
        let work = |repositories: Arc<Repositories>| async move {
            let repository = open(&repositories, &path).await?;
            fetch(repository, &universe, &world, (dwell, life)).await
        };
        let answer = server.serve(work).await;
        let Some((told, objects)) = self.told("fetched", answer) else { return };
        let refs = self.record(&server, &told);
        self.tips.extend(refs.tips());
        if let Err(problem) = objects {
            self.world.violation(format!("{} fetched generation {}: {problem}", self.name, told.snapshot.generation));
        }
        self.seen = refs;
    }
}

/// Brings everything in and walks it. `dwell` is how long the client takes between references and packs; `life` is how long what
/// a request saw has to stay.
pub(crate) async fn fetch(
    repository: Arc<Repository>,
    universe: &Universe,
    world: &World,
    (dwell, life): (Duration, Duration),
) -> Fetched {
    let mut tries = 0;
    loop {
        let told = Advertisement::of(Arc::clone(&repository), world).await?;
        let seen = Instant::now();
        if tries == 0 {
            tokio::time::sleep(dwell).await;
        }
        tries += 1;
        let brought = bring_in(&repository, &told.snapshot).await?;
        let objects = match brought {
            Some(packs) => {
                read_tables(universe, world, &repository, &told.snapshot, &packs).await?;
                walk(universe, &told.snapshot, &packs)
            }
            None if seen.elapsed() < life => Err("a pack is gone".to_owned()),
            None if tries == TRIES => return Err(Error::Stopping),
            // It took so long that maintenance has deleted what it saw.
            None => {
                world.count("pack gone from under a fetch");
                continue;
            }
        };
        return Ok((told, objects));
    }
}

/// The packs of a state; `None` when some are gone.
pub(super) async fn bring_in(repository: &Repository, snapshot: &Snapshot) -> Result<Option<LocalPacks>, Error> {
    match request(repository.local_packs(snapshot)).await {
        Ok(packs) => Ok(Some(packs)),
        Err(Error::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The tables of a state, as far as they can be had: those of packs that are gone may be gone as well.
async fn read_tables(
    universe: &Universe,
    world: &World,
    repository: &Repository,
    snapshot: &Snapshot,
    packs: &LocalPacks,
) -> Result<(), Error> {
    let objects = universe.read(&packs.packs).unwrap_or_default();
    for (pack, objects) in snapshot.packs.iter().zip(&objects) {
        let file = match repository.table(pack).await {
            Ok(Some(file)) => file,
            Ok(None) | Err(Error::Missing { .. }) => continue,
            Err(error) => return Err(error),
        };
        world.count("table read");
        if std::fs::read(file).ok().map(Bytes::from) != universe.table(objects) {
            world.violation(format!("the table of pack {} does not say what the pack says", pack.record.id));
        }
    }
    Ok(())
}

fn walk(universe: &Universe, snapshot: &Snapshot, packs: &LocalPacks) -> Result<(), String> {
    let wanted = universe.reachable(snapshot.refs.iter().map(|found| found.id), &BTreeSet::new());
    let packs = universe.read(&packs.packs)?;
    let held = readable(packs.iter().map(|pack| &**pack));
    match wanted.difference(&held).next() {
        Some(id) => Err(format!("object {id} cannot be read from any pack")),
        None => Ok(()),
    }
}
