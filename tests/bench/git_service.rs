//! Codekeep and nginx + `git http-backend` side by side: the same history, the same clients, turn by turn.
//!
//! Ratios of medians, never absolute times: the machine's noise hits both. The peer has what a careful administrator gives it:
//! one pack, bitmaps, a commit-graph, packed refs.

use anyhow::{Context as _, Result};
use clap::Args;
use tests::cpu::Meter;
use tests::history::{self, Plan};
use tests::manifests::PASSWORD;
use tests::process;
use tests::protocol::RawClient;
use tests::report::{bar, megabytes, say, spinner};
use tests::{Git, Manifests, Server, ServerOptions, fixture};

use crate::operations::{self, Bench, Side};
use crate::peer::Peer;
use crate::table::Table;

/// How much is measured.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rounds per operation; medians are compared
    #[arg(long, default_value_t = 9, value_name = "N")]
    rounds: usize,
    /// Commits of the history
    #[arg(long, default_value_t = 20_400, value_name = "N")]
    commits: usize,
    /// Refs of the repository whose refs are listed
    #[arg(long, default_value_t = 50_000, value_name = "N")]
    refs: usize,
}

/// Measures; gives whether all bars are met.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let (git, folder) = (Git::new()?, tempfile::TempDir::new()?);
    let progress = bar(options.commits as u64, "making a history");
    let history = fixture::import(&git, "history.git", |stream| {
        history::write(Plan::of(options.commits), stream, &mut |written| progress.set_position(written as u64))
    })?;
    let refs = fixture::many_refs(&git, "refs.git", options.refs)?;
    progress.finish_and_clear();

    let peer = Peer::start(&folder.path().join("peer"))?;
    let manifests = Manifests::standard()?;
    let store = format!("file:{}", folder.path().join("store").display());
    let server = Server::start(ServerOptions::new(manifests.path(), store).with(&["--log-level", "warn"]))?;
    let idle = process::memory(server.pid(), "RssAnon")?;

    let progress = spinner("handing the history to both");
    for (source, name, what) in [(&history, "hello", "refs/*:refs/*"), (&refs, "other", "main")] {
        peer.take(&git, source, name)?;
        let push = ["push", "--quiet", &server.url("alice", &format!("team-a/{name}")), what];
        git.ok(source, &push).with_context(|| format!("failed to push {name}"))?;
    }
    let all = git.refs(&refs)?;
    let branches = all.lines().filter_map(|line| line.split_once(' ')).filter(|(_, name)| *name != "refs/heads/main");
    let names: Vec<String> = branches.map(|(_, name)| name.to_owned()).collect();
    let client = RawClient::new(server.address(), "team-a/other", Some(("alice", PASSWORD)));
    names.chunks(10_000).try_for_each(|names| client.create_refs(&git.head(&refs)?, names))?;
    progress.finish_and_clear();

    let (meter, rounds) = (Meter::of(&[server.pid()]), options.rounds);
    let (ours, theirs) = (Side::codekeep(&server, &meter), Side::peer(&peer));
    let bench = Bench { git: &git, history, rounds, ours, peer: theirs };
    let mut table = Table::default();
    operations::all(&bench, &mut table)?;
    operations::store_requests(&bench, &server, &mut table)?;
    let clone = operations::memory_of_a_clone(&bench, &server)?;
    table.bar(
        "memory of a clone above what was used before it",
        &megabytes(clone),
        clone <= 64 << 20,
        "at most 64 MiB",
    );
    say(format!("idle server: {}; history: {}", megabytes(idle), bench.describe()?));
    Ok(table.print())
}
