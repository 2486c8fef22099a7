//! B12: kill -9 of the server that takes pushes, again and again; the clients go on through the other one.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use tests::bucket::{Bucket, Delays};
use tests::manifests::PASSWORD;
use tests::random::Sequence;
use tests::session::{Pushed, Session};
use tests::{Manifests, Server, ServerOptions, wait};

use super::one_repository::branches;
use super::writers::{Branch, positions};
use super::{Bed, begin};
use crate::figures::{Figures, ms, quantile, spread};
use crate::pushes;

const DELAYS: Delays = Delays { read: Duration::from_millis(15), write: Duration::from_millis(60) };
const WRITERS: usize = 8;
const STEPS: usize = 6_000;
/// A client that is told to come back waits so long.
const PAUSE: Duration = Duration::from_millis(20);

/// What clients and killer share.
struct Shared {
    /// The two servers, as a load balancer knows them.
    addresses: Mutex<[SocketAddr; 2]>,
    /// The one that takes pushes.
    serving: AtomicUsize,
    over: AtomicBool,
    /// When pushes were acknowledged and by which server.
    acknowledged: Mutex<Vec<(Instant, usize)>>,
    /// Pushes that a kill cut off: found done, found not done.
    in_doubt: [AtomicUsize; 2],
}

pub(crate) fn run(bed: &Bed<'_>, figures: &mut Figures) -> Result<()> {
    let (bucket, manifests) = (Bucket::start()?, Manifests::standard()?);
    let mut options = ServerOptions::new(manifests.path(), bucket.url()).with(&["--log-level", "warn"]);
    options.environment = Bucket::credentials();
    let mut servers = [Server::start(options.clone())?, Server::start(options.clone())?];
    let base = bed.main(&bed.tiny)?;
    let chains = pushes::make(&bed.git, &bed.tiny, &base, WRITERS, STEPS)?;
    let groups = branches("team-a/hello", &chains, WRITERS);
    begin(&mut session(servers[0].address()), "team-a/hello", &base, &bed.tiny_pack()?)
        .with_context(|| servers[0].log())?;
    bucket.delay(DELAYS);
    let shared = Shared {
        addresses: Mutex::new([servers[0].address(), servers[1].address()]),
        serving: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        acknowledged: Mutex::default(),
        in_doubt: Default::default(),
    };
    let times = std::thread::scope(|scope| -> Result<Vec<Duration>> {
        let clients: Vec<_> = groups.iter().flatten().map(|branch| scope.spawn(|| push_on(branch, &shared))).collect();
        let times = kill_again(bed.options.kills, &shared, &mut servers, &options, &groups);
        shared.over.store(true, Ordering::SeqCst);
        for client in clients {
            client.join().map_err(|_| anyhow!("a client panicked"))??;
        }
        times
    })?;
    let all: Vec<&Branch<'_>> = groups.iter().flatten().collect();
    for server in &servers {
        nothing_is_lost(server.address(), &all)?;
    }
    report(&times, &shared, &all, figures);
    Ok(())
}

fn report(times: &[Duration], shared: &Shared, branches: &[&Branch<'_>], figures: &mut Figures) {
    let pushes: usize = branches.iter().map(|branch| branch.done.load(Ordering::SeqCst)).sum();
    let [done, not_done] = &shared.in_doubt;
    let row = vec![
        times.len().to_string(),
        spread(times),
        ms(quantile(times, 1.0)),
        pushes.to_string(),
        format!("{} / {}", done.load(Ordering::SeqCst), not_done.load(Ordering::SeqCst)),
        // One that is lost ends the part with an error: see `nothing_is_lost` and `settle`.
        format!("0 of {pushes}"),
    ];
    let header = [
        "kill -9 under load, 8 writers, 15 / 60 ms",
        "to the next acknowledged push, p50 / p99",
        "slowest",
        "pushes",
        "cut off and done / not done",
        "lost",
    ];
    figures.table(&header, &[row]);
    let worst = quantile(times, 0.99);
    figures.bar(
        "B12",
        "kill -9 to the next acknowledged push, p99",
        &ms(worst),
        "≤ 1 s",
        worst <= Duration::from_secs(1),
    );
    figures.bar("B12", "acknowledged pushes lost, branches forked", &format!("0 of {pushes}"), "0", true);
}

fn session(address: SocketAddr) -> Session {
    Session::new(address, Some(("alice", PASSWORD)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills the serving server, waits for a push through the other one, starts the killed one anew, round after round.
fn kill_again(
    kills: usize,
    shared: &Shared,
    servers: &mut [Server; 2],
    options: &ServerOptions,
    groups: &[Vec<Branch<'_>>],
) -> Result<Vec<Duration>> {
    let (mut random, _) = Sequence::fresh();
    let branches: Vec<&Branch<'_>> = groups.iter().flatten().collect();
    let mut times = Vec::new();
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(300 + random.word() % 500));
        let victim = shared.serving.load(Ordering::SeqCst);
        let other = 1 - victim;
        lock(&shared.acknowledged).clear();
        servers[victim].kill()?;
        let killed = Instant::now();
        shared.serving.store(other, Ordering::SeqCst);
        let next = wait::until("a push through the other server", Duration::from_mins(1), || {
            let found = lock(&shared.acknowledged).iter().find(|(_, by)| *by == other).map(|(when, _)| *when);
            Ok(found)
        });
        times.push(next?.saturating_duration_since(killed));
        servers[victim] = Server::start(options.clone())?;
        lock(&shared.addresses)[victim] = servers[victim].address();
        nothing_is_lost(servers[victim].address(), &branches)?;
    }
    Ok(times)
}

/// What was acknowledged before the question is in the answer.
fn nothing_is_lost(address: SocketAddr, branches: &[&Branch<'_>]) -> Result<()> {
    let least: Vec<usize> = branches.iter().map(|branch| branch.done.load(Ordering::SeqCst)).collect();
    let shown = session(address).ls_refs("team-a/hello", "refs/heads/bench/")?;
    for (branch, least) in branches.iter().zip(least) {
        let tip = shown.iter().find(|(_, name)| *name == branch.name).map(|(id, _)| id.as_str());
        let found = tip.map_or(Ok(0), |tip| branch.position(tip, &positions(branch.chain)))?;
        ensure!(found >= least, "{}: push {least} was acknowledged, the log holds {found}", branch.name);
    }
    Ok(())
}

/// Pushes through whatever server is serving; after an error asks what became of the push.
fn push_on(branch: &Branch<'_>, shared: &Shared) -> Result<()> {
    while !shared.over.load(Ordering::SeqCst) {
        let serving = shared.serving.load(Ordering::SeqCst);
        let address = lock(&shared.addresses)[serving];
        if let Err(error) = push_through(branch, shared, (address, serving)) {
            ensure!(error.is::<CutOff>(), error);
            settle(branch, shared)?;
        }
    }
    Ok(())
}

/// A push without an answer.
#[derive(Debug)]
struct CutOff;

impl std::fmt::Display for CutOff {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the connection ended before the answer")
    }
}

impl std::error::Error for CutOff {}

fn push_through(branch: &Branch<'_>, shared: &Shared, (address, serving): (SocketAddr, usize)) -> Result<()> {
    let mut session = session(address);
    while !shared.over.load(Ordering::SeqCst) && shared.serving.load(Ordering::SeqCst) == serving {
        let body = branch.body().context("too few pushes were made")?;
        match session.push(&branch.repository, &body).map_err(|_| CutOff)? {
            Pushed::Accepted => {
                branch.done.fetch_add(1, Ordering::SeqCst);
                lock(&shared.acknowledged).push((Instant::now(), serving));
            }
            Pushed::Refused(line) if line.contains("try again") => std::thread::sleep(PAUSE),
            Pushed::Refused(line) => bail!("a push to {} was refused: {line}", branch.name),
        }
    }
    Ok(())
}

/// Asks a server that lives what became of the push that was cut off: it is there, or it is not; nothing else may be.
fn settle(branch: &Branch<'_>, shared: &Shared) -> Result<()> {
    let ids = positions(branch.chain);
    while !shared.over.load(Ordering::SeqCst) {
        let serving = shared.serving.load(Ordering::SeqCst);
        let address = lock(&shared.addresses)[serving];
        let Ok(shown) = session(address).ls_refs(&branch.repository, &branch.name) else {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        let done = branch.done.load(Ordering::SeqCst);
        let tip = shown.iter().find(|(_, name)| *name == branch.name).map(|(id, _)| id.as_str());
        let found = tip.map_or(Ok(0), |tip| branch.position(tip, &ids))?;
        ensure!(found == done || found == done + 1, "{}: {done} acknowledged, {found} found", branch.name);
        shared.in_doubt[usize::from(found == done)].fetch_add(1, Ordering::SeqCst);
        branch.done.store(found, Ordering::SeqCst);
        return Ok(());
    }
    Ok(())
}
