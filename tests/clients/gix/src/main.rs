//! gix as a Git client: verbs on standard input, answers on standard output. See tests/clients/README.md.
//!
//! It fetches only: gix has no push and no filter.

use std::io::{BufRead as _, Write as _};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, Result};
use gix::progress::Discard;
use gix::remote::fetch::Shallow;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn main() -> Result<()> {
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split('\t').collect();
        let answer = match answer(&words) {
            Ok(Some(text)) => format!("ok\t{text}"),
            Ok(None) => "cannot\t".to_owned(),
            Err(error) => format!("no\t{error:#}"),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", answer.replace('\n', " "))?;
        out.flush()?;
    }
    Ok(())
}

/// None for what gix has no function for.
fn answer(words: &[&str]) -> Result<Option<String>> {
    match *words {
        ["clone", url, folder, depth, ""] => clone(url, folder.as_ref(), shallow(depth)?).map(Some),
        ["fetch", folder, depth] => fetch(folder.as_ref(), shallow(depth)?).map(Some),
        ["refs", url] => refs(url).map(Some),
        _ => Ok(None),
    }
}

fn shallow(depth: &str) -> Result<Shallow> {
    Ok(NonZeroU32::new(depth.parse()?).map_or(Shallow::NoChange, Shallow::DepthAtRemote))
}

fn clone(url: &str, folder: &Path, shallow: Shallow) -> Result<String> {
    let mut prepared = gix::prepare_clone(url, folder)?.with_shallow(shallow);
    let (mut checkout, _) = prepared.fetch_then_checkout(Discard, &INTERRUPTED)?;
    let (repository, _) = checkout.main_worktree(Discard, &INTERRUPTED)?;
    Ok(repository.head()?.id().map(|id| id.to_string()).unwrap_or_default())
}

fn fetch(folder: &Path, shallow: Shallow) -> Result<String> {
    let repository = gix::open(folder)?;
    let remote = repository.find_remote("origin")?;
    let connection = remote.connect(gix::remote::Direction::Fetch)?;
    let prepared = connection.prepare_fetch(Discard, gix::remote::ref_map::Options::default())?;
    prepared.with_shallow(shallow).receive(Discard, &INTERRUPTED)?;
    Ok(String::new())
}

fn refs(url: &str) -> Result<String> {
    let folder = std::env::temp_dir().join(format!("gix-refs-{}", std::process::id()));
    let repository = gix::init_bare(&folder)?;
    let remote = repository.remote_at(url)?.with_refspecs(["+refs/*:refs/*"], gix::remote::Direction::Fetch)?;
    let connection = remote.connect(gix::remote::Direction::Fetch)?;
    // From `refs/*` it makes no prefix to ask for, and would ask for the tags only.
    let all = gix::remote::ref_map::Options { prefix_from_spec_as_filter_on_remote: false, ..Default::default() };
    let (map, _) = connection.ref_map(Discard, all)?;
    std::fs::remove_dir_all(&folder).context("failed to tidy up")?;
    let lines = map.remote_refs.iter().map(|found| {
        let (name, target, _) = found.unpack();
        format!("{} {name}", target.map(|id| id.to_string()).unwrap_or_default())
    });
    Ok(lines.collect::<Vec<_>>().join(" "))
}
