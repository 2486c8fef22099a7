//! `cargo xtask bench store`: what a push costs, how many go through, how a server starts cold, what a kill does, how all of it grows.
//!
//! Everything runs on one machine and shares its cores, so ratios against the peers of the same run count, not times.

mod cold;
mod curve;
mod encryption;
mod growth;
mod idle;
mod kills;
mod many_repositories;
mod one_repository;
mod replication;
mod small_push;
mod writers;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use tempfile::TempDir;
use tests::cpu::Meter;
use tests::history::{self, Plan};
use tests::manifests::PASSWORD;
use tests::report::{bar, say, spinner};
use tests::session::{Pushed, Session, push_body};
use tests::{Git, Manifests, Server, ServerOptions, fixture};

use crate::figures::Figures;
use crate::jgit::JGit;
use crate::peer::Peer;
use crate::side::Side;

/// Repositories of the part that spreads pushes over many.
const REPOSITORIES: usize = 1_000;

type Run = fn(&Bed<'_>, &mut Figures) -> Result<()>;

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Measure these parts only
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// Rounds; medians are compared
    #[arg(long, default_value_t = 3, value_name = "N")]
    rounds: usize,
    /// Seconds that writers push without a pause
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    seconds: u64,
    /// Commits of the history that small pushes go on top of
    #[arg(long, default_value_t = 5_000, value_name = "N")]
    commits: usize,
    /// Kills of the server that takes pushes
    #[arg(long, default_value_t = 50, value_name = "N")]
    kills: usize,
    /// Most refs and most log entries of the growth curves
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    growth: u64,
    /// Draw the growth curves into this SVG file
    #[arg(long, value_name = "FILE")]
    curves: Option<PathBuf>,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// B6: one small push
    SmallPush,
    /// B7: many writers of one repository, without a store delay
    OneRepository,
    /// B8: many repositories
    ManyRepositories,
    /// B7: many writers of one repository in a bucket with delays
    Delayed,
    /// B9: a server with an empty cache
    Cold,
    /// B12: kill -9
    Kills,
    /// What envelope encryption costs
    Encryption,
    /// What replication costs, how far replicas lag, promotions
    Replication,
    /// What idle repositories keep
    Idle,
    /// Curves over refs and log entries
    Growth,
}

/// What all parts need.
pub(crate) struct Bed<'a> {
    pub(crate) options: &'a Options,
    pub(crate) git: Git,
    pub(crate) folder: TempDir,
    /// A bare repository with some history.
    pub(crate) history: PathBuf,
    /// A bare repository with one commit.
    pub(crate) tiny: PathBuf,
}

/// Measures; gives whether all bars are met.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let (git, folder) = (Git::new()?, TempDir::new()?);
    let wanted = |part: Part| options.only.is_empty() || options.only.contains(&part);
    let compared = [Part::SmallPush, Part::OneRepository, Part::ManyRepositories].into_iter().any(wanted);
    let commits = if compared { options.commits } else { 100 };
    let progress = bar(commits as u64, "making a history");
    let history = fixture::import(&git, "history.git", |stream| {
        history::write(Plan::of(commits), stream, &mut |written| progress.set_position(written as u64))
    })?;
    let tiny = fixture::linear(&git, "tiny.git", 1)?;
    progress.finish_and_clear();
    let bed = Bed { options, git, folder, history, tiny };
    let mut figures = Figures::default();
    if compared {
        let servers = Servers::start(&bed)?;
        if wanted(Part::SmallPush) {
            figures.part("B6", |figures| small_push::compared(&bed, &servers, figures));
        }
        if wanted(Part::OneRepository) {
            figures.part("B7, no delay", |figures| one_repository::compared(&bed, &servers, figures));
        }
        if wanted(Part::ManyRepositories) {
            figures.part("B8", |figures| many_repositories::compared(&bed, &servers, figures));
        }
    }
    let alone: [(Part, &str, Run); 8] = [
        (Part::SmallPush, "B6, store rounds", small_push::rounds),
        (Part::Delayed, "B7, delays", one_repository::delayed),
        (Part::Cold, "B9", cold::run),
        (Part::Kills, "B12", kills::run),
        (Part::Encryption, "encryption", encryption::run),
        (Part::Replication, "replication", replication::run),
        (Part::Idle, "idle repositories", idle::run),
        (Part::Growth, "growth", growth::run),
    ];
    for (_, name, run) in alone.into_iter().filter(|(part, _, _)| wanted(*part)) {
        figures.part(name, |figures| run(&bed, figures));
    }
    Ok(figures.print())
}

impl Bed<'_> {
    /// How long writers push.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_secs(self.options.seconds)
    }

    /// The commit that the main branch of a bare repository is at.
    pub(crate) fn main(&self, repository: &Path) -> Result<String> {
        Ok(self.git.ok(repository, &["rev-parse", "refs/heads/main"])?.trim().to_owned())
    }

    /// A pack of the repository with one commit.
    pub(crate) fn tiny_pack(&self) -> Result<Vec<u8>> {
        // Branches that other parts made are not part of it.
        let list = self.git.ok(&self.tiny, &["rev-list", "--objects", "refs/heads/main"])?;
        let mut pack = self.git.command(&self.tiny, &["pack-objects", "--stdout", "-q"]);
        let mut pack = pack.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        // A few lines, which the pipe holds.
        pack.stdin.take().context("no input")?.write_all(list.as_bytes())?;
        let packed = pack.wait_with_output()?;
        anyhow::ensure!(packed.status.success(), "git pack-objects failed");
        Ok(packed.stdout)
    }
}

/// Gives a repository at a server the history with one commit.
pub(crate) fn begin(session: &mut Session, repository: &str, tip: &str, pack: &[u8]) -> Result<()> {
    match session.push(repository, &push_body(None, tip, "refs/heads/main", pack))? {
        Pushed::Accepted => Ok(()),
        Pushed::Refused(line) => anyhow::bail!("the first push to {repository} was refused: {line}"),
    }
}

/// Codekeep twice on one folder, and both peers; each has the history as `hello`, and many small repositories.
pub(crate) struct Servers {
    pub(crate) server: Server,
    pub(crate) second: Server,
    meters: [Meter; 2],
    jgit: JGit,
    peer: Peer,
    _manifests: Manifests,
}

impl Servers {
    fn start(bed: &Bed<'_>) -> Result<Self> {
        let progress = spinner("starting servers");
        let manifests = Manifests::standard()?;
        (0..REPOSITORIES).try_for_each(|number| manifests.repository("team-a", &small(number)))?;
        let store = format!("file:{}", bed.folder.path().join("store").display());
        let options = ServerOptions::new(manifests.path(), store).with(&["--log-level", "warn"]);
        let (server, second) = (Server::start(options.clone())?, Server::start(options)?);
        let meters = [Meter::of(&[server.pid()]), Meter::of(&[second.pid()])];
        let jgit = JGit::start(&bed.folder.path().join("jgit"))?;
        let peer = Peer::start(&bed.folder.path().join("peer"))?;
        let servers = Self { server, second, meters, jgit, peer, _manifests: manifests };
        progress.set_message("handing the history to all");
        servers.fill(bed)?;
        progress.finish_and_clear();
        let exact =
            [&servers.meters[0], servers.jgit.meter(), servers.peer.meter()].iter().all(|meter| meter.is_exact());
        say(if exact {
            "CPU is that of the server with all that it starts, by a control group."
        } else {
            "CPU is that of the server and of children that it waited for, by /proc: http-backend's is not in it."
        });
        Ok(servers)
    }

    fn fill(&self, bed: &Bed<'_>) -> Result<()> {
        let git = &bed.git;
        let push = ["push", "--quiet", &self.server.url("alice", "team-a/hello"), "refs/*:refs/*"];
        git.ok(&bed.history, &push)?;
        self.jgit.take(git, &bed.history, "hello")?;
        self.peer.take(git, &bed.history, "hello")?;
        let (mut session, tip, pack) =
            (Session::new(self.server.address(), Some(("alice", PASSWORD))), bed.main(&bed.tiny)?, bed.tiny_pack()?);
        for number in 0..REPOSITORIES {
            begin(&mut session, &format!("team-a/{}", small(number)), &tip, &pack)?;
        }
        self.jgit.take(git, &bed.tiny, "small")?;
        self.peer.take(git, &bed.tiny, "small")?;
        for repositories in [self.jgit.repositories(), self.peer.repositories()] {
            let hooks = repositories.join("small/hooks");
            if hooks.exists() {
                std::fs::remove_dir_all(hooks)?;
            }
            for number in 0..REPOSITORIES {
                copy(&repositories.join("small"), &repositories.join(small(number)))?;
            }
        }
        Ok(())
    }

    /// The sides that are compared; Codekeep comes first, `JGit` second.
    pub(crate) fn sides(&self) -> [Side<'_>; 3] {
        let ours = Side::codekeep(&self.server, &self.meters[0]);
        [ours, Side::jgit(&self.jgit), Side::http_backend(&self.peer)]
    }

    /// Codekeep's second server.
    pub(crate) fn reader(&self) -> Side<'_> {
        Side::codekeep(&self.second, &self.meters[1])
    }
}

/// Name of one of many repositories.
pub(crate) fn small(number: usize) -> String {
    format!("small-{number}")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (entry, to) = (entry?, to);
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target).context("failed to copy a repository")?;
        }
    }
    Ok(())
}
