//! What a push, a read and a cold start cost as references and log entries become many.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::manifests::PASSWORD;
use tests::report::{megabytes, say};
use tests::session::{Pushed, Session, push_body};
use tests::{Manifests, Server, ServerOptions, process};

use super::curve::{self, Curve};
use super::{Bed, begin};
use crate::figures::{Figures, ms, quantile};
use crate::pushes::{self, Chain};

const REFERENCES: [u64; 4] = [10, 1_000, 50_000, 500_000];
const ENTRIES: [u64; 4] = [10, 1_000, 100_000, 1_000_000];
/// Starts of a cold server.
const STARTS: usize = 3;
/// Pushes and reads by a warm one.
const REQUESTS: usize = 40;
/// How much more the largest may cost than the smallest and still be called flat.
const FLAT: f64 = 2.0;

/// What it costs at one size.
pub(crate) struct Point {
    pub(crate) size: u64,
    pub(crate) push: Duration,
    pub(crate) read: Duration,
    pub(crate) cold: Duration,
    cold_requests: f64,
    memory: u64,
}

pub(crate) fn run(bed: &Bed<'_>, figures: &mut Figures) -> Result<()> {
    let base = bed.main(&bed.tiny)?;
    let chain = pushes::make(&bed.git, &bed.tiny, &base, 1, 2 * REQUESTS)?.remove(0);
    let mut curves = Vec::new();
    for (axis, sizes) in [("references", REFERENCES), ("log entries", ENTRIES)] {
        let mut points = Vec::new();
        for size in sizes.into_iter().filter(|size| *size <= bed.options.growth) {
            let (references, entries) = if axis == "references" { (size, 10) } else { (10, size) };
            let point = measure(bed, &chain, size, (references, entries)).with_context(|| format!("{size} {axis}"))?;
            say(format!("{size} {axis}: push {}, read {}, cold {}", ms(point.push), ms(point.read), ms(point.cold)));
            points.push(point);
        }
        table(figures, axis, &points);
        bars(figures, axis, &points);
        curves.push(Curve { axis, points });
    }
    match &bed.options.curves {
        Some(file) => std::fs::write(file, curve::draw(&curves)).context("failed to write the curves"),
        None => Ok(()),
    }
}

fn table(figures: &Figures, axis: &str, points: &[Point]) {
    let rows: Vec<_> = points
        .iter()
        .map(|point| {
            vec![
                grouped(point.size),
                ms(point.push),
                ms(point.read),
                ms(point.cold),
                format!("{}", point.cold_requests),
                megabytes(point.memory),
            ]
        })
        .collect();
    let header =
        [axis, "push, p50", "ls-refs of one prefix, p50", "cold: first ls-refs", "requests of it", "memory after it"];
    figures.table(&header, &rows);
}

fn bars(figures: &mut Figures, axis: &str, points: &[Point]) {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
    for (what, of) in [("push", 0), ("read", 1), ("cold start", 2)] {
        let time = |point: &Point| [point.push, point.read, point.cold][of];
        let ratio = time(last).as_secs_f64() / time(first).as_secs_f64().max(1e-9);
        let name = format!("{what}, {} {axis} of {}", grouped(last.size), grouped(first.size));
        let found = format!("{ratio:.1} ({} / {})", ms(time(last)), ms(time(first)));
        figures.bar("growth", &name, &found, &format!("≤ {FLAT:.0}"), ratio <= FLAT);
    }
}

/// 1234567 as 1,234,567.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn measure(bed: &Bed<'_>, chain: &Chain, size: u64, (references, entries): (u64, u64)) -> Result<Point> {
    let (manifests, folder) = (Manifests::standard()?, tempfile::TempDir::new_in(bed.folder.path())?);
    let store = format!("file:{}", folder.path().display());
    let options = ServerOptions::new(manifests.path(), store).with(&["--log-level", "warn"]);
    let base = bed.main(&bed.tiny)?;
    let mut server = Server::start(options.clone())?;
    begin(&mut session(&server), "team-a/hello", &base, &bed.tiny_pack()?)?;
    ensure!(server.terminate(Duration::from_mins(1))?, "the server ended with an error");
    write_log(folder.path(), &base, references, entries)?;

    let (mut cold, mut requests, mut memory) = (Vec::new(), 0.0, 0);
    for _ in 0..STARTS {
        let server = Server::start(options.clone())?;
        let before = server.metric("codekeep_store_requests_total", "")?;
        let started = Instant::now();
        let refs = session(&server).ls_refs("team-a/hello", "refs/heads/main")?;
        cold.push(started.elapsed());
        ensure!(refs.len() == 1, "the main branch is not listed");
        requests = server.metric("codekeep_store_requests_total", "")? - before;
        memory = process::memory(server.pid(), "RssAnon")?;
    }
    let server = Server::start(options)?;
    let mut session = session(&server);
    let (mut push, mut read, mut old) = (Vec::new(), Vec::new(), base);
    for (at, step) in chain.iter().enumerate() {
        let body = push_body(Some(&old), &step.id, "refs/heads/main", &step.pack);
        let started = Instant::now();
        let answer = session.push("team-a/hello", &body)?;
        let pushed = started.elapsed();
        ensure!(answer == Pushed::Accepted, "a push was refused: {answer:?}");
        old.clone_from(&step.id);
        let started = Instant::now();
        let refs = session.ls_refs("team-a/hello", "refs/heads/main")?;
        ensure!(refs.first().is_some_and(|(id, _)| *id == step.id), "the push is not shown");
        // The first ones open what the others find open.
        if at >= REQUESTS {
            push.push(pushed);
            read.push(started.elapsed());
        }
    }
    let [push, read, cold] = [push, read, cold].map(|samples| quantile(&samples, 0.5));
    Ok(Point { size, push, read, cold, cold_requests: requests, memory })
}

fn session(server: &Server) -> Session {
    Session::new(server.address(), Some(("alice", PASSWORD)))
}

/// Lets the store's own code write references and entries, on a disk that need not keep them.
fn write_log(store: &Path, id: &str, references: u64, entries: u64) -> Result<()> {
    let program = std::env::var_os("CODEKEEP_WRITE_LOG").map(PathBuf::from);
    let program = program.context("CODEKEEP_WRITE_LOG is not set: run this by `cargo xtask bench store`")?;
    let mut command = Command::new(program);
    command.arg("--store").arg(store).args(["--namespace", "team-a", "--name", "hello", "--id", id]);
    command.args(["--references", &references.to_string(), "--entries", &entries.to_string()]);
    let status = command.status().context("failed to start write-log")?;
    ensure!(status.success(), "write-log failed");
    Ok(())
}
