//! Clients that push as fast as they are answered, and one that reads all the while and checks that nothing is lost or reordered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use tests::session::{Pushed, Session, push_body};

use crate::pushes::Chain;
use crate::side::{Side, client_cpu};

/// The watcher's pause between two readings.
const PAUSE: Duration = Duration::from_millis(20);

/// A branch of a repository that a chain is pushed to; its first push creates it.
pub(crate) struct Branch<'a> {
    pub(crate) repository: String,
    pub(crate) name: String,
    pub(crate) chain: &'a Chain,
    /// Steps that were acknowledged.
    pub(crate) done: AtomicUsize,
}

impl Branch<'_> {
    /// The next push; `None` at the end of the chain.
    pub(crate) fn body(&self) -> Option<Vec<u8>> {
        let done = self.done.load(Ordering::SeqCst);
        let old = done.checked_sub(1).map(|last| self.chain[last].id.as_str());
        let step = self.chain.get(done)?;
        Some(push_body(old, &step.id, &self.name, &step.pack))
    }

    /// How many steps a tip is at.
    pub(crate) fn position(&self, tip: &str, ids: &HashMap<&str, usize>) -> Result<usize> {
        let at = ids.get(tip).with_context(|| format!("{} is at {tip}, which nobody pushed", self.name))?;
        Ok(at + 1)
    }
}

/// What a window of time brought.
#[derive(Debug, Default)]
pub(crate) struct Window {
    pub(crate) length: Duration,
    pub(crate) latencies: Vec<Duration>,
    pub(crate) server_cpu: Duration,
    pub(crate) client_cpu: Duration,
    /// Readings by the watcher, all of them in order.
    pub(crate) readings: usize,
}

impl Window {
    #[expect(clippy::cast_precision_loss, reason = "a count of pushes is far below 2^52")]
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.length.as_secs_f64()
    }
}

/// How the clients of a window push.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) length: Duration,
    /// Whether each push asks for the advertisement first, as git does.
    pub(crate) advertise: bool,
}

/// Lets one client per group of branches push for a while; a client goes round its branches.
pub(crate) fn push_for(side: &Side<'_>, groups: &[Vec<Branch<'_>>], load: Load) -> Result<Window> {
    let (cpu, client, started) = (side.cpu()?, client_cpu()?, Instant::now());
    let deadline = started + load.length;
    let latencies = std::thread::scope(|scope| -> Result<Vec<Duration>> {
        let clients: Vec<_> =
            groups.iter().map(|group| scope.spawn(|| client_of(side, group, deadline, load))).collect();
        let mut all = Vec::new();
        for client in clients {
            all.extend(client.join().map_err(|_| anyhow!("a client panicked"))??);
        }
        Ok(all)
    })?;
    let length = started.elapsed();
    let (server_cpu, client_cpu) = (side.cpu()?.saturating_sub(cpu), client_cpu()?.saturating_sub(client));
    Ok(Window { length, latencies, server_cpu, client_cpu, readings: 0 })
}

fn client_of(side: &Side<'_>, group: &[Branch<'_>], deadline: Instant, load: Load) -> Result<Vec<Duration>> {
    let (mut session, mut latencies) = (side.session(), Vec::new());
    for branch in group.iter().cycle() {
        if Instant::now() >= deadline {
            break;
        }
        let Some(body) = branch.body() else { break };
        let started = Instant::now();
        if load.advertise {
            session.advertisement(&branch.repository)?;
        }
        match session.push(&branch.repository, &body)? {
            Pushed::Accepted => latencies.push(started.elapsed()),
            Pushed::Refused(line) => bail!("{} refused a push to {}: {line}", side.name, branch.name),
        }
        branch.done.fetch_add(1, Ordering::SeqCst);
    }
    Ok(latencies)
}

/// As [`push_for`], into one repository, while a reader of `reader` checks each acknowledged push.
pub(crate) fn push_watched(
    side: &Side<'_>,
    reader: &Side<'_>,
    groups: &[Vec<Branch<'_>>],
    load: Load,
) -> Result<Window> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&mut reader.session(), groups, &over));
        let window = push_for(side, groups, load);
        over.store(true, Ordering::SeqCst);
        let readings = watcher.join().map_err(|_| anyhow!("the watcher panicked"))?;
        Ok(Window { readings: readings?, ..window? })
    })
}

/// Reads until it is over, and once more: what was acknowledged before a reading began is in it, and no branch ever goes back.
fn watch(session: &mut Session, groups: &[Vec<Branch<'_>>], over: &AtomicBool) -> Result<usize> {
    let branches: Vec<&Branch<'_>> = groups.iter().flatten().collect();
    let chain_positions: Vec<HashMap<&str, usize>> = branches.iter().map(|branch| positions(branch.chain)).collect();
    let by_name: HashMap<&str, usize> =
        branches.iter().enumerate().map(|(at, branch)| (branch.name.as_str(), at)).collect();
    let Some(repository) = branches.first().map(|branch| branch.repository.as_str()) else { return Ok(0) };
    let mut seen = vec![0; branches.len()];
    for reading in 1.. {
        let ending = over.load(Ordering::SeqCst);
        let least: Vec<usize> = branches.iter().map(|branch| branch.done.load(Ordering::SeqCst)).collect();
        let mut found = vec![0; branches.len()];
        for (id, name) in session.ls_refs(repository, "refs/heads/bench/")? {
            if let Some(at) = by_name.get(name.as_str()) {
                found[*at] = branches[*at].position(&id, &chain_positions[*at])?;
            }
        }
        for at in 0..branches.len() {
            let name = &branches[at].name;
            ensure!(
                found[at] >= least[at],
                "{name}: push {} was acknowledged, the reader sees {}",
                least[at],
                found[at]
            );
            ensure!(found[at] >= seen[at], "{name}: the reader saw push {}, and now sees {}", seen[at], found[at]);
            ensure!(!ending || found[at] == least[at], "{name}: at {} of {} in the end", found[at], least[at]);
        }
        seen = found;
        if ending {
            return Ok(reading);
        }
        std::thread::sleep(PAUSE);
    }
    Ok(0)
}

/// Where each commit of a chain is in it.
pub(crate) fn positions(chain: &Chain) -> HashMap<&str, usize> {
    chain.iter().enumerate().map(|(at, step)| (step.id.as_str(), at)).collect()
}
