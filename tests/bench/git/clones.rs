//! B1 and B2: whole clones, one at a time and eight at once; and clones of a part.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use tests::protocol::Fetched;
use tests::{process, raw_http};

use super::Bed;
use super::references::row;
use super::sides::{HISTORY, Sides, by_turns};
use crate::figures::{Figures, middle, ms, quantile};
use crate::side::Side;

/// Clones at the same time.
const AT_ONCE: usize = 8;
/// Most bytes of anonymous memory that each of them may take.
const MEMORY: u64 = 4_000_000;

pub(super) fn run(bed: &Bed<'_>, sides: &Sides, figures: &mut Figures) -> Result<()> {
    one(bed, sides, figures)?;
    eight(bed, sides, figures)?;
    part(bed, sides, figures)
}

/// Megabytes in a second.
#[expect(clippy::cast_precision_loss, reason = "bytes of a pack")]
pub(super) fn rate(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64().max(1e-9)
}

fn one(bed: &Bed<'_>, sides: &Sides, figures: &mut Figures) -> Result<()> {
    let all = sides.all();
    let mut fetched: [Vec<Fetched>; 3] = Default::default();
    let samples = by_turns(bed, &all, 1, |side| {
        let found = side.raw(HISTORY).fetch(&bed.tips, &[])?;
        let total = found.total;
        let at = all.iter().position(|other| other.name == side.name).context("no such side")?;
        fetched[at].push(found);
        Ok(total)
    })?;
    let rates = [0, 1, 2].map(|at| {
        let bytes = fetched[at].first().map_or(0, |fetched| fetched.pack_bytes);
        rate(bytes, samples[at].median())
    });
    let first: [Duration; 3] = fetched.each_ref().map(|fetched| {
        let times: Vec<Duration> = fetched.iter().skip(1).map(|fetched| fetched.first_byte).collect();
        quantile(&times, 0.5)
    });
    let fixed = static_rate(bed, sides)?;
    let rows: Vec<_> = (0..3)
        .map(|at| {
            let cpu = ms(samples[at].cpu_each());
            vec![all[at].name.to_owned(), format!("{:.0} MB/s", rates[at]), ms(first[at]), cpu]
        })
        .chain([vec!["nginx, the pack as a file".to_owned(), format!("{fixed:.0} MB/s"), String::new(), String::new()]])
        .collect();
    figures.table(&["whole clone, raw", "throughput", "first pack byte", "server CPU"], &rows);
    let times = |ratio: f64, ours: f64, theirs: f64| format!("{ratio:.2} ({ours:.0} / {theirs:.0} MB/s)");
    let ratio = rates[0] / rates[1].max(1e-9);
    figures.bar("B1", "throughput, of JGit's", &times(ratio, rates[0], rates[1]), "≥ 1.5", ratio >= 1.5);
    let ratio = rates[0] / fixed.max(1e-9);
    figures.bar("B1", "throughput, of nginx with a file", &times(ratio, rates[0], fixed), "≥ 0.6", ratio >= 0.6);
    figures.at_most("B1", "server CPU, of JGit's", samples[0].cpu_each(), samples[1].cpu_each(), 0.5);
    let met = first[0] <= Duration::from_millis(10);
    figures.bar("B1", "first pack byte", &ms(first[0]), "≤ 10 ms", met);
    Ok(())
}

/// Throughput of nginx that sends the peer's pack as a file.
fn static_rate(bed: &Bed<'_>, sides: &Sides) -> Result<f64> {
    let packs = sides.peer.repositories().join(HISTORY).join("objects/pack");
    let pack = std::fs::read_dir(packs)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "pack"))
        .and_then(|path| path.file_name()?.to_str().map(ToOwned::to_owned))
        .context("the peer has no pack")?;
    let mut rates = Vec::new();
    for _ in 0..=bed.options.rounds {
        let started = Instant::now();
        let bytes = raw_http::drain(sides.peer.address, &format!("/static/{HISTORY}/objects/pack/{pack}"))?;
        rates.push(rate(bytes, started.elapsed()));
    }
    Ok(middle(rates.split_off(1)))
}

fn eight(bed: &Bed<'_>, sides: &Sides, figures: &mut Figures) -> Result<()> {
    let (all, pid) = (sides.all(), sides.server.pid());
    let mut rates: [Vec<f64>; 3] = Default::default();
    let mut most = 0;
    for round in 0..=bed.options.rounds.min(4) {
        for (at, side) in all.iter().enumerate() {
            let before = process::memory(pid, "RssAnon")?;
            let (rate, peak) = together(side, &bed.tips, pid)?;
            if round > 0 {
                rates[at].push(rate);
                most = if at == 0 { most.max(peak.saturating_sub(before) / AT_ONCE as u64) } else { most };
            }
        }
    }
    let rates = rates.map(middle);
    let row = rates.iter().map(|rate| format!("{rate:.0} MB/s")).collect::<Vec<_>>();
    figures.table(&["8 clones at once: Codekeep", "JGit", "http-backend"], &[row]);
    let ratio = rates[0] / rates[1].max(1e-9);
    let text = format!("{ratio:.2} ({:.0} / {:.0} MB/s)", rates[0], rates[1]);
    figures.bar("B2", "8 clones at once, throughput, of JGit's", &text, "≥ 1.5", ratio >= 1.5);
    let text = format!("{:.1} MB", rate(most, Duration::from_secs(1)));
    figures.bar("B2", "anonymous memory of each", &text, "≤ 4 MB", most <= MEMORY);
    Ok(())
}

/// Clones at the same time: megabytes in a second of all, and the most anonymous memory of our server meanwhile.
fn together(side: &Side<'_>, tips: &[String], pid: u32) -> Result<(f64, u64)> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak = 0;
            while !done.load(Ordering::Relaxed) {
                peak = peak.max(process::memory(pid, "RssAnon").unwrap_or(0));
                std::thread::sleep(Duration::from_millis(1));
            }
            peak
        });
        let started = Instant::now();
        let clones: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(|| side.raw(HISTORY).fetch(tips, &[]))).collect();
        let fetched = clones.into_iter().map(|clone| clone.join().map_err(|_| anyhow!("a clone panicked"))?);
        let bytes = fetched.map(|fetched| fetched.map(|fetched| fetched.pack_bytes)).sum::<Result<u64>>();
        let took = started.elapsed();
        done.store(true, Ordering::Relaxed);
        let peak = watcher.join().map_err(|_| anyhow!("the watcher panicked"))?;
        Ok((rate(bytes?, took), peak))
    })
}

/// A clone of one branch: what is sent has to be chosen.
fn part(bed: &Bed<'_>, sides: &Sides, figures: &mut Figures) -> Result<()> {
    let all = sides.all();
    let main = [bed.id(&bed.branch)?];
    let objects = bed.git.ok(&bed.history, &["rev-list", "--objects", "--count", &main[0]])?;
    let objects: u32 = objects.trim().parse()?;
    let samples = by_turns(bed, &all, 1, |side| {
        let found = side.raw(HISTORY).fetch(&main, &[])?;
        ensure!(found.objects >= objects, "{} objects of {objects}", found.objects);
        Ok(found.total)
    })?;
    figures.table(
        &["p50 / p99", "Codekeep", "JGit", "http-backend", "our CPU"],
        &[row("clone of one branch, raw", &samples)],
    );
    figures.at_most("", "clone of one branch, of JGit's", samples[0].median(), samples[1].median(), 1.0);
    Ok(())
}
