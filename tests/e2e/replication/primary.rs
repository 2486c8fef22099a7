//! The primary store is lost, moves, comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::way::Traffic;
use tests::{Server, wait};

use super::fault::Fault;
use super::load::{self, PATIENCE};
use super::replica::tell;
use super::site::{Place, Site, told};
use crate::bed::REPOSITORY;

const DEFAULT: usize = 0;
const FAR: usize = 1;
/// From the end of a promotion to a push through each server. The benchmark holds releases against 2 s; this machine has other work.
const PROMOTED: Duration = Duration::from_mins(1);
/// Reads go on within this time after the primary went: a request that is not answered has to be given up first.
const READS: Duration = Duration::from_mins(1);
/// Time in which servers look at every store at least once.
const LOOKED: Duration = Duration::from_secs(40);
const LAG: &str = "codekeep_replication_lag_entries";

/// Whether a story goes on until the old primary has come back as a replica, which takes a minute more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Return {
    Waited,
    Left,
}

/// Under load the primary dies for good; another one is promoted; both servers follow, and all acknowledged pushes are there.
pub(crate) fn killed_for_good(places: Vec<Place>, replication: &str, old: Return) -> Result<()> {
    let site = Site::start(places, replication)?;
    let (times, record) = load::during(&site, |load| {
        load.go_on(Duration::from_secs(3))?;
        Fault::Killed.befall(&site.places[DEFAULT])?;
        let killed = Instant::now();
        std::thread::sleep(Duration::from_secs(1));
        let asked = Instant::now();
        site.promoted("far", &[])?;
        let promoted = Instant::now();
        let longest = load.pushes_end(promoted, PROMOTED)?;
        load.reads_go_on(killed, READS)?;
        load.go_on(Duration::from_secs(4))?;
        Ok((promoted - asked, longest))
    })?;
    let shown = site.agree()?;
    record.nothing_lost(&shown)?;
    record.nothing_stale()?;
    if old == Return::Waited {
        serves_without(&site, &shown)?;
        Fault::Killed.end(&site.places[DEFAULT])?;
        returned(&site, &shown)?;
        site.same_and_sound(&[2, FAR, DEFAULT])?;
    }
    let (took, longest) = times;
    tell(&format!("promoted in {took:.2?}, pushes through both after {longest:.2?}; {} pushes", record.pushes.len()));
    Ok(())
}

/// One store is lost for good; the primary moves between the others, without anybody who accepts a loss.
pub(crate) fn moves_without_a_third(places: Vec<Place>, replication: &str) -> Result<()> {
    let site = Site::start(places, replication)?;
    let ((), record) = load::during(&site, |load| {
        load.go_on(Duration::from_secs(2))?;
        Fault::Killed.befall(&site.places[DEFAULT])?;
        for to in ["far", "third", "far"] {
            site.promoted(to, &[])?;
            load.pushes_go_on(Instant::now(), PROMOTED).with_context(|| format!("after the move to '{to}'"))?;
        }
        Ok(())
    })?;
    record.nothing_lost(&site.agree()?)?;
    record.nothing_stale()?;
    Fault::Killed.end(&site.places[DEFAULT])?;
    site.same_and_sound(&[FAR, 2, DEFAULT])
}

/// A server that begins now serves the same, although a store that it is told of does not answer.
fn serves_without(site: &Site, shown: &BTreeMap<String, String>) -> Result<()> {
    let late = Server::start(site.options(0)).context("a new server, while the old primary is away")?;
    let found = site.git.remote_refs(&late.url("alice", REPOSITORY))?;
    let lacking =
        shown.iter().find(|(name, id)| name.starts_with("refs/heads/") && !found.contains(&format!("{id} {name}\n")));
    ensure!(lacking.is_none(), "a new server does not show {lacking:?}");
    Ok(())
}

/// The old primary answers again: whatever it holds beyond the end of its time, what is shown stays, and pushes go on.
fn returned(site: &Site, shown: &BTreeMap<String, String>) -> Result<()> {
    let began = Instant::now();
    let ((), record) = load::during(site, |load| load.go_on(LOOKED.saturating_sub(began.elapsed())))?;
    let after = site.agree()?;
    record.nothing_lost(&after)?;
    let gone = shown.keys().find(|name| !after.contains_key(*name));
    ensure!(gone.is_none(), "{gone:?} is gone since the old primary is back");
    Ok(())
}

/// Under load a primary dies whose replica is behind: what was not copied is lost when somebody accepts that, and nothing else.
pub(crate) fn loss_is_accepted(places: Vec<Place>, replication: &str) -> Result<()> {
    let site = Site::start(places, replication)?;
    let (lag, record) = load::during(&site, |load| {
        load.go_on(Duration::from_secs(3))?;
        site.places[FAR].set(Traffic::Blocked);
        load.go_on(Duration::from_secs(4))?;
        let lag =
            wait::until("a lag that is shown", PATIENCE, || Ok(Some(site.most(LAG, "far")?).filter(|lag| *lag > 0.0)))?;
        load.go_on(Duration::from_secs(2))?;
        Ok(lag)
    })?;
    // Nobody pushes any more: what is shown now is what would be lost.
    let shown_lag =
        wait::until("the whole lag", PATIENCE, || Ok(Some(site.most(LAG, "far")?).filter(|now| *now >= lag)))?;
    let before = site.agree()?;
    record.nothing_lost(&before)?;
    let left = site.places[DEFAULT].log()?;
    Fault::Killed.befall(&site.places[DEFAULT])?;
    site.places[FAR].set(Traffic::Flowing);

    let refused = site.promote("far", &[])?;
    ensure!(!refused.status.success(), "a loss was not asked about: {}", told(&refused));
    ensure!(told(&refused).contains("accept the loss"), "it does not say what to do: {}", told(&refused));
    let copied = site.places[FAR].log()?;
    let behind = left.entries.len() - copied.entries.len();
    ensure!(behind > 0, "the replica was not behind: this proves nothing");
    site.promoted("far", &["--accept-loss"])?;
    wait::until("servers that follow", PROMOTED, || {
        Ok((0..site.running.len()).all(|server| site.raw(server).ls_refs(&["refs/"]).is_ok()).then_some(()))
    })?;
    let after = site.agree()?;
    let lost = record.lost(&after)?;
    #[expect(clippy::cast_precision_loss, reason = "a count of entries")]
    let entries = behind as f64;
    ensure!(!lost.is_empty(), "nothing was lost, although {entries} entries were not copied");
    ensure!(entries <= shown_lag, "{entries} entries were not copied, the lag shown was {shown_lag}");
    // What was copied is a beginning: nothing is there that was pushed after something that is not.
    let first = lost.iter().map(|push| push.ended).min().context("no time")?;
    let names: BTreeSet<&String> = lost.iter().map(|push| &push.name).collect();
    let later = record.pushes.iter().find(|push| push.began > first && !names.contains(&push.name));
    ensure!(later.is_none(), "{later:?} is there, and something that was acknowledged before it is not");

    // The old one comes back with what nobody serves any more.
    Fault::Killed.end(&site.places[DEFAULT])?;
    let gone: Vec<&String> = lost.iter().map(|push| &push.name).filter(|name| name.contains("/load/")).collect();
    let until = Instant::now() + LOOKED;
    while Instant::now() < until {
        for server in 0..site.running.len() {
            let shown = site.raw(server).ls_refs(&["refs/heads/load/"])?;
            let served = shown.iter().find(|(_, name)| gone.contains(&name));
            ensure!(served.is_none(), "server {server} serves what was left behind: {served:?}");
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    // It is a replica now, and what it had beyond is where it was.
    site.in_step(&[FAR, DEFAULT])?;
    let surplus = site.places[DEFAULT].log()?.surplus.len();
    ensure!(surplus == behind, "{surplus} of {behind} entries that were left behind are in the old primary");
    let logs = site.running.iter().map(Server::log).collect::<String>();
    ensure!(logs.contains("came too late: they stay there"), "nobody reports them: {logs}");
    again(&site, &gone)?;
    tell(&format!(
        "{} pushes in {entries} entries lost of {}, the lag shown was {shown_lag}",
        lost.len(),
        record.pushes.len()
    ));
    Ok(())
}

/// The old primary takes over again: what was made of the entries that it had beyond, such as checkpoints, is nothing that anybody reads.
fn again(site: &Site, gone: &[&String]) -> Result<()> {
    site.promoted("default", &[])?;
    let ((), record) = load::during(site, |load| load.go_on(Duration::from_secs(10)))?;
    for server in site.servers()? {
        let shown = site.git.remote_refs(&server.url("alice", REPOSITORY))?;
        let served = gone.iter().find(|name| shown.contains(&format!(" {name}\n")));
        ensure!(served.is_none(), "a new server serves what was left behind: {served:?}");
    }
    record.nothing_lost(&site.agree()?)?;
    site.same_and_sound(&[DEFAULT, FAR])
}

/// While the primary is away reads go on and show everything; pushes are refused in words, and go on when it is back.
pub(crate) fn away(places: Vec<Place>, replication: &str, faults: &[Fault]) -> Result<()> {
    let site = Site::start(places, replication)?;
    let ((), record) = load::during(&site, |load| {
        load.go_on(Duration::from_secs(2))?;
        for fault in faults {
            let note = || format!("the primary is {fault:?}");
            let began = Instant::now();
            fault.befall(&site.places[DEFAULT]).with_context(note)?;
            load.reads_go_on(began, READS).with_context(note)?;
            // Not only the first one: what was learnt is remembered.
            load.reads_go_on(Instant::now(), READS).with_context(note)?;
            fault.end(&site.places[DEFAULT]).with_context(note)?;
            load.pushes_go_on(Instant::now(), PATIENCE).with_context(|| format!("after {}", note()))?;
        }
        Ok(())
    })?;
    site.same_and_sound(&(0..site.places.len()).collect::<Vec<_>>())?;
    record.nothing_lost(&site.agree()?)?;
    record.nothing_stale()
}

/// Promotions with everything in its place: nothing is lost, both servers follow.
pub(crate) fn moves(places: Vec<Place>, replication: &str) -> Result<()> {
    let (site, mut notes) = (Site::start(places, replication)?, Vec::new());
    let ((), record) = load::during(&site, |load| {
        for to in ["far", "third", "default", "far"] {
            load.go_on(Duration::from_secs(3))?;
            let asked = Instant::now();
            site.promoted(to, &[])?;
            let took = asked.elapsed();
            let longest =
                load.pushes_go_on(Instant::now(), PROMOTED).with_context(|| format!("after the move to '{to}'"))?;
            notes.push(format!("to '{to}' in {took:.2?}, pushes after {longest:.2?}"));
        }
        load.go_on(Duration::from_secs(2))
    })?;
    record.nothing_lost(&site.agree()?)?;
    record.nothing_stale()?;
    site.same_and_sound(&(0..site.places.len()).collect::<Vec<_>>())?;
    tell(&format!("{} pushes; {}", record.pushes.len(), notes.join("; ")));
    Ok(())
}

/// `spec.replication.primary` moves it, and back.
pub(crate) fn moves_by_manifest(places: Vec<Place>) -> Result<()> {
    let manifest = |primary: &str| format!("{{mode: Synchronous, stores: [far], primary: {primary}}}");
    let site = Site::start(places, &manifest("default"))?;
    let ((), record) = load::during(&site, |load| {
        for (number, to) in ["far", "default"].into_iter().enumerate() {
            let before = site.places[FAR].log()?.epochs;
            site.replicate(&manifest(to))?;
            wait::until("another epoch", LOOKED, || Ok((site.places[FAR].log()?.epochs > before).then_some(())))
                .with_context(|| format!("move {number} to '{to}'"))?;
            load.pushes_go_on(Instant::now(), PROMOTED)?;
        }
        load.go_on(Duration::from_secs(2))
    })?;
    record.nothing_lost(&site.agree()?)?;
    record.nothing_stale()?;
    site.same_and_sound(&[DEFAULT, FAR])
}

/// The operator and one server cannot reach the primary and promote another; a second server reaches it all the while. Whatever that
/// one acknowledges is there in the end, because the replicas' logs are closed.
pub(crate) fn two_sides(places: Vec<Place>, replication: &str) -> Result<()> {
    const REACHES_IT: usize = 1;
    let site = Site::start(places, replication)?;
    let ((), record) = load::during(&site, |load| {
        load.go_on(Duration::from_secs(2))?;
        site.places[DEFAULT].set(Traffic::Cut);
        site.places[DEFAULT].set_from(REACHES_IT, Traffic::Flowing);
        std::thread::sleep(Duration::from_secs(2));
        site.promoted("far", &[])?;
        load.pushes_go_on(Instant::now(), PATIENCE).context("through both servers, after the promotion")?;
        load.go_on(Duration::from_secs(3))?;
        site.places[DEFAULT].set(Traffic::Flowing);
        load.go_on(Duration::from_secs(3))
    })?;
    let shown = site.agree()?;
    record.nothing_lost(&shown)?;
    record.nothing_stale()?;
    site.same_and_sound(&[FAR, DEFAULT, 2])
}
