//! `codekeep store mirror`: a copy of a store in another one, once or all the time.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use model::clock::SystemRandom;
use prometheus::Registry;
use store::{Mirror, Mirrored, StoreMetrics};

use super::one::say;
use crate::args::MirrorArgs;

/// Something could not be copied, or would have to be.
const BEHIND: u8 = 1;

/// Copies; with `--every` until it is stopped.
pub(crate) async fn run(args: MirrorArgs) -> anyhow::Result<ExitCode> {
    ensure!(args.from.to_string() != args.to.to_string(), "source and copy are the same place");
    // What a run that was killed has left.
    let folder = args.cache.join("mirror");
    let emptied = std::fs::remove_dir_all(&folder).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    });
    emptied
        .and_then(|()| std::fs::create_dir_all(&folder))
        .with_context(|| format!("failed to prepare {}", folder.display()))?;
    let metrics = StoreMetrics::new(&Registry::new()).context("failed to register the store's metrics")?;
    let from = store::connect(&args.from, args.from_credentials.as_deref(), &metrics).await?;
    let to = store::connect(&args.to, args.to_credentials.as_deref(), &metrics).await?;
    if !args.dry_run {
        let proven = store::probe::prove(&*to, &SystemRandom).await;
        proven.with_context(|| format!("refused to copy to {}, which could not be served", args.to))?;
    }
    let mirror = Mirror::new(from, to, folder);
    if mirror.is_claimed().await.context("failed to ask the copy")? {
        bail!("{} belongs to a cluster, whose servers write there: it can be no copy (object 'owner')", args.to);
    }
    loop {
        let began = Instant::now();
        let is_good = round(&mirror, args.dry_run).await?;
        let Some(every) = args.every else {
            return Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(BEHIND) });
        };
        let rest = every.saturating_sub(began.elapsed()).max(Duration::from_millis(100));
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// All repositories, one after the other; what goes wrong with one does not keep the others.
async fn round(mirror: &Mirror, dry_run: bool) -> anyhow::Result<bool> {
    let mut is_good = true;
    for path in mirror.repositories().await.context("failed to list the repositories of the source")? {
        match mirror.copy(&path, dry_run).await {
            Ok(done) if done.is_same() => {}
            Ok(Mirrored { generation, entries, objects, bytes, deleted, left_behind }) => {
                if left_behind > 0 {
                    tracing::warn!(repo.name = %path, entries = left_behind, "the copy was the primary store, and holds entries that came too late");
                }
                is_good &= !dry_run;
                let would = if dry_run { "would have copied" } else { "copied" };
                say(&format!(
                    "{path}: {would} {entries} entries, {objects} objects of {bytes} bytes, deleted {deleted}; at entry {generation}"
                ))?;
            }
            Err(error) => {
                is_good = false;
                tracing::error!(repo.name = %path, %error, "not copied");
            }
        }
    }
    Ok(is_good)
}
