//! B6: one small push after the other, on every side by turns; and what it asks of the store.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::bucket::{Bucket, Delays, Seen};
use tests::cpu::Meter;
use tests::session::Pushed;
use tests::{Manifests, Server, ServerOptions};

use super::writers::Branch;
use super::{Bed, Servers, begin};
use crate::figures::{Figures, each, quantile, spread};
use crate::pushes::{self, Chain};
use crate::side::Side;

/// Pushes of a round.
const PUSHES: usize = 40;
/// Pushes before the first that is measured: Java compiles what it runs often.
const WARM_UP: [usize; 3] = [400, 1_500, 20];
/// Pushes by stock git, on each side.
const STOCK: usize = 15;

/// What pushes took on one side.
#[derive(Default)]
pub(crate) struct Samples {
    advertisement: Vec<Duration>,
    pub(crate) post: Vec<Duration>,
    both: Vec<Duration>,
    cpu: Duration,
}

pub(crate) fn compared(bed: &Bed<'_>, servers: &Servers, figures: &mut Figures) -> Result<()> {
    let count = PUSHES * bed.options.rounds;
    let base = bed.main(&bed.history)?;
    let chain = pushes::make(&bed.git, &bed.history, &base, 1, 1_500 + 2 * count)?.remove(0);
    let sides = servers.sides();
    let branches = sides.each_ref().map(|side| branch(side, &chain));
    for ((side, branch), warm_up) in sides.iter().zip(&branches).zip(WARM_UP) {
        let mut thrown_away = Samples::default();
        (0..warm_up).try_for_each(|_| once(side, branch, true, &mut thrown_away))?;
    }
    let [with, alone] = [true, false].map(|advertise| by_turns(&sides, &branches, count, advertise));
    let (with, alone) = (with?, alone?);
    let stock = stock_git(bed, &sides)?;
    let rows = sides.iter().enumerate().map(|(at, side)| {
        vec![
            side.name.to_owned(),
            spread(&with[at].advertisement),
            spread(&alone[at].post),
            spread(&with[at].both),
            crate::figures::ms(each(alone[at].cpu, count)),
            crate::figures::ms(each(with[at].cpu, count)),
            crate::figures::ms(quantile(&stock[at], 0.5)),
        ]
    });
    let header = [
        "small push, p50 / p99",
        "advertisement",
        "push alone",
        "both",
        "CPU, push alone",
        "CPU, both",
        "`git push`, p50",
    ];
    figures.table(&header, &rows.collect::<Vec<_>>());
    let median = |samples: &Samples| quantile(&samples.both, 0.5);
    let (ours, jgit) = (&alone[0], &alone[1]);
    figures.at_most("B6", "push alone, latency, of JGit's", median(ours), median(jgit), 1.0 / 3.0);
    figures.at_most("B6", "push alone, CPU, of JGit's", each(ours.cpu, count), each(jgit.cpu, count), 0.25);
    let (ours, jgit) = (&with[0], &with[1]);
    figures.at_most("B6", "push with advertisement, latency, of JGit's", median(ours), median(jgit), 1.0 / 3.0);
    figures.at_most(
        "B6",
        "push with advertisement, CPU, of JGit's",
        each(ours.cpu, count),
        each(jgit.cpu, count),
        0.25,
    );
    Ok(())
}

fn branch<'a>(side: &Side<'_>, chain: &'a Chain) -> Branch<'a> {
    Branch {
        repository: side.repository("hello"),
        name: "refs/heads/bench/small".to_owned(),
        chain,
        done: AtomicUsize::new(0),
    }
}

/// Every push on a connection of its own, as git makes one; CPU is all that the server used from the first to the last.
fn by_turns(sides: &[Side<'_>; 3], branches: &[Branch<'_>; 3], count: usize, advertise: bool) -> Result<[Samples; 3]> {
    let mut samples = [Samples::default(), Samples::default(), Samples::default()];
    for (samples, side) in samples.iter_mut().zip(sides) {
        samples.cpu = side.cpu()?;
    }
    for _ in 0..count {
        for ((side, branch), samples) in sides.iter().zip(branches).zip(&mut samples) {
            once(side, branch, advertise, samples)?;
        }
    }
    for (samples, side) in samples.iter_mut().zip(sides) {
        samples.cpu = side.cpu()?.saturating_sub(samples.cpu);
    }
    Ok(samples)
}

/// A push on a connection of its own.
pub(crate) fn once(side: &Side<'_>, branch: &Branch<'_>, advertise: bool, samples: &mut Samples) -> Result<()> {
    let Some(body) = branch.body() else { anyhow::bail!("too few pushes were made") };
    let (mut session, started) = (side.session(), Instant::now());
    if advertise {
        session.advertisement(&branch.repository)?;
        samples.advertisement.push(started.elapsed());
    }
    let asked = Instant::now();
    let answer = session.push(&branch.repository, &body)?;
    ensure!(answer == Pushed::Accepted, "{} refused a push: {answer:?}", side.name);
    samples.post.push(asked.elapsed());
    samples.both.push(started.elapsed());
    branch.done.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

fn stock_git(bed: &Bed<'_>, sides: &[Side<'_>; 3]) -> Result<[Vec<Duration>; 3]> {
    let source = bed.history.display().to_string();
    bed.git.ok(&bed.git.path(""), &["clone", "--quiet", "--shared", "--branch", "main", &source, "stock"])?;
    let work = bed.git.path("stock");
    let mut times = [vec![], vec![], vec![]];
    for round in 0..=STOCK {
        for (side, times) in sides.iter().zip(&mut times) {
            bed.git.commit(&work, "bench-file", &format!("round {round} for {}\n", side.name))?;
            let started = Instant::now();
            bed.git.ok(&work, &["push", "--quiet", &side.url("hello"), "HEAD:refs/heads/stock"])?;
            if round > 0 {
                times.push(started.elapsed());
            }
        }
    }
    Ok(times)
}

/// What a push asks of a bucket, by name, and how much of that is one after the other.
pub(crate) fn rounds(bed: &Bed<'_>, figures: &mut Figures) -> Result<()> {
    let (bucket, manifests) = (Bucket::start()?, Manifests::standard()?);
    let mut options = ServerOptions::new(manifests.path(), bucket.url()).with(&["--log-level", "warn"]);
    options.environment = Bucket::credentials();
    let server = Server::start(options)?;
    let meter = Meter::of(&[server.pid()]);
    let side = Side::codekeep(&server, &meter);
    let base = bed.main(&bed.tiny)?;
    let chain = pushes::make(&bed.git, &bed.tiny, &base, 1, 8)?.remove(0);
    let branch = branch(&side, &chain);
    let mut session = side.session();
    begin(&mut session, &branch.repository, &base, &bed.tiny_pack()?)?;
    // Delays make visible what waits for what.
    bucket.delay(Delays { read: Duration::from_millis(15), write: Duration::from_millis(60) });
    let mut rows = Vec::new();
    let (mut advertisement, mut push) = (0, 0);
    for _ in 0..chain.len() {
        std::thread::sleep(Duration::from_millis(2_500));
        drop(bucket.take_seen());
        session.advertisement(&branch.repository)?;
        let answered = Instant::now();
        let (during, _) = split(bucket.take_seen(), answered);
        let Some(body) = branch.body() else { break };
        let answer = session.push(&branch.repository, &body)?;
        let pushed = Instant::now();
        ensure!(answer == Pushed::Accepted, "a push was refused: {answer:?}");
        branch.done.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(1_500));
        let (pushing, after) = split(bucket.take_seen(), pushed);
        (advertisement, push) = (advertisement.max(sequential(&during)), push.max(sequential(&pushing)));
        rows = vec![
            vec!["advertisement".to_owned(), sequential(&during).to_string(), names(&during)],
            vec!["push".to_owned(), sequential(&pushing).to_string(), names(&pushing)],
            vec!["after the answer".to_owned(), sequential(&after).to_string(), names(&after)],
        ];
    }
    figures.table(&["requests to the store (of the last of 8 pushes)", "rounds", "which"], &rows);
    figures.bar("B6", "sequential store rounds of a push, most of 8", &push.to_string(), "1", push == 1);
    let both = format!("{} ({advertisement} of the advertisement)", advertisement + push);
    figures.bar("B6", "the same with its advertisement", &both, "≤ 2", advertisement + push <= 2);
    Ok(())
}

/// Those that were answered before a moment, so that somebody may have waited for them, and the others.
pub(crate) fn split(seen: Vec<Seen>, moment: Instant) -> (Vec<Seen>, Vec<Seen>) {
    seen.into_iter().partition(|seen| seen.ended <= moment)
}

/// The longest chain of requests that each began after the one before was answered.
pub(crate) fn sequential(seen: &[Seen]) -> usize {
    let mut by_end: Vec<&Seen> = seen.iter().collect();
    by_end.sort_by_key(|seen| seen.ended);
    let (mut rounds, mut free): (usize, Option<Instant>) = (0, None);
    for seen in by_end {
        if free.is_none_or(|free| seen.began >= free) {
            rounds += 1;
            free = Some(seen.ended);
        }
    }
    rounds
}

/// Methods, keys below the repository and statuses, in the order in which they were asked; numbers of one kind together.
pub(crate) fn names(seen: &[Seen]) -> String {
    let mut by_begin: Vec<&Seen> = seen.iter().collect();
    by_begin.sort_by_key(|seen| seen.began);
    let mut kinds: Vec<(String, u16, Vec<u64>)> = Vec::new();
    for seen in by_begin {
        let (kind, number) = kind(seen);
        match kinds.iter_mut().find(|known| known.0 == kind && known.1 == seen.status) {
            Some(known) => known.2.push(number),
            None => kinds.push((kind, seen.status, vec![number])),
        }
    }
    let text = |(kind, status, numbers): &(String, u16, Vec<u64>)| {
        let (low, high) = (numbers.iter().min().copied().unwrap_or(0), numbers.iter().max().copied().unwrap_or(0));
        let number = match (low, high) {
            (0, 0) => String::new(),
            (low, high) if low == high => low.to_string(),
            (low, high) => format!("{low}–{high}"),
        };
        let times = if numbers.len() > 1 { format!("{} × ", numbers.len()) } else { String::new() };
        format!("{times}{kind}{number}` {status}")
    };
    if kinds.is_empty() { "none".to_owned() } else { kinds.iter().map(text).collect::<Vec<_>>().join(", ") }
}

/// What is asked, without the repository's id, and the number at the end of the key, if there is one.
fn kind(seen: &Seen) -> (String, u64) {
    let inside = seen.key.split_once('/').map_or(seen.key.as_str(), |(first, rest)| {
        // The catalog is not inside of a repository.
        if first == "catalog" { seen.key.as_str() } else { rest }
    });
    let (folder, last) = inside.rsplit_once('/').unwrap_or(("", inside));
    let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    match (last.parse::<u64>(), last.rsplit_once('.')) {
        (Ok(number), _) => (format!("{} `{folder}", seen.method), number),
        (_, Some((name, extension))) if name.len() > 30 => (format!("{} `{folder}….{extension}", seen.method), 0),
        _ => (format!("{} `{folder}{last}", seen.method), 0),
    }
}
