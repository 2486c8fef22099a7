//! What replication costs and how fast it is: pushes that two buckets hold, how far a replica lags, a promotion, catching up.

mod catching_up;
mod promotion;

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::bucket::{Bucket, Delays, Seen};
use tests::cpu::Meter;
use tests::{Manifests, Server, ServerOptions};

use super::one_repository::branches;
use super::small_push::{Samples, once};
use super::writers::{Branch, Load, push_for};
use super::{Bed, begin};
use crate::figures::{Figures, ms, quantile, spread};
use crate::pushes;
use crate::side::Side;

/// What a bucket of AWS takes, about; that of each region.
const DELAYS: Delays = Delays { read: Duration::from_millis(15), write: Duration::from_millis(60) };
const STORES: [&str; 3] = ["default", "far", "third"];
/// Small pushes to each repository in a round.
const PUSHES: usize = 40;
const WRITERS: usize = 8;
/// Longest chain of each of them.
const STEPS: usize = 2_000;
/// What is not copied after this time is not late but missing.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run(bed: &Bed<'_>, figures: &mut Figures) -> Result<()> {
    synchronous(bed, figures)?;
    asynchronous(bed, figures)?;
    promotion::run(bed, figures)?;
    catching_up::run(bed, figures)
}

/// A server with these stores.
fn options(manifests: &Manifests, urls: &[String]) -> ServerOptions {
    let further =
        urls.iter().zip(STORES).skip(1).flat_map(|(url, name)| ["--store".to_owned(), format!("{name}={url}")]);
    let mut options =
        ServerOptions::new(manifests.path(), format!("default={}", urls[0])).with(&["--log-level", "warn"]);
    options.arguments.extend(further);
    options
}

/// Writes a Repository that is replicated.
fn repository(manifests: &Manifests, name: &str, replication: &str) -> Result<()> {
    let text = format!(
        "apiVersion: codekeep.dev/v1alpha1\nkind: Repository\nmetadata: {{name: {name}, namespace: team-a}}\n\
         spec:\n  replication: {replication}\n"
    );
    manifests.write(&format!("repository-team-a-{name}.yaml"), &text)
}

/// A push that both of two buckets hold before it is acknowledged, beside one that one bucket holds.
fn synchronous(bed: &Bed<'_>, figures: &mut Figures) -> Result<()> {
    const REPOSITORIES: [&str; 2] = ["one-bucket", "two-buckets"];
    let (buckets, manifests) = ([Bucket::start()?, Bucket::start()?], Manifests::standard()?);
    manifests.repository("team-a", REPOSITORIES[0])?;
    repository(&manifests, REPOSITORIES[1], "{mode: Synchronous, stores: [far]}")?;
    let mut options = options(&manifests, &buckets.each_ref().map(Bucket::url));
    options.environment = Bucket::credentials();
    let server = Server::start(options)?;
    let meter = Meter::of(&[server.pid()]);
    let (side, base) = (Side::codekeep(&server, &meter), bed.main(&bed.tiny)?);
    let chain = pushes::make(&bed.git, &bed.tiny, &base, 1, PUSHES * (bed.options.rounds + 1))?.remove(0);
    let branches = REPOSITORIES.map(|name| Branch {
        repository: side.repository(name),
        name: "refs/heads/bench/small".to_owned(),
        chain: &chain,
        done: AtomicUsize::new(0),
    });
    for branch in &branches {
        begin(&mut side.session(), &branch.repository, &base, &bed.tiny_pack()?)?;
    }
    for bucket in &buckets {
        bucket.delay(DELAYS);
    }
    let mut samples = <[Samples; 2]>::default();
    for round in 0..=bed.options.rounds {
        let mut thrown_away = <[Samples; 2]>::default();
        let samples = if round == 0 { &mut thrown_away } else { &mut samples };
        for _ in 0..PUSHES {
            for (branch, samples) in branches.iter().zip(samples.iter_mut()) {
                once(&side, branch, false, samples)?;
            }
        }
    }
    let copied = entries(buckets[1].take_seen()).len();
    ensure!(copied >= PUSHES * bed.options.rounds, "the second bucket got {copied} entries only");
    let [one, two] = samples.each_ref().map(|samples| quantile(&samples.post, 0.5));
    let row = samples.iter().map(|samples| spread(&samples.post)).collect();
    figures.table(&["small push, 15 / 60 ms, p50 / p99: one bucket", "two, Synchronous"], &[row]);
    figures.at_most("replication", "small push, Synchronous to two buckets, of one bucket's", two, one, 1.2);
    Ok(())
}

/// How long after the first bucket the second one has each entry, while writers push as fast as they are answered.
fn asynchronous(bed: &Bed<'_>, figures: &mut Figures) -> Result<()> {
    let ([near, far], manifests) = ([Bucket::start()?, Bucket::start()?], Manifests::standard()?);
    repository(&manifests, "asynchronous", "{mode: Asynchronous, stores: [far]}")?;
    let mut options = options(&manifests, &[near.url(), far.url()]);
    options.environment = Bucket::credentials();
    let server = Server::start(options)?;
    let meter = Meter::of(&[server.pid()]);
    let (side, base) = (Side::codekeep(&server, &meter), bed.main(&bed.tiny)?);
    let chains = pushes::make(&bed.git, &bed.tiny, &base, WRITERS, STEPS)?;
    let repository = side.repository("asynchronous");
    begin(&mut side.session(), &repository, &base, &bed.tiny_pack()?)?;
    near.delay(DELAYS);
    far.delay(DELAYS);
    drop((near.take_seen(), far.take_seen()));
    let groups = branches(&repository, &chains, WRITERS);
    let window = push_for(&side, &groups, Load { length: bed.window() * 2, advertise: false })?;
    let (entries, mut copied, over) = (entries(near.take_seen()), HashMap::new(), Instant::now());
    while entries.keys().any(|key| !copied.contains_key(key)) && over.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(100));
        copied.extend(self::entries(far.take_seen()));
    }
    let lag = |(key, written): (&String, &Instant)| {
        let copied = copied.get(key).with_context(|| format!("{key} was never copied"))?;
        Ok(copied.saturating_duration_since(*written))
    };
    let lags = entries.iter().map(lag).collect::<Result<Vec<Duration>>>()?;
    let worst = quantile(&lags, 1.0);
    let row = vec![format!("{:.0}", window.rate()), entries.len().to_string(), spread(&lags), ms(worst)];
    figures.table(
        &["Asynchronous, 8 writers, 15 / 60 ms: pushes/s", "entries", "lag of an entry, p50 / p99", "most"],
        &[row],
    );
    figures.bar("replication", "lag under 8 writers, most", &ms(worst), "< 2 s", worst < Duration::from_secs(2));
    Ok(())
}

/// When each entry of a log was there.
fn entries(seen: Vec<Seen>) -> HashMap<String, Instant> {
    let created =
        seen.into_iter().filter(|seen| seen.method == "PUT" && seen.key.contains("/log") && seen.status == 200);
    created.map(|seen| (seen.key, seen.ended)).collect()
}
