//! What one bucket has damaged is found, and comes back from another one: by `codekeep store verify`, and by servers that scrub.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tests::{Manifests, Server, wait};

use super::site::{Place, STORES, Site, told};
use crate::bed::REPOSITORY;

/// A scrub of so little takes no time; the server waits a little after its start.
const SOON: Duration = Duration::from_mins(2);

/// Damages a copy; gives what it was.
fn damage(place: &Place, key: &str) -> Result<Bytes> {
    let whole = place.read(key)?;
    let mut bytes = whole.to_vec();
    let at = bytes.len() / 2;
    bytes[at] ^= 0xff;
    place.write(key, bytes.into())?;
    Ok(whole)
}

/// Each bucket in turn has a damaged pack and a damaged entry. In the end a server on each alone serves everything.
pub(crate) fn mended(places: Vec<Place>, replication: &str) -> Result<()> {
    let mut site = Site::start(places, replication)?;
    let work = site.git.clone(&site.url(0), "work")?;
    // Too large for an entry of the log.
    let noise = (0..60_000_u64).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_string());
    let noise = noise.collect::<Vec<_>>().join("\n");
    site.git.commit(&work, "large", &noise)?;
    site.git.ok(&work, &["push", "--quiet", "origin", "HEAD:main"])?;
    let tip = site.git.head(&work)?;
    let all: Vec<usize> = (0..site.places.len()).collect();
    site.in_step(&all)?;
    let sound = site.verify(&[])?;
    ensure!(sound.status.code() == Some(0), "{}", told(&sound));
    for at in &all {
        let (place, store) = (&site.places[*at], STORES[*at]);
        let pack = place.packs()?.pop().context("no pack was pushed")?;
        let entry = place.log()?.entries.remove(&1).context("no entry")?.0;
        let whole = [&pack, &entry].map(|key| damage(place, key).map(|bytes| (key.clone(), bytes)));
        let found = site.verify(&[])?;
        ensure!(found.status.code() == Some(1), "'{store}': {}", told(&found));
        for key in [&pack, &entry] {
            ensure!(told(&found).contains(&format!("{key} ")) && told(&found).contains(store), "{}", told(&found));
        }
        let repaired = site.verify(&["--repair"])?;
        ensure!(repaired.status.code() == Some(0), "'{store}': {}", told(&repaired));
        for whole in whole {
            let (key, bytes) = whole?;
            ensure!(place.read(&key)? == bytes, "{key} in '{store}' is not what it was: {}", told(&repaired));
        }
        let checked = site.fsck(*at)?;
        ensure!(checked.status.success(), "codekeep fsck of '{store}': {}", told(&checked));
    }
    scrubbed(&mut site)?;
    for at in all {
        alone(&site, at, &tip).with_context(|| format!("'{}' alone", STORES[at]))?;
    }
    Ok(())
}

/// A server that scrubs all the time needs nobody to ask it.
fn scrubbed(site: &mut Site) -> Result<()> {
    site.running.clear();
    let place = &site.places[0];
    let pack = place.packs()?.pop().context("no pack")?;
    let whole = damage(place, &pack)?;
    let options = site.options(0).with(&["--maintenance-interval", "2s", "--scrub-interval", "1s"]);
    let server = Server::start(options)?;
    wait::until("a pack that is mended", SOON, || Ok((place.read(&pack)? == whole).then_some(())))
        .with_context(|| server.log())?;
    wait::until("the count", SOON, || {
        let mended = server.metric("codekeep_maintenance_done_total", "task=\"scrub-mended\"")?;
        Ok((mended >= 1.0).then_some(()))
    })?;
    ensure!(server.log().contains("a copy was written anew from another store's"), "{}", server.log());
    Ok(())
}

/// A server that knows of no other bucket.
fn alone(site: &Site, at: usize, tip: &str) -> Result<()> {
    let manifests = Manifests::standard()?;
    let server = Server::start(site.alone(&manifests, at))?;
    let name = format!("alone-{at}");
    let clone = site.git.clone(&server.url("alice", REPOSITORY), &name)?;
    site.git.fsck(&clone)?;
    ensure!(site.git.head(&clone)? == tip, "it is at another commit");
    Ok(())
}
