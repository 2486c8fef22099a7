//! What envelope encryption costs: clones and small pushes of an encrypted repository beside a plain one, by turns, at one server.

use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tests::cpu::Meter;
use tests::fixture::{self, Commit};
use tests::random::Sequence;
use tests::s3::SeaweedFs;
use tests::{Manifests, Server, ServerOptions};

use super::Bed;
use super::small_push::{Samples, once};
use super::writers::Branch;
use crate::figures::{Figures, quantile, spread};
use crate::pushes::{self, Chain};
use crate::side::Side;

/// What does not compress, in files: moving it is most of a clone's work.
const FILES: usize = 100;
const FILE_BYTES: usize = 2_000_000;
/// Clones of each repository in a round, by a server that has the packs in its cache.
const WARM: usize = 5;
/// Small pushes to each repository in a round.
const PUSHES: usize = 200;
/// Before the first that is measured.
const WARM_UP: usize = 50;
const REPOSITORIES: [&str; 2] = ["plain", "encrypted"];

/// What was found of both repositories, the plain one first.
#[derive(Default)]
struct Found {
    cold: [Vec<Duration>; 2],
    warm: [Vec<Duration>; 2],
    pushes: [Samples; 2],
}

pub(crate) fn run(bed: &Bed<'_>, figures: &mut Figures) -> Result<()> {
    let large = large(bed)?;
    let base = bed.main(&large)?;
    let chain = pushes::make(&bed.git, &large, &base, 1, WARM_UP + PUSHES * bed.options.rounds)?.remove(0);
    let folder = format!("file:{}", bed.folder.path().join("encryption").display());
    store(bed, figures, ("folder", folder), (&large, &chain))?;
    let s3 = SeaweedFs::start()?;
    store(bed, figures, ("SeaweedFS", s3.bucket("encryption")?), (&large, &chain))
}

/// A repository whose pack is about as large as its files.
fn large(bed: &Bed<'_>) -> Result<PathBuf> {
    let mut random = Sequence::new(7);
    fixture::import(&bed.git, "large.git", |stream| {
        let mut parents = Vec::new();
        for number in 0..FILES {
            let (path, content) = (format!("file-{number}"), random.bytes(FILE_BYTES));
            let files: &[(&str, &[u8])] = &[(&path, &content)];
            parents = vec![stream.commit(Commit { branch: "main", parents: &parents, message: "More", files })?];
        }
        Ok(())
    })
}

fn store(
    bed: &Bed<'_>,
    figures: &mut Figures,
    (name, url): (&str, String),
    (large, chain): (&PathBuf, &Chain),
) -> Result<()> {
    let manifests = Manifests::standard()?;
    manifests.repository("team-a", REPOSITORIES[0])?;
    manifests.encrypted_repository("team-a", REPOSITORIES[1])?;
    let mut options =
        ServerOptions::new(manifests.path(), url).with(&["--log-level", "warn", "--maintenance-interval", "30d"]);
    options.environment = SeaweedFs::credentials();
    let mut server = Server::start(options)?;
    for repository in REPOSITORIES {
        let push = ["push", "--quiet", &server.url("alice", &format!("team-a/{repository}")), "main"];
        bed.git.ok(large, &push).with_context(|| format!("failed to push to {repository}"))?;
    }
    let tip = [bed.main(large)?];
    let branches = REPOSITORIES.map(|repository| Branch {
        repository: format!("team-a/{repository}"),
        name: "refs/heads/bench/small".to_owned(),
        chain,
        done: AtomicUsize::new(0),
    });
    let mut found = Found::default();
    // The first round warms up and is thrown away.
    for round in 0..=bed.options.rounds {
        server = server.restarted()?;
        let meter = Meter::of(&[server.pid()]);
        let side = Side::codekeep(&server, &meter);
        for turn in 0..=WARM {
            for at in order(round + turn) {
                let took = side.raw(REPOSITORIES[at]).fetch(&tip, &[])?.total;
                let times = if turn == 0 { &mut found.cold } else { &mut found.warm };
                if round > 0 {
                    times[at].push(took);
                }
            }
        }
        let mut thrown_away = <[Samples; 2]>::default();
        let (samples, count) = if round == 0 { (&mut thrown_away, WARM_UP) } else { (&mut found.pushes, PUSHES) };
        for turn in 0..count {
            for at in order(turn) {
                once(&side, &branches[at], false, &mut samples[at])?;
            }
        }
    }
    report(figures, name, &found);
    Ok(())
}

/// Who comes first has what the other one's turn left behind, so they change places.
fn order(turn: usize) -> [usize; 2] {
    if turn.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}

fn report(figures: &mut Figures, store: &str, found: &Found) {
    let rows: Vec<_> = (0..2)
        .map(|at| {
            let pushes = spread(&found.pushes[at].post);
            vec![REPOSITORIES[at].to_owned(), rate(&found.cold[at]), rate(&found.warm[at]), pushes]
        })
        .collect();
    let header = [store, "clone, cold cache", "clone, warm cache", "small push, p50 / p99"];
    figures.table(&header, &rows);
    for (what, [plain, encrypted]) in [("cold", &found.cold), ("warm", &found.warm)] {
        let ratio = quantile(plain, 0.5).as_secs_f64() / quantile(encrypted, 0.5).as_secs_f64().max(1e-9);
        let text = format!("{ratio:.2} ({} / {})", rate(encrypted), rate(plain));
        let what = format!("{store}: clone with a {what} cache, throughput, of the plain one's");
        figures.bar("encryption", &what, &text, "≥ 0.85", ratio >= 0.85);
    }
    for (what, share) in [("p50", 0.5), ("p99", 0.99)] {
        let [plain, encrypted] = found.pushes.each_ref().map(|samples| quantile(&samples.post, share));
        let what = format!("{store}: small push, {what}, of the plain one's");
        figures.at_most("encryption", &what, encrypted, plain, 1.10);
    }
}

/// Throughput of the middle one of some clones.
#[expect(clippy::cast_precision_loss, reason = "bytes of a pack")]
fn rate(times: &[Duration]) -> String {
    let bytes = (FILES * FILE_BYTES) as f64;
    format!("{:.0} MB/s", bytes / 1e6 / quantile(times, 0.5).as_secs_f64().max(1e-9))
}
