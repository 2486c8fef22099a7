//! The primary bucket is gone for good: how long from `codekeep store promote` to the next push that is acknowledged.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::bucket::Bucket;
use tests::manifests::PASSWORD;
use tests::session::{Pushed, Session, push_body};
use tests::{Manifests, Server, binary};

use super::super::{Bed, begin};
use super::{DELAYS, PATIENCE, STORES, options, repository};
use crate::figures::{Figures, ms, quantile};
use crate::pushes::{self, Chain};

const REPOSITORY: &str = "team-a/promoted";
/// A client that is refused comes back after this time.
const PAUSE: Duration = Duration::from_millis(20);
const BAR: Duration = Duration::from_secs(2);

pub(super) fn run(bed: &Bed<'_>, figures: &mut Figures) -> Result<()> {
    let base = bed.main(&bed.tiny)?;
    let chain = pushes::make(&bed.git, &bed.tiny, &base, 1, 4)?.remove(0);
    let times = (0..bed.options.rounds.max(3)).map(|_| once(bed, &base, &chain)).collect::<Result<Vec<_>>>()?;
    let (commands, pushes): (Vec<_>, Vec<_>) = times.into_iter().unzip();
    let [median, worst] = [0.5, 1.0].map(|share| quantile(&pushes, share));
    let row = vec![ms(quantile(&commands, 0.5)), ms(quantile(&commands, 1.0)), ms(median), ms(worst)];
    let header = [
        "primary bucket lost, Synchronous, 15 / 60 ms: `codekeep store promote`, p50",
        "most",
        "from its end to the next acknowledged push, p50",
        "most",
    ];
    figures.table(&header, &[row]);
    figures.bar("replication", "promotion to the next acknowledged push, most", &ms(worst), "≤ 2 s", worst <= BAR);
    Ok(())
}

/// How long the command took, and from then on until a push was acknowledged.
fn once(bed: &Bed<'_>, base: &str, chain: &Chain) -> Result<(Duration, Duration)> {
    let (mut buckets, manifests) = (Vec::new(), Manifests::standard()?);
    for _ in STORES {
        buckets.push(Bucket::start()?);
    }
    repository(&manifests, "promoted", "{mode: Synchronous, stores: [far, third], quorum: 2}")?;
    let urls: Vec<String> = buckets.iter().map(Bucket::url).collect();
    let mut options = options(&manifests, &urls);
    options.environment = Bucket::credentials();
    let server = Server::start(options)?;
    let mut session = Session::new(server.address(), Some(("alice", PASSWORD)));
    begin(&mut session, REPOSITORY, base, &bed.tiny_pack()?)?;
    for bucket in &buckets {
        bucket.delay(DELAYS);
    }
    let body = |at: usize| {
        let old = at.checked_sub(1).map(|last| chain[last].id.as_str());
        push_body(old, &chain[at].id, "refs/heads/bench/0", &chain[at].pack)
    };
    ensure!(session.push(REPOSITORY, &body(0))? == Pushed::Accepted, "the push before the loss was refused");
    drop(buckets.remove(0));
    // The server learns of it as people do. That push may be in replicas, and come to light: it is to another branch.
    let lost = push_body(None, &chain[1].id, "refs/heads/bench/lost", &chain[1].pack);
    ensure!(
        session.push(REPOSITORY, &lost).is_ok_and(|answer| answer != Pushed::Accepted),
        "the primary is still there"
    );
    let mut promote = Command::new(binary::codekeep()?);
    promote.args(["store", "promote", "--to", STORES[1], "--cache"]).arg(bed.folder.path().join("promote-cache"));
    promote.args(urls.iter().zip(STORES).flat_map(|(url, name)| ["--store".to_owned(), format!("{name}={url}")]));
    promote.arg("--manifests").arg(manifests.path());
    let started = Instant::now();
    let promoted = promote.arg(REPOSITORY).envs(Bucket::credentials()).output().context("failed to start codekeep")?;
    ensure!(promoted.status.success(), "codekeep store promote: {}", String::from_utf8_lossy(&promoted.stderr));
    let (took, promoted) = (started.elapsed(), Instant::now());
    loop {
        session.close();
        if session.push(REPOSITORY, &body(1)).is_ok_and(|answer| answer == Pushed::Accepted) {
            return Ok((took, promoted.elapsed()));
        }
        ensure!(promoted.elapsed() < PATIENCE, "no push was acknowledged after the promotion");
        std::thread::sleep(PAUSE);
    }
}
