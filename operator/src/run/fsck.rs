//! `codekeep fsck`: everything that stores hold, verified down to the hash of every object. Exit code 0: sound; 1: something is
//! wrong; 2: not everything could be checked.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use model::RepositoryPath;
use store::{CheckReport, PushCertificate, Repositories};

use super::one::{self, say};
use crate::args::FsckArgs;

const DAMAGED: u8 = 1;
const NOT_CHECKED: u8 = 2;

/// Checks the named repositories, or all.
pub(crate) async fn run(args: FsckArgs) -> anyhow::Result<ExitCode> {
    match check_stores(&args).await {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::from(DAMAGED)),
        Err(error) => {
            tracing::error!("{error:#}");
            Ok(ExitCode::from(NOT_CHECKED))
        }
    }
}

/// Whether all is sound.
async fn check_stores(args: &FsckArgs) -> anyhow::Result<bool> {
    let stores = one::open(&args.stores, args.manifests.as_deref()).await?;
    let (mut sound, mut checked) = (true, Vec::new());
    for (name, repositories) in &stores {
        let in_store = format!("in the store '{name}'");
        let paths = match args.repositories.as_slice() {
            [] => repositories.list().await.with_context(|| format!("failed to list the repositories {in_store}"))?,
            named => named.to_vec(),
        };
        for path in paths {
            tracing::info!(repo.name = %path, "checking");
            let report = repositories.check(&path).await;
            let report = report.with_context(|| format!("failed to check {path} {in_store}"))?;
            if let Some(report) = report {
                print(&path, &report)?;
                if args.certificates {
                    let printed = certificates(repositories, &path).await;
                    printed.with_context(|| format!("failed to read the certificates of {path} {in_store}"))?;
                }
                sound &= report.problems.is_empty();
                checked.push(path);
            }
        }
    }
    if let Some(missing) = args.repositories.iter().find(|path| !checked.contains(path)) {
        bail!("no store holds the repository {missing}");
    }
    if checked.is_empty() {
        say("the catalog lists no repository: nothing to check")?;
    }
    Ok(sound)
}

fn print(path: &RepositoryPath, report: &CheckReport) -> anyhow::Result<()> {
    let CheckReport { entries, references, packs, objects, bytes, lfs_objects, problems, mended } = report;
    let verdict = if problems.is_empty() { "ok".to_owned() } else { format!("{} problems", problems.len()) };
    let large = if *lfs_objects > 0 { format!(", {lfs_objects} LFS objects") } else { String::new() };
    say(&format!(
        "{path}: {verdict} ({entries} entries, {references} references, {objects} objects in {packs} packs, {bytes} bytes{large})"
    ))?;
    problems.iter().try_for_each(|problem| say(&format!("  {problem}")))?;
    mended.iter().try_for_each(|line| say(&format!("  the last verification by the servers: {line}")))
}

/// Prints what clients have signed, oldest first, as far back as the log goes.
async fn certificates(repositories: &Repositories, path: &RepositoryPath) -> anyhow::Result<()> {
    let Some(id) = repositories.find(path).await? else { return Ok(()) };
    let repository = repositories.open(&id).await?;
    let snapshot = repository.snapshot().await?;
    for generation in snapshot.upkeep.truncated + 1..=snapshot.generation {
        for PushCertificate { generation, time, actor, request_id, text } in
            repository.certificates_of(generation).await?
        {
            say(&format!(
                "{path}: certificate of entry {generation}, {time}, pushed by {actor}, request {request_id}"
            ))?;
            // It was sent by a client: nothing of it may move a cursor.
            let plain = text.to_string().replace(|c: char| c.is_control() && c != '\n', "\u{fffd}");
            say(plain.trim_end_matches('\n'))?;
        }
    }
    Ok(())
}
