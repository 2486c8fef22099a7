//! B7: many writers of one repository, each on a branch of its own; a reader on a second server checks every acknowledged push.

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use anyhow::Result;
use tests::bucket::{Bucket, Delays};
use tests::cpu::Meter;
use tests::report::say;
use tests::{Manifests, Server, ServerOptions};

use super::writers::{Branch, Load, Window, push_watched};
use super::{Bed, Servers, begin};
use crate::figures::{Figures, each, middle, ms, quantile, spread};
use crate::pushes::{self, Chain};
use crate::side::Side;

/// Writers when the store has no delay.
const WRITERS: usize = 8;
/// What a bucket of AWS takes, about.
const DELAYS: Delays = Delays { read: Duration::from_millis(15), write: Duration::from_millis(60) };
/// Longest chain that is made.
const STEPS: usize = 5_000;

pub(crate) fn compared(bed: &Bed<'_>, servers: &Servers, figures: &mut Figures) -> Result<()> {
    let base = bed.main(&bed.history)?;
    let chains = pushes::make(&bed.git, &bed.history, &base, WRITERS, STEPS)?;
    let (sides, reader) = (servers.sides(), servers.reader());
    let groups = sides.each_ref().map(|side| branches(&side.repository("hello"), &chains, WRITERS));
    let readers = [&reader, &sides[1], &sides[2]];
    let mut windows = [vec![], vec![], vec![]];
    // The first round warms up and is thrown away.
    for round in 0..=bed.options.rounds {
        for (at, side) in sides.iter().enumerate() {
            let load = Load { length: bed.window(), advertise: false };
            let window = push_watched(side, readers[at], &groups[at], load)?;
            say(format!("{}: {:.0} pushes/s", side.name, window.rate()));
            if round > 0 {
                windows[at].push(window);
            }
        }
    }
    let rows: Vec<_> = sides.iter().zip(&windows).map(|(side, windows)| row(side.name, windows)).collect();
    figures.table(&["8 writers, one repository, no delay", "pushes/s", "p50 / p99", "CPU per push", "readings"], &rows);
    let rate = |at: usize| middle(windows[at].iter().map(Window::rate).collect());
    let ratio = rate(0) / rate(1);
    let found = format!("{ratio:.1} ({:.0} / {:.0})", rate(0), rate(1));
    figures.bar("B7", "8 writers, no delay, pushes/s, of JGit's", &found, "≥ 4", ratio >= 4.0);
    let readings: usize = windows[0].iter().map(|window| window.readings).sum();
    figures.note(&format!(
        "A second server on the same folder was read {readings} times: no acknowledged push was missing, none out of order."
    ));
    Ok(())
}

fn row(name: &str, windows: &[Window]) -> Vec<String> {
    let latencies: Vec<Duration> = windows.iter().flat_map(|window| window.latencies.iter().copied()).collect();
    let cpu: Duration = windows.iter().map(|window| window.server_cpu).sum();
    vec![
        name.to_owned(),
        format!("{:.0}", middle(windows.iter().map(Window::rate).collect())),
        spread(&latencies),
        ms(each(cpu, latencies.len())),
        windows.iter().map(|window| window.readings).sum::<usize>().to_string(),
    ]
}

/// One branch for each writer.
pub(crate) fn branches<'a>(repository: &str, chains: &'a [Chain], count: usize) -> Vec<Vec<Branch<'a>>> {
    let branch = |(number, chain)| Branch {
        repository: repository.to_owned(),
        name: format!("refs/heads/bench/{number}"),
        chain,
        done: AtomicUsize::new(0),
    };
    chains.iter().take(count).enumerate().map(|pair| vec![branch(pair)]).collect()
}

pub(crate) fn delayed(bed: &Bed<'_>, figures: &mut Figures) -> Result<()> {
    let (bucket, manifests) = (Bucket::start()?, Manifests::standard()?);
    let cases: [(usize, bool, Delays); 7] = [
        (1, false, DELAYS),
        (8, false, DELAYS),
        (8, true, DELAYS),
        (32, false, DELAYS),
        (32, true, DELAYS),
        (128, false, DELAYS),
        (32, false, Delays::default()),
    ];
    (0..cases.len()).try_for_each(|number| manifests.repository("team-a", &format!("case-{number}")))?;
    let mut options = ServerOptions::new(manifests.path(), bucket.url()).with(&["--log-level", "warn"]);
    options.environment = Bucket::credentials();
    let (server, second) = (Server::start(options.clone())?, Server::start(options)?);
    let meters = [Meter::of(&[server.pid()]), Meter::of(&[second.pid()])];
    let (side, reader) = (Side::codekeep(&server, &meters[0]), Side::codekeep(&second, &meters[1]));
    let base = bed.main(&bed.tiny)?;
    let chains = pushes::make(&bed.git, &bed.tiny, &base, 128, 400)?;
    let mut rows = Vec::new();
    for (number, (writers, advertise, delays)) in cases.into_iter().enumerate() {
        let repository = side.repository(&format!("case-{number}"));
        bucket.delay(Delays::default());
        begin(&mut side.session(), &repository, &base, &bed.tiny_pack()?)?;
        bucket.delay(delays);
        let groups = branches(&repository, &chains, writers);
        drop(bucket.take_seen());
        // Longer than without delays: the first entries are not yet full.
        let window = push_watched(&side, &reader, &groups, Load { length: bed.window() * 2, advertise })?;
        let entries: Vec<Duration> = bucket
            .take_seen()
            .iter()
            .filter(|seen| seen.method == "PUT" && seen.key.contains("/log/") && seen.status == 200)
            .map(|seen| seen.ended - seen.began)
            .collect();
        rows.push(delayed_row(writers, advertise, delays, &window, &entries));
        let (found, rate) = (format!("{:.0}/s", window.rate()), window.rate());
        match (writers, advertise, delays.write.is_zero()) {
            (8, false, false) => {
                let allowed = 8.0 / DELAYS.write.as_secs_f64();
                let found = format!("{:.0} % ({found} of {allowed:.0}/s)", 100.0 * rate / allowed);
                figures.bar(
                    "B7",
                    "15/60 ms, 8 writers, of what the delays allow",
                    &found,
                    "≥ 80 %",
                    rate >= 0.8 * allowed,
                );
            }
            (32, false, false) => figures.bar("B7", "15/60 ms, 32 writers, pushes/s", &found, "≥ 300", rate >= 300.0),
            _ => {}
        }
    }
    let header = [
        "writers, GET / PUT delay",
        "pushes/s",
        "p50 / p99",
        "pushes per entry",
        "PUT p50",
        "CPU per push",
        "readings",
    ];
    figures.table(&header, &rows);
    figures.note(
        "The bucket is the benchmark's own, in memory, in the clients' process; its last line is what it sustains without delays.",
    );
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts of pushes are far below 2^52")]
fn delayed_row(writers: usize, advertise: bool, delays: Delays, window: &Window, entries: &[Duration]) -> Vec<String> {
    let also = if advertise { ", with advertisement" } else { "" };
    let Delays { read, write } = delays;
    vec![
        format!("{writers}{also}, {} / {} ms", read.as_millis(), write.as_millis()),
        format!("{:.0}", window.rate()),
        spread(&window.latencies),
        format!("{:.1}", window.latencies.len() as f64 / entries.len().max(1) as f64),
        ms(quantile(entries, 0.5)),
        ms(each(window.server_cpu, window.latencies.len())),
        window.readings.to_string(),
    ]
}
