//! One run: a mixture of habits and weather that its seed decides, the actors, calm, and the checks at the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use model::RepositoryPath;
use store::StoreMetrics;
use tokio::task::AbortHandle;

use crate::bucket::Bucket;
use crate::bucket::weather::{Weather, ZOMBIE};
use crate::checker;
use crate::client::{Client, Rumours};
use crate::finale::Finale;
use crate::history::History;
use crate::ledger::Promises;
use crate::plan::Plan;
use crate::server::{self, Server};
use crate::world::{Report, World};

/// A run that takes longer than this hangs.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// Runs a seed to its end.
pub(crate) fn run(seed: u64, print: bool) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("because a runtime without I/O needs nothing of the machine");
    runtime.block_on(async {
        let world = Arc::new(World::new(seed, print));
        let plan = Plan::of(&mut world.dice("plan"), world.dice("encryption").chance(250));
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
    let Plan { server: server::Habits { policy, clock_error_ms, .. }, .. } = plan;
    let clock_error = Duration::from_millis(*clock_error_ms);
    let promises = Promises { retention: policy.unreachable_retention, clock_error };
    let bucket = Arc::new(Bucket::new(Arc::clone(world), plan.weather.clone(), promises));
    let history = Arc::new(History::default());
    let paths: Vec<RepositoryPath> =
        (0..plan.repositories).map(|number| format!("team-a/r{number}").parse()).collect::<Result<_, _>>()?;
    let (servers, maintenance) = start(&bucket, plan, &paths, folder.path())?;
    let (mut clients, rumours) = (tokio::task::JoinSet::new(), Rumours::default());
    for number in 0..plan.clients {
        let path = paths[number % paths.len()].clone();
        let universe = &bucket.ledger.universe;
        clients.spawn(Client::new(number, &servers, (world, universe), &history, path, (&plan.client, &rumours)).run());
    }
    while let Some(done) = clients.join_next().await {
        done.context("a client stopped")?;
    }
    // The weather clears up; what is still on its way arrives.
    for server in &servers {
        server.spare();
    }
    bucket.set_weather(Weather::default());
    tokio::time::sleep(2 * ZOMBIE).await;
    if !world.failed() {
        maintenance.iter().for_each(AbortHandle::abort);
        let old = policy.grace.max(policy.unreachable_retention).max(policy.log_retention) + Duration::from_hours(1);
        Finale { bucket: &bucket, servers: &servers, paths: &paths, old }.converge().await?;
    }
    let ids = ids(&bucket, &paths)?;
    for problem in checker::check(&bucket.ledger.logs(), &ids, &history.operations()) {
        world.violation(problem);
    }
    Ok(())
}

/// Starts the servers and what troubles them; also gives the tasks that do their maintenance.
fn start(
    bucket: &Arc<Bucket>,
    plan: &Plan,
    paths: &[RepositoryPath],
    folder: &Path,
) -> Result<(Vec<Arc<Server>>, Vec<AbortHandle>)> {
    let metrics = StoreMetrics::new(&prometheus::Registry::new())?;
    let (mut servers, mut maintenance) = (Vec::new(), Vec::new());
    for number in 0..plan.servers {
        let server = Server::start(number, bucket, &plan.server, &metrics, folder)?;
        tokio::spawn(Arc::clone(&server).supervise());
        tokio::spawn(Arc::clone(&server).trouble());
        if number < plan.maintaining {
            maintenance.push(tokio::spawn(Arc::clone(&server).maintain(paths.to_vec())).abort_handle());
        }
        servers.push(server);
    }
    Ok((servers, maintenance))
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
