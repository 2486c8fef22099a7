//! Codekeep and both peers with the same repositories, and operations on them by turns.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tests::cpu::Meter;
use tests::manifests::PASSWORD;
use tests::protocol::RawClient;
use tests::report::spinner;
use tests::{Manifests, Server, ServerOptions, fixture, wait};

use super::Bed;
use super::ssh::Door;
use crate::figures::{each, quantile};
use crate::jgit::JGit;
use crate::peer::Peer;
use crate::side::Side;

/// The history.
pub(super) const HISTORY: &str = "hello";
/// Many references to one commit.
pub(super) const REFS: &str = "other";

/// Most that the tables of a history may take to be made.
const TABLES: Duration = Duration::from_mins(10);

/// All servers.
pub(super) struct Sides {
    pub(super) server: Server,
    meter: Meter,
    jgit: JGit,
    pub(super) peer: Peer,
    pub(super) door: Door,
    _manifests: Manifests,
}

/// What an operation took on one side.
#[derive(Debug, Default)]
pub(super) struct Samples {
    pub(super) times: Vec<Duration>,
    /// CPU time of the server, of all of them.
    pub(super) cpu: Duration,
}

impl Samples {
    pub(super) fn median(&self) -> Duration {
        quantile(&self.times, 0.5)
    }

    pub(super) fn cpu_each(&self) -> Duration {
        each(self.cpu, self.times.len())
    }
}

impl Sides {
    pub(super) fn start(bed: &Bed<'_>) -> Result<Self> {
        let progress = spinner("starting servers");
        let manifests = Manifests::standard()?;
        let store = format!("file:{}", bed.folder.path().join("store").display());
        let options = ServerOptions::new(manifests.path(), store).with(&["--log-level", "warn"]);
        let jgit = JGit::start(&bed.folder.path().join("jgit"))?;
        let peer = Peer::start(&bed.folder.path().join("peer"))?;
        let refs = fixture::many_refs(&bed.git, "refs.git", bed.options.refs)?;
        progress.set_message("handing the history to all");
        for (source, name) in [(&bed.history, HISTORY), (&refs, REFS)] {
            peer.take(&bed.git, source, name)?;
            jgit.take(&bed.git, source, name)?;
        }
        let server = Server::start(options.clone().with(&["--maintenance-interval", "1s"]))?;
        fill(bed, &server, &refs)?;
        // Then it has what the peers have: their bitmaps and commit-graphs.
        wait::until("reachability tables", TABLES, || {
            Ok((server.metric("codekeep_maintenance_done_total", "tabulate")? > 0.0).then_some(()))
        })?;
        drop(server);
        let door = Door::new(&manifests)?;
        let [listen, address, keys, folder] = &door.arguments();
        let server = Server::start(options.with(&["--maintenance-interval", "30d", listen, address, keys, folder]))?;
        progress.finish_and_clear();
        Ok(Self { meter: Meter::of(&[server.pid()]), server, jgit, peer, door, _manifests: manifests })
    }

    /// The sides that are compared; Codekeep comes first, `JGit` second.
    pub(super) fn all(&self) -> [Side<'_>; 3] {
        [Side::codekeep(&self.server, &self.meter), Side::jgit(&self.jgit), Side::http_backend(&self.peer)]
    }
}

fn fill(bed: &Bed<'_>, server: &Server, refs: &Path) -> Result<()> {
    for (source, name, what) in [(bed.history.as_path(), HISTORY, "refs/*:refs/*"), (refs, REFS, "main")] {
        let push = ["push", "--quiet", &server.url("alice", &format!("team-a/{name}")), what];
        bed.git.ok(source, &push).with_context(|| format!("failed to push {name}"))?;
    }
    let all = bed.git.refs(refs)?;
    let branches = all.lines().filter_map(|line| line.split_once(' ')).filter(|(_, name)| *name != "refs/heads/main");
    let names: Vec<String> = branches.map(|(_, name)| name.to_owned()).collect();
    let client = RawClient::new(server.address(), &format!("team-a/{REFS}"), Some(("alice", PASSWORD)));
    let head = bed.git.head(refs)?;
    names.chunks(10_000).try_for_each(|names| client.create_refs(&head, names))
}

/// Runs an operation `times` times on every side, round by round; it tells how long it took. The first round warms all up and is
/// thrown away.
pub(super) fn by_turns(
    bed: &Bed<'_>,
    sides: &[Side<'_>; 3],
    times: usize,
    mut operation: impl FnMut(&Side<'_>) -> Result<Duration>,
) -> Result<[Samples; 3]> {
    let mut samples: [Samples; 3] = Default::default();
    for round in 0..=bed.options.rounds {
        for (samples, side) in samples.iter_mut().zip(sides) {
            let cpu = side.cpu()?;
            let took = (0..times).map(|_| operation(side)).collect::<Result<Vec<Duration>>>();
            let took = took.with_context(|| format!("it failed on {}", side.name))?;
            if round > 0 {
                samples.times.extend(took);
                samples.cpu += side.cpu()?.saturating_sub(cpu);
            }
        }
    }
    Ok(samples)
}

/// How long something takes.
pub(super) fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed())
}
