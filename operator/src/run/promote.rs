//! `codekeep store promote`: another store becomes the primary one (ADR 0019).

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use model::RepositoryPath;
use store::{Loss, PromoteError, Promotion};

use super::one::{self, say};
use crate::args::{DEFAULT_STORE, PromoteArgs};
use crate::stores::Stores;

/// A repository stays where it is.
const NOT_ALL: u8 = 1;

/// Promotes one repository after the other; what goes wrong with one does not keep the others.
pub(crate) async fn run(args: PromoteArgs) -> anyhow::Result<ExitCode> {
    let given: BTreeSet<&str> = args.stores.store.iter().map(|store| store.name.as_str()).collect();
    ensure!(given.contains(&*args.to), "there is no store '{0}': give it as --store {0}=URL", args.to);
    ensure!(given.len() > 1, "give all stores of the repositories, each as --store NAME=URL");
    let home = if given.contains(DEFAULT_STORE) { DEFAULT_STORE } else { args.stores.store[0].name.as_str() };
    let known = one::open_all(&args.stores, args.manifests.as_deref()).await?;
    let paths = match &args.repositories[..] {
        [] => all(&known.stores, home).await?,
        named => named.to_vec(),
    };
    let loss = if args.accept_loss { Loss::Accept } else { Loss::Refuse };
    let mut is_good = true;
    for path in paths {
        let home = known.home(&path).unwrap_or_else(|| home.to_owned());
        let store =
            known.stores.get(&home).with_context(|| format!("there is no store '{home}'; give it as --store"))?;
        match store.promote(&path, &args.to, loss).await {
            Ok(promotion) => say(&format!("{path}: {}", told(&promotion, &args.to)))?,
            Err(error) => {
                let error = match error {
                    PromoteError::Unsafe(reason) => format!("{reason} (--accept-loss)"),
                    other => other.to_string(),
                };
                is_good = false;
                tracing::error!(repo.name = %path, error, "not promoted");
            }
        }
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(NOT_ALL) })
}

/// The repositories of the catalog, from the first store that answers.
pub(super) async fn all(stores: &Stores, home: &str) -> anyhow::Result<Vec<RepositoryPath>> {
    let mut failure = None;
    for (name, store) in stores.iter().filter(|(name, _)| *name == home).chain(stores.iter()) {
        match store.list().await {
            Ok(paths) => return Ok(paths),
            Err(error) => {
                failure = Some(anyhow::Error::new(error).context(format!("failed to list the store '{name}'")));
            }
        }
    }
    failure.map_or_else(|| Ok(vec![]), Err)
}

fn told(promotion: &Promotion, to: &str) -> String {
    let Promotion { epoch, primary, generation, was, is_new, left_behind } = promotion;
    match (is_new, was) {
        (true, was) => {
            let was = was.as_deref().unwrap_or("nobody");
            let rest = match left_behind {
                Some(_) => "nothing is lost".to_owned(),
                None => format!("'{was}' could not be asked; what it holds beyond stays there and is served to nobody"),
            };
            format!(
                "'{primary}' is the primary store now, from entry {} on (epoch {epoch}, it was '{was}'); {rest}",
                generation + 1
            )
        }
        (false, Some(_)) => {
            format!("somebody else has just made '{primary}' the primary store, and not '{to}' (epoch {epoch})")
        }
        (false, None) => format!("'{primary}' is the primary store already (epoch {epoch})"),
    }
}
