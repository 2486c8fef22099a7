//! Pushes through two servers whose ways to the bucket delay, refuse, cut off and lose answers: nothing acknowledged is lost,
//! nothing is half visible, no reader sees time go back.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::fault_proxy::{Fault, Rule};
use tests::s3::S3Kind;

use crate::pair::{Servers, at};

const WRITERS: usize = 4;
/// A push or a read that fails is tried again for so long.
const PATIENCE: Duration = Duration::from_mins(3);

/// What a way does to requests; the numbers have no common divisor, so that faults meet each other in many ways.
fn faults() -> Vec<Rule> {
    vec![
        Rule::new("PUT", "/log/", Fault::AnswerLost).every(5),
        Rule::new("PUT", "/log/", Fault::Status(503, "SlowDown")).every(7),
        Rule::new("PUT", "/log/", Fault::RequestLost).every(11),
        Rule::new("PUT", "/log/", Fault::DoneBut(500, "InternalError")).every(13),
        Rule::new("PUT", "/log/", Fault::Status(409, "ConditionalRequestConflict")).every(17),
        Rule::new("GET", "/log/", Fault::Truncated(40)).every(9),
        Rule::new("GET", "/log/", Fault::Status(503, "SlowDown")).every(10),
        Rule::new("GET", "/log/", Fault::AnswerLost).every(19),
        Rule::new("GET", "/packs/", Fault::Truncated(100)).every(3),
        Rule::new("PUT", "/packs/", Fault::Status(503, "SlowDown")).every(4),
        Rule::new("PUT", "", Fault::Delay(Duration::from_millis(120))).every(3),
        Rule::new("GET", "", Fault::Delay(Duration::from_millis(60))).every(4),
    ]
}

/// Branches `w<number>/a` and `w<number>/b` always move together; what they were moved to, in order.
type Histories = [Mutex<Vec<String>>; WRITERS];

fn names(writer: usize) -> [String; 2] {
    ["a", "b"].map(|name| format!("refs/heads/w{writer}/{name}"))
}

/// Does something until it works.
fn patiently<T>(what: &str, failures: &AtomicUsize, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(error) if started.elapsed() > PATIENCE => return Err(error.context(format!("{what}: never worked"))),
            Err(_) => drop(failures.fetch_add(1, Ordering::Relaxed)),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Moves its two branches by stock git, atomically; an acknowledged push is read through the other server at once.
fn write(servers: &Servers, writer: usize, rounds: usize, histories: &Histories, failures: &AtomicUsize) -> Result<()> {
    let git = &servers.git;
    let folder = git.init(&format!("writer-{writer}"))?;
    let refs = names(writer);
    let specs = refs.clone().map(|name| format!("HEAD:{name}"));
    for round in 0..rounds {
        // Some fit into an entry, others are packs of their own.
        let text = if round % 3 == 2 { noise(writer, round) } else { format!("{writer}.{round}\n") };
        let id = git.commit(&folder, &format!("file-{round}"), &text)?;
        histories[writer].lock().expect("is not poisoned").push(id.clone());
        let (through, other) = ((writer + round) % 2, (writer + round + 1) % 2);
        patiently("a push", failures, || {
            let url = servers.url(through);
            let answer = git.run(&folder, &["push", "--quiet", "--atomic", &url, &specs[0], &specs[1]])?;
            if answer.ok {
                return Ok(());
            }
            let text = answer.refused()?;
            ensure!(is_honest(&text), "a failed push does not say what to do: {text}");
            anyhow::bail!("{text}")
        })?;
        let shown = patiently("a read", failures, || servers.raw(other).ls_refs(&[&format!("refs/heads/w{writer}/")]))?;
        for name in &refs {
            ensure!(at(&shown, name) == Some(&id), "{name} was acknowledged at {id}, then read as {shown:?}");
        }
    }
    Ok(())
}

/// The line says whether to try again, or git tells by the status that it may.
fn is_honest(text: &str) -> bool {
    ["try again", "trying again", "error: 503", "stale info", "cannot lock ref"]
        .iter()
        .any(|words| text.contains(words))
}

fn noise(writer: usize, round: usize) -> String {
    let mut random = tests::random::Sequence::new((writer * 1_000 + round) as u64);
    random.bytes(400_000).iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}

/// Reads now here, now there: both branches of a writer are at the same commit, and never at an earlier one than before.
fn watch(servers: &Servers, ended: &AtomicBool, histories: &Histories) -> Result<usize> {
    let (mut newest, mut reads) = ([None::<usize>; WRITERS], 0);
    while !ended.load(Ordering::Relaxed) {
        let Ok(shown) = servers.raw(reads % 2).ls_refs(&["refs/heads/w"]) else { continue };
        reads += 1;
        for writer in 0..WRITERS {
            let [a, b] = names(writer).map(|name| at(&shown, &name).map(str::to_owned));
            ensure!(a == b, "half of a push of writer {writer} is visible: {a:?}, {b:?}");
            let history = histories[writer].lock().expect("is not poisoned");
            let place =
                a.map(|id| history.iter().position(|known| *known == id).context("an unknown commit")).transpose()?;
            ensure!(place >= newest[writer], "writer {writer} went back from {:?} to {place:?}", newest[writer]);
            newest[writer] = place;
        }
    }
    Ok(reads)
}

/// References one after the other by the raw client, to either server; gives those that were acknowledged.
fn create(servers: &Servers, count: usize, failures: &AtomicUsize) -> Vec<String> {
    let mut created = Vec::new();
    for number in 0..count {
        let name = format!("refs/heads/raw/{number}");
        let names = std::slice::from_ref(&name);
        match servers.raw(number % 2).create_refs(&servers.tip, names) {
            Ok(()) => created.push(name),
            Err(_) => drop(failures.fetch_add(1, Ordering::Relaxed)),
        }
    }
    created
}

fn story(kind: S3Kind, rounds: usize) -> Result<()> {
    let servers = Servers::start(kind, 2)?;
    servers.proxies.iter().for_each(|proxy| proxy.set(faults()));
    let (histories, failures, ended) = (Histories::default(), AtomicUsize::new(0), AtomicBool::new(false));
    let (created, reads) = std::thread::scope(|scope| -> Result<_> {
        let (servers, histories, failures) = (&servers, &histories, &failures);
        let watcher = scope.spawn(|| watch(servers, &ended, histories));
        let creator = scope.spawn(|| create(servers, rounds * 3, failures));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || write(servers, writer, rounds, histories, failures)))
            .collect();
        let written: Vec<_> = writers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        let created = creator.join();
        ended.store(true, Ordering::Relaxed);
        let reads = watcher.join();
        let panicked = |_| anyhow::anyhow!("a thread panicked");
        written.into_iter().try_for_each(|written| written.map_err(panicked)?)?;
        Ok((created.map_err(panicked)?, reads.map_err(panicked)??))
    })?;
    let shown = servers.agree()?;
    for (writer, history) in histories.iter().enumerate() {
        let last = history.lock().expect("is not poisoned").last().cloned();
        ensure!(names(writer).iter().all(|name| at(&shown, name) == last.as_deref()), "writer {writer}: {shown:?}");
    }
    ensure!(
        created.iter().all(|name| at(&shown, name) == Some(&servers.tip)),
        "a reference was acknowledged and is gone"
    );
    let disturbed: usize = servers.proxies.iter().map(tests::fault_proxy::FaultProxy::faults).sum();
    ensure!(disturbed > rounds * WRITERS, "only {disturbed} requests were disturbed");
    ensure!(reads > rounds, "only {reads} reads");
    for outcome in ["created", "lost-race", "doubtful"] {
        let label = format!("outcome=\"{outcome}\"");
        let counted = |server: &tests::Server| server.metric("codekeep_commit_attempts_total", &label);
        let counts = servers.running.iter().map(counted).collect::<Result<Vec<f64>>>()?;
        ensure!(counts.iter().sum::<f64>() > 0.0, "operators do not see {outcome}: {counts:?}");
    }
    let failures = failures.into_inner();
    tell(&format!(
        "{kind:?}: {disturbed} requests disturbed, {failures} answers that were no success, {reads} reads watched"
    ));
    Ok(())
}

/// For whoever reads the log of a run.
#[expect(clippy::print_stderr, reason = "figures of the test run")]
fn tell(text: &str) {
    eprintln!("{text}");
}

#[test]
#[ignore = "full tier: minutes on a bucket where losers wait"]
fn pushes_through_faults_lose_nothing_on_seaweedfs() -> Result<()> {
    story(S3Kind::SeaweedFs, 6)
}

#[test]
#[ignore = "peers tier: needs MinIO"]
fn pushes_through_faults_lose_nothing_on_minio() -> Result<()> {
    story(S3Kind::MinIo, 15)
}
