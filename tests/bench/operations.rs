//! What clients do, on one side and then on the other, round by round.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::cpu::Meter;
use tests::manifests::PASSWORD;
use tests::protocol::RawClient;
use tests::{Git, Server, process};

use crate::peer::Peer;
use crate::table::{Samples, Table};

/// A server that is measured.
pub(crate) struct Side<'a> {
    raw: RawClient,
    refs: RawClient,
    url: String,
    cpu: Box<dyn Fn() -> Result<Duration> + 'a>,
}

impl<'a> Side<'a> {
    pub(crate) fn codekeep(server: &'a Server, meter: &'a Meter) -> Self {
        let raw = |name: &str| RawClient::new(server.address(), name, Some(("alice", PASSWORD)));
        Self {
            raw: raw("team-a/hello"),
            refs: raw("team-a/other"),
            url: server.url("alice", "team-a/hello"),
            cpu: Box::new(|| meter.time()),
        }
    }

    pub(crate) fn peer(peer: &'a Peer) -> Self {
        Self {
            raw: RawClient::new(peer.address, "hello", None),
            refs: RawClient::new(peer.address, "other", None),
            url: format!("http://{}/hello", peer.address),
            cpu: Box::new(|| peer.meter().time()),
        }
    }
}

/// Both sides and what they serve.
pub(crate) struct Bench<'a> {
    pub(crate) git: &'a Git,
    pub(crate) history: PathBuf,
    pub(crate) rounds: usize,
    pub(crate) ours: Side<'a>,
    pub(crate) peer: Side<'a>,
}

impl Bench<'_> {
    /// Runs an operation on both sides by turns; what `prepare` does is not timed.
    fn measure<P>(
        &self,
        table: &mut Table,
        name: &str,
        mut prepare: impl FnMut(&Side<'_>, usize) -> Result<P>,
        mut operation: impl FnMut(&Side<'_>, P) -> Result<Duration>,
    ) -> Result<()> {
        let mut samples = [Samples::default(), Samples::default()];
        // The first round warms both up and is thrown away.
        for round in 0..=self.rounds {
            for (samples, side) in samples.iter_mut().zip([&self.ours, &self.peer]) {
                let prepared = prepare(side, round)?;
                let cpu = (side.cpu)()?;
                let time = operation(side, prepared).with_context(|| format!("{name} failed on {}", side.url))?;
                if round > 0 {
                    samples.times.push(time);
                    samples.cpu += (side.cpu)()?.saturating_sub(cpu);
                }
            }
        }
        table.compare(name, &samples[0], &samples[1]);
        Ok(())
    }

    fn id(&self, revision: &str) -> Result<String> {
        Ok(self.git.ok(&self.history, &["rev-parse", revision])?.trim().to_owned())
    }

    /// One line about the history.
    pub(crate) fn describe(&self) -> Result<String> {
        let commits = self.git.ok(&self.history, &["rev-list", "--count", "--all"])?;
        Ok(format!("{} commits, {} refs", commits.trim(), self.git.refs(&self.history)?.lines().count()))
    }
}

/// Everything that is compared.
pub(crate) fn all(bench: &Bench<'_>, table: &mut Table) -> Result<()> {
    reads(bench, table)?;
    fetches(bench, table)?;
    stock_git(bench, table)?;
    pushes(bench, table)
}

fn reads(bench: &Bench<'_>, table: &mut Table) -> Result<()> {
    let timed = |list: &dyn Fn() -> Result<usize>, at_least: usize| -> Result<Duration> {
        let started = Instant::now();
        ensure!(list()? >= at_least, "fewer refs than there are");
        Ok(started.elapsed())
    };
    let nothing = |_: &Side<'_>, _: usize| Ok(());
    bench.measure(table, "advertisement", nothing, |side, ()| {
        let started = Instant::now();
        ensure!(side.raw.advertisement("git-upload-pack", 2)?.status == 200, "no advertisement");
        Ok(started.elapsed())
    })?;
    bench.measure(table, "ls-refs, all", nothing, |side, ()| timed(&|| Ok(side.refs.ls_refs(&[])?.len()), 1_000))?;
    bench.measure(table, "ls-refs, one prefix", nothing, |side, ()| {
        timed(&|| Ok(side.refs.ls_refs(&["refs/heads/branch/42/"])?.len()), 1)
    })
}

fn fetches(bench: &Bench<'_>, table: &mut Table) -> Result<()> {
    let (tips, main) = (tips(bench)?, bench.id("refs/heads/main")?);
    let nothing = |_: &Side<'_>, _: usize| Ok(());
    bench.measure(table, "full clone, raw", nothing, |side, ()| Ok(side.raw.fetch(&tips, &[])?.total))?;
    bench.measure(table, "full clone, raw, first byte", nothing, |side, ()| {
        Ok(side.raw.fetch(&tips, &[])?.first_byte)
    })?;
    for behind in [1, 10, 100, 1_000] {
        let have = bench.id(&format!("refs/heads/main~{behind}"))?;
        let name = format!("fetch, raw, {behind} behind");
        bench.measure(table, &name, nothing, |side, ()| {
            Ok(side.raw.fetch(std::slice::from_ref(&main), std::slice::from_ref(&have))?.total)
        })?;
    }
    Ok(())
}

fn tips(bench: &Bench<'_>) -> Result<Vec<String>> {
    let refs = bench.git.refs(&bench.history)?;
    let mut ids: Vec<String> = refs.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect();
    ids.sort();
    ids.dedup();
    Ok(ids)
}

fn stock_git(bench: &Bench<'_>, table: &mut Table) -> Result<()> {
    let home = bench.git.path("");
    let fresh = |name: &str| -> Result<PathBuf> {
        let folder = bench.git.path(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        Ok(folder)
    };
    bench.measure(
        table,
        "full clone, git",
        |_, _| fresh("bench-clone"),
        |side, folder| {
            let folder = folder.to_str().context("path")?;
            timed_git(bench.git, &home, &["clone", "--quiet", "--mirror", &side.url, folder])
        },
    )?;
    let behind = bench.git.path("behind.git");
    bench.git.ok(&home, &["init", "--quiet", "--bare", "behind.git"])?;
    let source = bench.history.to_str().context("path")?;
    let old = bench.id("refs/heads/main~100")?;
    bench.git.ok(&bench.history, &["branch", "--force", "bench-old", &old])?;
    bench.git.ok(&behind, &["fetch", "--quiet", source, "refs/heads/bench-old:refs/heads/main"])?;
    let copy = |_: &Side<'_>, _: usize| -> Result<PathBuf> {
        let folder = fresh("bench-fetch")?;
        let status = std::process::Command::new("cp").arg("-r").arg(&behind).arg(&folder).status()?;
        ensure!(status.success(), "failed to copy a repository");
        Ok(folder)
    };
    bench.measure(table, "fetch, git, 100 behind", copy, |side, folder| {
        timed_git(bench.git, &folder, &["fetch", "--quiet", &side.url, "refs/heads/main:refs/heads/main"])
    })
}

fn pushes(bench: &Bench<'_>, table: &mut Table) -> Result<()> {
    let work = work_tree(bench)?;
    let commit = |_: &Side<'_>, round: usize| {
        bench.git.commit(&work, "bench-file", &format!("round {round} {:?}\n", Instant::now()))
    };
    bench.measure(table, "small push, git", commit, |side, _| {
        timed_git(bench.git, &work, &["push", "--quiet", &side.url, "HEAD:refs/heads/bench"])
    })
}

fn work_tree(bench: &Bench<'_>) -> Result<PathBuf> {
    let (folder, source) = (bench.git.path("bench-work"), bench.history.to_str().context("path")?);
    if !folder.exists() {
        let arguments = ["clone", "--quiet", "--shared", "--branch", "main", source, "bench-work"];
        bench.git.ok(&bench.git.path(""), &arguments)?;
    }
    Ok(folder)
}

fn timed_git(git: &Git, folder: &std::path::Path, arguments: &[&str]) -> Result<Duration> {
    let started = Instant::now();
    git.ok(folder, arguments)?;
    Ok(started.elapsed())
}

/// Requests to the store for one operation each, counted by the server where they leave it.
pub(crate) fn store_requests(bench: &Bench<'_>, server: &Server, table: &mut Table) -> Result<()> {
    let work = work_tree(bench)?;
    let main = bench.id("refs/heads/main")?;
    let counted = |operation: &dyn Fn() -> Result<()>| -> Result<(f64, f64)> {
        let count = |label: &str| server.metric("codekeep_store_requests_total", label);
        let (creates, all) = (count("operation=\"create\"")?, count("")?);
        operation()?;
        // What happens after the answer (hint, folding) is not the client's wait, but it is counted.
        Ok((count("operation=\"create\"")? - creates, count("")? - all))
    };
    let side = &bench.ours;
    let (_, listing) = counted(&|| side.raw.ls_refs(&["refs/heads/main"]).map(|_| ()))?;
    table.bar("store requests of an ls-refs", &format!("{listing}"), listing <= 1.0, "1");
    let (_, fetch) = counted(&|| side.raw.fetch(std::slice::from_ref(&main), std::slice::from_ref(&main)).map(|_| ()))?;
    table.bar("store requests of a fetch, warm", &format!("{fetch}"), fetch <= 1.0, "1");
    bench.git.commit(&work, "counted-file", "counted\n")?;
    let (creates, push) =
        counted(&|| bench.git.ok(&work, &["push", "--quiet", &side.url, "HEAD:refs/heads/counted"]).map(|_| ()))?;
    let note = format!("{push}, of which {creates} create");
    table.bar(
        "store requests of a small push with its advertisement",
        &note,
        push <= 3.0,
        "at most 2 in sequence after the advertisement's 1",
    );
    Ok(())
}

/// How far anonymous memory rises while a clone runs.
pub(crate) fn memory_of_a_clone(bench: &Bench<'_>, server: &Server) -> Result<u64> {
    let (tips, pid) = (tips(bench)?, server.pid());
    let before = process::memory(pid, "RssAnon")?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<u64> {
        let watcher = scope.spawn(|| {
            let mut peak = before;
            while !done.load(Ordering::Relaxed) {
                peak = peak.max(process::memory(pid, "RssAnon").unwrap_or(0));
                std::thread::sleep(Duration::from_millis(1));
            }
            peak
        });
        let fetched = bench.ours.raw.fetch(&tips, &[]);
        done.store(true, Ordering::Relaxed);
        fetched?;
        let peak = watcher.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))?;
        Ok(peak.saturating_sub(before))
    })
}
