//! A fetch: the references, then all packs, then a walk from each reference.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use store::{Error, Repositories};
use tokio::time::Instant;

use super::{Advertisement, Client, advertise};
use crate::git::Universe;
use crate::server::request;

/// A request lives no longer than this: what it saw at its start has to stay for as long.
const REQUEST_LIFE: Duration = Duration::from_hours(1);

/// What came of a fetch on a server.
type Fetched = Result<(Advertisement, Result<(), String>), Error>;

impl Client {
    pub(super) async fn fetch(&mut self) {
        let server = self.server().await;
        let (path, invoked, universe) = (self.path.clone(), self.world.now(), Arc::clone(&self.universe));
        let dwell = if self.dice.chance(100) { self.dice.millis(1_000, 1_200_000) } else { self.dice.millis(0, 50) };
        let answer = server.serve(|repositories| async move { fetch(&repositories, &path, &universe, dwell).await });
        let answer = answer.await;
        let Some((told, objects)) = self.told("fetched", answer) else { return };
        let refs = self.record(&server, &told, invoked);
        self.tips.extend(refs.values());
        if let Err(problem) = objects {
            self.world.violation(format!("{} fetched generation {}: {problem}", self.name, told.snapshot.generation));
        }
        self.seen = refs;
    }
}

/// Brings everything in and walks it; `dwell` is how long the client takes between references and packs.
pub(crate) async fn fetch(
    repositories: &Repositories,
    path: &model::RepositoryPath,
    universe: &Universe,
    dwell: Duration,
) -> Fetched {
    let told = advertise(repositories, path).await?;
    let seen = Instant::now();
    tokio::time::sleep(dwell).await;
    let packs = match request(told.repository.local_packs(&told.snapshot)).await {
        Ok(packs) => packs,
        // Nothing that a request saw may go while it lives.
        Err(error @ Error::Missing { .. }) if seen.elapsed() < REQUEST_LIFE => {
            return Ok((told, Err(error.to_string())));
        }
        Err(error) => return Err(error),
    };
    let wanted = universe.reachable(told.snapshot.refs.iter().map(|(_, id)| *id), &BTreeSet::new());
    let walked = universe.read(&packs.packs).and_then(|held| match wanted.difference(&held).next() {
        Some(id) => Err(format!("object {id} is in no pack")),
        None => Ok(()),
    });
    Ok((told, walked))
}
