//! Two servers under load, of which one is killed again and again: how long until a push through the other is acknowledged, and
//! that nothing acknowledged is lost. The figures are for readers; benchmarks hold them against a bar.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::manifests::PASSWORD;
use tests::protocol::RawClient;
use tests::random::Sequence;
use tests::s3::S3Kind;
use tests::{Server, wait};

use crate::bed::REPOSITORY;
use crate::pair::{Servers, at};

/// Clients that create references, one after the other.
const CREATORS: usize = 4;
const PAUSE: Duration = Duration::from_millis(25);
/// The branch that packs go to.
const PACKS: &str = "refs/heads/packs";
/// A push through the server that lives is acknowledged within this time, or something is wrong.
const PATIENCE: Duration = Duration::from_mins(2);

/// What clients and the one who kills know of each other.
struct Load {
    addresses: Mutex<[SocketAddr; 2]>,
    ended: AtomicBool,
    /// When and through which server a push was acknowledged.
    acknowledged: Mutex<Vec<(Instant, usize)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while it holds this")
}

impl Load {
    fn client(&self, server: usize) -> RawClient {
        RawClient::new(lock(&self.addresses)[server], REPOSITORY, Some(("alice", PASSWORD)))
    }

    fn goes_on(&self) -> bool {
        !self.ended.load(Ordering::Relaxed)
    }

    fn acknowledge(&self, server: usize) {
        lock(&self.acknowledged).push((Instant::now(), server));
    }

    /// The first push through this server that was acknowledged after `since`.
    fn first_since(&self, since: Instant, server: usize) -> Option<Duration> {
        let acknowledged = lock(&self.acknowledged);
        let (time, _) = acknowledged.iter().find(|(time, through)| *through == server && *time > since)?;
        Some(time.duration_since(since))
    }
}

/// References that were acknowledged, and such that may be there or not.
#[derive(Default)]
struct Created {
    acknowledged: Vec<String>,
    in_doubt: Vec<String>,
}

/// Creates references through one server until it fails, then through the other.
fn create(load: &Load, number: usize, tip: &str) -> Created {
    let (mut created, mut server) = (Created::default(), number % 2);
    for count in 0.. {
        if !load.goes_on() {
            break;
        }
        let name = format!("refs/heads/load/{number}/{count}");
        if load.client(server).create_refs(tip, std::slice::from_ref(&name)).is_ok() {
            load.acknowledge(server);
            created.acknowledged.push(name);
        } else {
            created.in_doubt.push(name);
            server = 1 - server;
        }
        std::thread::sleep(PAUSE);
    }
    created
}

/// Pushes packs by stock git; one that fails is pushed again through the other server. Gives the last commit.
fn push_packs(load: &Load, servers: &Servers) -> Result<String> {
    let git = &servers.git;
    let (folder, mut random, mut server) = (git.init("packs")?, Sequence::new(1), 0);
    let mut last = String::new();
    while load.goes_on() {
        let text: String = random.bytes(300_000).iter().map(|byte| char::from(b'a' + byte % 26)).collect();
        last = git.commit(&folder, "file", &text)?;
        let started = Instant::now();
        loop {
            let url = format!("http://alice:{PASSWORD}@{}/{REPOSITORY}", lock(&load.addresses)[server]);
            let answer = git.run(&folder, &["push", "--quiet", &url, &format!("HEAD:{PACKS}")])?;
            if answer.ok {
                break;
            }
            ensure!(started.elapsed() < PATIENCE, "a push never worked: {}", answer.stderr);
            server = 1 - server;
        }
        load.acknowledge(server);
    }
    Ok(last)
}

/// Kills now this one, now that one, and starts it again; gives the times until the other acknowledged a push.
fn kill(load: &Load, servers: &mut Vec<Server>, kills: usize) -> Result<Vec<Duration>> {
    let (mut random, seed) = Sequence::fresh();
    let mut times = Vec::new();
    for number in 0..kills {
        let victim = number % 2;
        let note = format!("seed {seed}, kill {number}");
        wait::until("pushes through both", PATIENCE, || Ok(both_serve(load).then_some(())))
            .with_context(|| note.clone())?;
        std::thread::sleep(Duration::from_micros(random.word() % 300_000));
        let killed = Instant::now();
        servers[victim].kill()?;
        let time = wait::until("a push through the other", PATIENCE, || Ok(load.first_since(killed, 1 - victim)));
        times.push(time.with_context(|| format!("{note}: {}", servers[1 - victim].log()))?);
        let restarted = servers.remove(victim).restarted().with_context(|| note.clone())?;
        lock(&load.addresses)[victim] = restarted.address();
        servers.insert(victim, restarted);
    }
    Ok(times)
}

/// Whether both servers still get pushes: who lost one does not come back by itself, so this brings it some.
fn both_serve(load: &Load) -> bool {
    (0..2).all(|server| load.client(server).ls_refs(&[PACKS]).is_ok())
}

/// The story: load, kills, and everything acknowledged is there.
pub(super) fn kills(kind: S3Kind, kills: usize) -> Result<()> {
    let mut servers = Servers::start(kind, 2)?;
    let mut running = std::mem::take(&mut servers.running);
    let load = Load {
        addresses: Mutex::new([running[0].address(), running[1].address()]),
        ended: AtomicBool::new(false),
        acknowledged: Mutex::default(),
    };
    let (times, created, packed) = std::thread::scope(|scope| {
        let (load, tip) = (&load, servers.tip.as_str());
        let creators: Vec<_> = (0..CREATORS).map(|number| scope.spawn(move || create(load, number, tip))).collect();
        let pusher = scope.spawn(|| push_packs(load, &servers));
        let times = kill(load, &mut running, kills);
        load.ended.store(true, Ordering::Relaxed);
        let created: Vec<_> = creators.into_iter().filter_map(|creator| creator.join().ok()).collect();
        (times, created, pusher.join())
    });
    let mut times = times?;
    let last = packed.map_err(|_| anyhow::anyhow!("the one who pushes packs panicked"))??;
    ensure!(created.len() == CREATORS, "one who creates references panicked");
    servers.running = running;
    let shown = servers.agree()?;
    let mut known = 0;
    for name in created.iter().flat_map(|created| &created.acknowledged) {
        ensure!(at(&shown, name) == Some(&servers.tip), "{name} was acknowledged and is gone");
        known += 1;
    }
    let acknowledged = known;
    known += created.iter().flat_map(|created| &created.in_doubt).filter(|name| at(&shown, name).is_some()).count();
    ensure!(at(&shown, PACKS) == Some(&last), "the packs are not at {last}");
    let loads = shown.iter().filter(|(_, name)| name.starts_with("refs/heads/load/")).count();
    ensure!(loads == known, "{loads} references are there, of which {known} were pushed");
    times.sort();
    tell(&format!(
        "{kind:?}: {kills} kills, {acknowledged} references acknowledged, 0 lost; until the next push through the other server: \
         median {:?}, worst {:?}",
        times[times.len() / 2],
        times[times.len() - 1]
    ));
    Ok(())
}

/// For whoever reads the log of a run.
#[expect(clippy::print_stderr, reason = "figures of the test run")]
fn tell(text: &str) {
    eprintln!("{text}");
}
