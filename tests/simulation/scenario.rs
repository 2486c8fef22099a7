//! One run: a mixture of habits and weather that its seed decides, the actors, calm, and the checks at the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use model::RepositoryPath;
use store::StoreMetrics;

use crate::bucket::Bucket;
use crate::bucket::weather::{Weather, ZOMBIE};
use crate::client::{self, Client};
use crate::dice::Dice;
use crate::history::History;
use crate::server::{self, Server};
use crate::world::{Report, World};
use crate::{checker, finale};

/// A run that takes longer than this hangs.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// What a run is made of.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) servers: usize,
    pub(crate) clients: usize,
    pub(crate) repositories: usize,
    pub(crate) weather: Weather,
    pub(crate) server: server::Habits,
    pub(crate) client: client::Habits,
}

impl Plan {
    pub(crate) fn of(dice: &mut Dice) -> Self {
        let clients = 2 + dice.below(7);
        let fair = dice.chance(150);
        let often = |dice: &mut Dice, most: u64| u32::try_from(dice.between(0, most)).unwrap_or(0);
        Self {
            servers: 2 + dice.below(2),
            clients,
            repositories: if dice.chance(150) { 2 } else { 1 },
            weather: if fair { Weather::default() } else { Weather::of(dice) },
            server: server::Habits {
                crash: if dice.chance(300) { 0 } else { 700 },
                kills: often(dice, 3),
                pauses: often(dice, 3),
                cache: if dice.chance(250) { 4_000 } else { 1 << 30 },
                same_folds: dice.chance(500),
                clock_error_ms: if dice.chance(500) { 0 } else { 5_000 },
            },
            client: client::Habits {
                operations: 10 + dice.below(100 / clients),
                drawn: if dice.chance(400) { 850 } else { 0 },
                fetch: 30,
                events: 6,
                push: 70,
                flip: *dice.pick(&[0, 10, 100]).unwrap_or(&0),
                bulky: if dice.chance(300) { 400 } else { often(dice, 150) },
                think_ms: *dice.pick(&[1, 50, 300, 2_000]).unwrap_or(&50),
                long: if dice.chance(700) { 0 } else { 40 },
            },
        }
    }
}

/// Runs a seed to its end.
pub(crate) fn run(seed: u64, print: bool) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("because a runtime without I/O needs nothing of the machine");
    runtime.block_on(async {
        let world = Arc::new(World::new(seed, print));
        let plan = Plan::of(&mut world.dice("plan"));
        world.trace(format_args!("{plan:?}"));
        match tokio::time::timeout(LONGEST, perform(&world, &plan)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => world.violation(format!("{error:#}")),
            Err(_) => world.violation("it does not come to an end".to_owned()),
        }
        world.report()
    })
}

async fn perform(world: &Arc<World>, plan: &Plan) -> Result<()> {
    // Thousands of small files: in memory where there is such a folder.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.context("failed to make a folder for the caches")?;
    let bucket = Arc::new(Bucket::new(Arc::clone(world), plan.weather.clone()));
    let history = Arc::new(History::default());
    let servers = start(&bucket, plan, folder.path())?;
    let paths: Vec<RepositoryPath> =
        (0..plan.repositories).map(|number| format!("team-a/r{number}").parse()).collect::<Result<_, _>>()?;
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..plan.clients {
        let path = paths[number % paths.len()].clone();
        let universe = &bucket.ledger.universe;
        clients.spawn(Client::new(number, &servers, (world, universe), &history, path, &plan.client).run());
    }
    while let Some(done) = clients.join_next().await {
        done.context("a client stopped")?;
    }
    // The weather clears up; what is still on its way arrives.
    servers.iter().for_each(|server| server.spare());
    bucket.set_weather(Weather::default());
    tokio::time::sleep(2 * ZOMBIE).await;
    if !world.failed() {
        finale::converge(&bucket, &servers, &paths).await?;
    }
    let ids = ids(&bucket, &paths)?;
    for problem in checker::check(&bucket.ledger.logs(), &ids, &history.operations()) {
        world.violation(problem);
    }
    Ok(())
}

fn start(bucket: &Arc<Bucket>, plan: &Plan, folder: &Path) -> Result<Vec<Arc<Server>>> {
    let metrics = StoreMetrics::new(&prometheus::Registry::new())?;
    let mut servers = Vec::new();
    for number in 0..plan.servers {
        let server = Server::start(number, bucket, &plan.server, &metrics, folder)?;
        tokio::spawn(Arc::clone(&server).supervise());
        tokio::spawn(Arc::clone(&server).trouble());
        servers.push(server);
    }
    Ok(servers)
}

/// The ids of repositories, as the bucket's catalog says.
fn ids(bucket: &Bucket, paths: &[RepositoryPath]) -> Result<BTreeMap<String, String>> {
    let mut ids = BTreeMap::new();
    for path in paths {
        let Some(body) = bucket.get(&format!("catalog/{path}")) else { continue };
        let entry: serde_json::Value = serde_json::from_slice(&body)?;
        let id = entry.get("repositoryId").and_then(serde_json::Value::as_str).context("no id in the catalog")?;
        ids.insert(path.to_string(), id.to_owned());
    }
    ensure!(!ids.is_empty(), "no repository was made");
    Ok(ids)
}
