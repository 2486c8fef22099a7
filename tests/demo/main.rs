//! The main job on real input: a large history pushed over HTTP, the server killed in the middle of a second push and started
//! again with an empty cache, a clone, `git fsck --full`, every ref compared.

mod source;
mod steps;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use tests::report::{megabytes, say, seconds};
use tests::s3::SeaweedFs;
use tests::{Git, Manifests, Server, ServerOptions};

/// Pushes a large history, kills the server in the middle of a second push, clones and compares.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask demo")]
struct Options {
    /// Use the history of this local repository (a work tree or bare), all its branches and tags; it is only read
    #[arg(long, value_name = "PATH")]
    repository: Option<PathBuf>,
    /// Store to keep it in: a store URL, or `seaweedfs` for an S3 server of the demo's own [default: a new folder]
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Commits of the history that is made when no repository is given
    #[arg(long, default_value_t = 20_400, value_name = "N")]
    commits: usize,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => {
            say("demo: passed");
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(format!("demo: FAILED: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let git = Git::new()?;
    let source = match &options.repository {
        Some(path) => source::copy(&git, path)?,
        None => source::make(&git, options.commits)?,
    };
    say(format!(
        "history: {} commits, {} refs, {} of packs ({})",
        source.commits,
        source.refs.lines().count(),
        megabytes(source.pack_bytes),
        if options.repository.is_some() { "given" } else { "made" }
    ));

    let folder = tempfile::TempDir::new()?;
    let (url, environment, _s3) = store(options, &folder)?;
    say(format!("store: {url}"));
    let manifests = Manifests::standard()?;
    let mut serve = ServerOptions::new(manifests.path(), url);
    serve.environment = environment;
    let mut server = Server::start(serve)?;

    let pushed = steps::push_everything(&git, &source, &server)?;
    let peak_of_push = server.peak_memory()?;
    say(format!("pushed all refs in {}, {}", seconds(pushed), rate(source.pack_bytes, pushed)));

    let second = source::more(&git, &source)?;
    let killed = steps::push_and_kill(&git, &second, &mut server)?;
    say(format!(
        "killed the server with -9 after {} of {} of a second push",
        megabytes(killed),
        megabytes(second.bytes)
    ));
    let server = server.restarted()?;
    say("started it again with an empty cache");

    let (folder, cloned) = steps::clone_everything(&git, &server, "clone")?;
    say(format!("cloned in {}, {}", seconds(cloned), rate(source.pack_bytes, cloned)));
    steps::check(&git, &folder, &source.refs, &second)?;
    say(format!("git fsck --full is clean, all {} refs are equal", source.refs.lines().count()));

    git.ok(&source.folder, &["push", "--quiet", &server.url("alice", steps::REPOSITORY), &second.refspec()])?;
    git.ok(&folder, &["fetch", "--quiet", "origin"])?;
    let after = git.refs(&folder)?;
    ensure!(after.contains(&second.line()), "the second push, tried again, did not arrive");
    git.fsck(&folder)?;
    say("the second push, tried again, is accepted and fetched");
    say(format!(
        "peak memory of the server: {} while it took the push, {} while it served the clone from an empty cache",
        megabytes(peak_of_push),
        megabytes(server.peak_memory()?)
    ));
    Ok(())
}

type Store = (String, Vec<(String, String)>, Option<SeaweedFs>);

fn store(options: &Options, folder: &tempfile::TempDir) -> Result<Store> {
    match options.store.as_deref() {
        None => Ok((format!("file:{}", folder.path().join("store").display()), Vec::new(), None)),
        Some("seaweedfs") => {
            let s3 = SeaweedFs::start()?;
            let url = s3.bucket("demo")?;
            Ok((url, SeaweedFs::credentials(), Some(s3)))
        }
        Some(url) => Ok((url.to_owned(), Vec::new(), None)),
    }
}

fn rate(bytes: u64, time: std::time::Duration) -> String {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    format!("{}/s", megabytes(bytes.saturating_mul(1000) / millis))
}
