//! `codekeep store verify`: what the stores of repositories hold, compared and, if asked to, mended (ADR 0021). Exit code 0: all is sound;
//! 1: something is wrong; 2: not everything could be read.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use model::RepositoryPath;
use store::{StoreReport, Surplus, Verified};

use super::one::{self, Opened, say};
use super::promote::all;
use crate::args::{DEFAULT_STORE, VerifyArgs};

const WRONG: u8 = 1;
const NOT_READ: u8 = 2;

/// What is known after some repositories; the worst counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Sound,
    Wrong,
    NotRead,
}

/// Verifies one repository after the other.
pub(crate) async fn run(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    match verify_all(&args).await {
        Ok(Verdict::Sound) => Ok(ExitCode::SUCCESS),
        Ok(Verdict::Wrong) => Ok(ExitCode::from(WRONG)),
        Ok(Verdict::NotRead) => Ok(ExitCode::from(NOT_READ)),
        Err(error) => {
            tracing::error!("{error:#}");
            Ok(ExitCode::from(NOT_READ))
        }
    }
}

async fn verify_all(args: &VerifyArgs) -> anyhow::Result<Verdict> {
    let given: BTreeSet<&str> = args.stores.store.iter().map(|store| store.name.as_str()).collect();
    ensure!(given.len() > 1, "give all stores of the repositories, each as --store NAME=URL");
    let home = if given.contains(DEFAULT_STORE) { DEFAULT_STORE } else { args.stores.store[0].name.as_str() };
    let known = one::open_all(&args.stores, args.manifests.as_deref()).await?;
    let paths = match (&args.repositories[..], known.repositories()) {
        ([], Some(of_manifests)) => of_manifests,
        ([], None) => all(&known.stores, home).await?,
        (named, _) => named.to_vec(),
    };
    let mut verdict = Verdict::Sound;
    for path in paths {
        verdict = verdict.max(verify(&known, &path, home, args).await?);
    }
    Ok(verdict)
}

/// One repository; what cannot be read of it does not keep the others.
async fn verify(known: &Opened, path: &RepositoryPath, home: &str, args: &VerifyArgs) -> anyhow::Result<Verdict> {
    let home = known.home(path).unwrap_or_else(|| home.to_owned());
    let store = known.stores.get(&home).with_context(|| format!("there is no store '{home}'; give it as --store"))?;
    tracing::info!(repo.name = %path, "verifying");
    match store.verify(path, args.repair).await {
        Ok(Some(found)) => {
            let is_wanted_everywhere = args.manifests.is_some();
            print(path, &found, is_wanted_everywhere)?;
            Ok(found.stores.iter().map(|store| judged(store, is_wanted_everywhere)).max().unwrap_or(Verdict::Sound))
        }
        Ok(None) if args.repositories.is_empty() => {
            say(&format!("{path}: no store has it; nobody has pushed to it yet"))?;
            Ok(Verdict::Sound)
        }
        Ok(None) => {
            tracing::error!(repo.name = %path, "no store holds it");
            Ok(Verdict::NotRead)
        }
        Err(error) => {
            tracing::error!(repo.name = %path, %error, "not verified");
            Ok(Verdict::NotRead)
        }
    }
}

fn judged(report: &StoreReport, is_wanted_everywhere: bool) -> Verdict {
    match &report.away {
        _ if report.is_absent && !is_wanted_everywhere => Verdict::Sound,
        _ if report.is_absent => Verdict::Wrong,
        Some(_) => Verdict::NotRead,
        None if report.problems.is_empty() && report.behind == 0 => Verdict::Sound,
        None => Verdict::Wrong,
    }
}

fn print(path: &RepositoryPath, found: &Verified, is_wanted_everywhere: bool) -> anyhow::Result<()> {
    for (at, report) in found.stores.iter().enumerate().filter(|(_, store)| is_wanted_everywhere || !store.is_absent) {
        let StoreReport { store, generation, behind, objects, problems, mended, surplus, is_absent: _, away } = report;
        let role = if at == 0 { ", the primary store" } else { "" };
        let verdict = match away {
            Some(reason) => format!("not read: {reason}"),
            None if problems.is_empty() && *behind == 0 => "ok".to_owned(),
            None => format!("{} problems", problems.len() + usize::from(*behind > 0)),
        };
        say(&format!("{path} in '{store}'{role}: {verdict} ({objects} objects read, at entry {generation})"))?;
        if *behind > 0 {
            say(&format!("  it does not have the last {behind} entries"))?;
        }
        mended.iter().try_for_each(|line| say(&format!("  repaired: {line}")))?;
        problems.iter().try_for_each(|line| say(&format!("  {line}")))?;
        told_of(surplus).map_or(Ok(()), |line| say(&line))?;
    }
    Ok(())
}

/// A line about what is too much, which is no problem.
fn told_of(surplus: &Surplus) -> Option<String> {
    let Surplus { entries, uploads, lfs, bytes } = *surplus;
    let parts = [
        (entries, "entries that came too late to count"),
        (uploads, "uploads that no entry names"),
        (lfs, "LFS objects that the primary store does not have"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    (!parts.is_empty()).then(|| format!("  beyond, which nobody is served: {} ({bytes} bytes)", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_the_worst_of_all_stores() {
        let sound = StoreReport::default();
        let with = |change: fn(&mut StoreReport)| {
            let mut report = sound.clone();
            change(&mut report);
            report
        };
        assert_eq!(judged(&sound, true), Verdict::Sound);
        assert_eq!(judged(&with(|report| report.behind = 1), true), Verdict::Wrong);
        assert_eq!(judged(&with(|report| report.problems.push("damaged".to_owned())), true), Verdict::Wrong);
        assert_eq!(judged(&with(|report| report.mended.push("mended".to_owned())), true), Verdict::Sound);
        assert_eq!(judged(&with(|report| report.away = Some("away".to_owned())), true), Verdict::NotRead);
        let absent = with(|report| (report.is_absent, report.away) = (true, Some("absent".to_owned())));
        assert_eq!((judged(&absent, true), judged(&absent, false)), (Verdict::Wrong, Verdict::Sound));
    }

    #[test]
    fn what_is_too_much_is_told_in_a_line() {
        assert_eq!(told_of(&Surplus::default()), None);
        let line = told_of(&Surplus { entries: 2, bytes: 900, ..Surplus::default() }).unwrap();
        assert_eq!(line, "  beyond, which nobody is served: 2 entries that came too late to count (900 bytes)");
    }
}
