//! How long calls take, and how fast packs move.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use tokio::time::Instant;

use super::report::{Finding, Measure};
use super::site::{LocalFiles, Site, write};
use super::{Checked, Refusal};
use crate::object::{Create, StoreError};

/// Calls of a kind, and how long they may go on.
const CALLS: u32 = 100;
const LISTINGS: u32 = 20;
const PATIENCE: Duration = Duration::from_secs(5);
/// A store whose calls take longer is worth a word.
const SLOW: Duration = Duration::from_millis(500);
/// Bytes of a file whose transfer is timed.
const FILE: u32 = 16 << 20;
/// Files that move at the same time.
const CONNECTIONS: u32 = 4;
/// Less than so many MB/s is worth a word.
const SLUGGISH: f64 = 2.0;

/// The calls that fetches and pushes wait for.
pub(super) async fn latency(site: &Site<'_>) -> Checked {
    let store = site.store;
    let (missing, small) = (site.key("missing"), site.key("small"));
    store.put(&small, Bytes::from_static(b"small")).await?;
    let mut kinds = Vec::new();
    kinds.push(("get-missing", timed(CALLS, |_| async { store.get(&missing).await.map(drop) }).await?));
    kinds.push(("get", timed(CALLS, |_| async { store.get(&small).await.map(drop) }).await?));
    let create = |number| {
        let key = site.key(&format!("timed/{number:020}"));
        async move { created(store.create(&key, Bytes::from_static(b"an entry")).await) }
    };
    kinds.push(("create", timed(CALLS, create).await?));
    let prefix = site.key("timed/");
    kinds.push(("list", timed(LISTINGS, |_| async { store.list(&prefix, None, 1_000).await.map(drop) }).await?));

    let (mut found, mut measures, mut slow) = ("p50/p99 in ms:".to_owned(), Vec::new(), false);
    for (name, times) in &kinds {
        let (half, most) = (percentile(times, 50), percentile(times, 99));
        slow |= half > SLOW;
        let comma = if measures.is_empty() { "" } else { "," };
        let _ = write!(found, "{comma} {name} {:.1}/{:.1}", milliseconds(half), milliseconds(most));
        measures.push(Measure::new(format!("{name}.p50"), milliseconds(half), "ms"));
        measures.push(Measure::new(format!("{name}.p99"), milliseconds(most), "ms"));
    }
    let finding = if slow {
        Finding::warning(
            found,
            "serve from the store's own region or rack: a read waits for one GET, a push for one create",
        )
    } else {
        Finding::ok(found)
    };
    Ok(finding.with(measures))
}

/// A create that got no clear answer took its time all the same.
fn created(answer: Result<Create, StoreError>) -> Result<(), StoreError> {
    match answer {
        Ok(_) | Err(StoreError::Unknown { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Times calls, one after the other; sorted.
async fn timed<F: Future<Output = Result<(), StoreError>>>(
    calls: u32,
    call: impl Fn(u32) -> F,
) -> Result<Vec<Duration>, Refusal> {
    let (begun, mut times) = (Instant::now(), Vec::new());
    for number in 0..calls {
        let start = Instant::now();
        call(number).await?;
        times.push(start.elapsed());
        if begun.elapsed() > PATIENCE {
            break;
        }
    }
    times.sort();
    Ok(times)
}

/// The time that so many of a hundred calls did not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

/// Packs, up and down, by one connection and by several.
pub(super) async fn throughput(site: &Site<'_>) -> Checked {
    let files = LocalFiles::new()?;
    write(&files.path("up"), &site.noise(FILE as usize)).await?;
    let (mut found, mut measures, mut slow) = (String::new(), Vec::new(), false);
    for connections in [1, CONNECTIONS] {
        let names = || (0..connections).map(move |number| format!("moved-{connections}-{number}"));
        let start = Instant::now();
        try_join_all(names().map(|name| {
            let (key, file) = (site.key(&name), files.path("up"));
            async move { site.store.upload(&key, &file).await }
        }))
        .await?;
        let up = start.elapsed();
        let start = Instant::now();
        try_join_all(names().map(|name| {
            let (key, file) = (site.key(&name), files.path(&name));
            async move { site.store.download(&key, &file, FILE.into()).await }
        }))
        .await?;
        let down = start.elapsed();
        let (up, down) = (megabytes_per_second(connections, up), megabytes_per_second(connections, down));
        slow |= up.min(down) < SLUGGISH;
        let by = if connections == 1 { "MB/s by one connection" } else { "; by four at once" };
        let _ = write!(found, "{by}: {up:.0} up, {down:.0} down");
        measures.push(Measure::new(format!("up.{connections}"), up, "MB/s"));
        measures.push(Measure::new(format!("down.{connections}"), down, "MB/s"));
    }
    let finding = if slow {
        Finding::warning(found, "clones of large repositories and first pushes will take long: look at the network")
    } else {
        Finding::ok(found)
    };
    Ok(finding.with(measures))
}

fn megabytes_per_second(files: u32, time: Duration) -> f64 {
    let megabytes = f64::from(files) * f64::from(FILE) / 1e6;
    (megabytes / time.as_secs_f64().max(1e-9) * 10.0).round() / 10.0
}
