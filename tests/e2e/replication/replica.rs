//! A replica is lost and comes back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;

use super::fault::Fault;
use super::load::{self, Load, PATIENCE};
use super::site::{Place, SERVERS, STORES, Site, told};

/// How long a fault lasts.
const FAULT: Duration = Duration::from_secs(8);
/// Longest time without a push through each server while a replica is lost: what is not needed is not waited for.
const PAUSE: Duration = Duration::from_secs(5);

/// Pushes and clones go on through each of these faults, and the replica gets what it missed.
pub(crate) fn comes_and_goes(places: Vec<Place>, replication: &str, faults: &[(usize, Fault)]) -> Result<()> {
    let (site, mut notes) = (Site::start(places, replication)?, Vec::new());
    let ((), record) = load::during(&site, |load| {
        for (at, fault) in faults {
            let note = || format!("'{}' is {fault:?}", STORES[*at]);
            let began = Instant::now();
            fault.befall(&site.places[*at]).with_context(note)?;
            notes.push(format!("{}: {}", note(), through(load, began).with_context(note)?));
            fault.end(&site.places[*at]).with_context(note)?;
            load.pushes_go_on(Instant::now(), PATIENCE).with_context(|| format!("after {}", note()))?;
        }
        Ok(())
    })?;
    site.same_and_sound(&(0..site.places.len()).collect::<Vec<_>>())?;
    let shown = site.agree()?;
    record.nothing_lost(&shown)?;
    record.nothing_stale()?;
    ensure!(record.clones >= faults.len(), "only {} clones", record.clones);
    tell(&format!("{} pushes, {} clones; {}", record.pushes.len(), record.clones, notes.join("; ")));
    Ok(())
}

/// The fault lasts a while, in which pushes and clones go on.
fn through(load: &Load<'_>, began: Instant) -> Result<String> {
    let before = load.acknowledged();
    let longest = load.pushes_go_on(began, PAUSE)?;
    load.go_on(FAULT.saturating_sub(began.elapsed()))?;
    load.pushes_go_on(Instant::now(), PAUSE).context("later")?;
    load.reads_go_on(began, PATIENCE)?;
    Ok(format!("{} pushes meanwhile, the first after {longest:.2?}", load.acknowledged() - before))
}

/// Bytes of a replica change: people never get them, whatever the servers read, and `codekeep fsck` tells.
pub(crate) fn damaged(places: Vec<Place>, replication: &str) -> Result<()> {
    const DAMAGED: usize = 1;
    let site = Site::start(places, replication)?;
    let place = &site.places[DAMAGED];
    let ((), record) = load::during(&site, |load| {
        let began = Instant::now();
        // Small packs lie inside of entries; a large one comes now and then.
        while began.elapsed() < PATIENCE && (began.elapsed() < FAULT || place.packs()?.is_empty()) {
            load.go_on(Duration::from_secs(1))?;
        }
        Ok(())
    })?;
    site.same_and_sound(&[0, 1, 2])?;
    let entries = place.log()?.entries;
    let (packs, middle) = (place.packs()?, entries[&(entries.len() as u64 / 2)].0.clone());
    ensure!(!packs.is_empty(), "no pack was pushed");
    let originals: Vec<(String, Bytes)> =
        packs.into_iter().chain([middle]).map(|key| Ok((key.clone(), place.read(&key)?))).collect::<Result<_>>()?;
    for (key, bytes) in &originals {
        let mut bytes = bytes.to_vec();
        let at = bytes.len() / 2;
        bytes[at] ^= 0xff;
        place.write(key, bytes.into())?;
    }
    let checked = site.fsck(DAMAGED)?;
    ensure!(checked.status.code() == Some(1), "codekeep fsck does not see it: {}", told(&checked));

    // With the primary away, servers that know nothing have to read elsewhere: what they say is right or an error.
    let cold = site.servers()?;
    Fault::Cut.befall(&site.places[0])?;
    let mut sound = 0;
    for (number, server) in cold.iter().enumerate() {
        let (url, name) = (server.url("alice", crate::bed::REPOSITORY), format!("from-replica-{number}.git"));
        if site.git.run(&site.git.path(""), &["clone", "--quiet", "--mirror", &url, &name])?.ok {
            site.git.fsck(&site.git.path(&name))?;
            let lines = site.git.refs(&site.git.path(&name))?;
            let pair = |line: &str| line.split_once(' ').map(|(id, name)| (name.to_owned(), id.to_owned()));
            record.nothing_lost(&lines.lines().filter_map(pair).collect())?;
            sound += 1;
        }
        ensure!(!server.log().contains("panicked"), "{}", server.log());
    }
    tell(&format!("{sound} of {SERVERS} clones came from elsewhere"));
    Fault::Cut.end(&site.places[0])?;

    let ((), _) = load::during(&site, |load| load.go_on(Duration::from_secs(3)))?;
    for (key, bytes) in originals {
        site.places[DAMAGED].write(&key, bytes)?;
    }
    site.same_and_sound(&[0, 1, 2])?;
    record.nothing_lost(&site.agree()?)
}

/// Servers start on what is there.
pub(crate) fn away_at_the_start(places: Vec<Place>, replication: &str) -> Result<()> {
    let mut site = Site::start(places, replication)?;
    site.running.clear();
    Fault::Killed.befall(&site.places[1])?;
    site.running = site.servers().context("while a replica is away")?;
    let ((), record) = load::during(&site, |load| load.go_on(Duration::from_secs(3)))?;
    Fault::Killed.end(&site.places[1])?;
    site.same_and_sound(&[0, 1, 2])?;
    record.nothing_lost(&site.agree()?)
}

/// For whoever reads the log of a run.
#[expect(clippy::print_stderr, reason = "figures of the test run")]
pub(crate) fn tell(text: &str) {
    eprintln!("{text}");
}
