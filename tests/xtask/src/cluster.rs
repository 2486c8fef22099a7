//! `cargo xtask cluster up|down|status|load|exec`: a real Kubernetes with an S3 server and Codekeep in it, on this
//! machine alone.
//!
//! The cluster itself is `tests/cluster/*.sh`; here it gets our image and our chart.

mod image;
mod install;

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::Subcommand;

use self::image::Image;
use self::install::Cluster;
use crate::command::{program, say, workspace};
use crate::suites;
use crate::summary::Outcome;

/// The cluster of `cargo xtask test`.
const SUITE: u8 = 9;

/// Which cluster: several may run side by side.
#[derive(Debug, clap::Args)]
pub(crate) struct Number {
    /// Which cluster: several may run side by side
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=9))]
    id: u8,
}

/// What to do with a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Start a cluster with Codekeep; the first time builds Kubernetes, which takes about ten minutes
    Up {
        #[command(flatten)]
        number: Number,
        /// Nodes of the cluster
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
        nodes: u8,
        /// Put an optimized binary into the image (`CODEKEEP_BINARY` names one that is there already)
        #[arg(long)]
        release: bool,
        /// Leave the cluster without Codekeep
        #[arg(long)]
        no_chart: bool,
    },
    /// Stop a cluster and remove everything that it made, also after a crash
    Down(Number),
    /// Show what of a cluster is alive
    Status(Number),
    /// Build the binary and the image again and restart Codekeep with it
    Load {
        #[command(flatten)]
        number: Number,
        /// Put an optimized binary into the image
        #[arg(long)]
        release: bool,
    },
    /// Run the operator's suite on a cluster that runs
    Test(Number),
    /// Measure what users of a cluster wait for, on one that runs with `--nodes 2 --release` (`--help` lists options)
    #[command(disable_help_flag = true)]
    Bench {
        #[command(flatten)]
        number: Number,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run a command inside node 1, where the names of Services resolve
    Exec {
        #[command(flatten)]
        number: Number,
        /// The command with its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
}

/// Does it.
pub(crate) fn run(task: Task) -> Result<bool> {
    match task {
        Task::Up { number, nodes, release, no_chart } => up(number.id, nodes, release, no_chart)?,
        Task::Down(Number { id }) => script("down.sh", &[&state(id).to_string_lossy(), "--id", &id.to_string()])?,
        Task::Status(Number { id }) => {
            Cluster::load(id)?;
            script("status.sh", &[&state(id).to_string_lossy()])?;
        }
        Task::Load { number, release } => {
            let cluster = Cluster::load(number.id)?;
            cluster.install(&Image::build(release)?)?;
        }
        Task::Test(Number { id }) => return Ok(suites::operator(&environment(id)?)?.failed == 0),
        Task::Bench { number, arguments } => return suites::cluster_bench(&arguments, &environment(number.id)?),
        Task::Exec { number, command } => exec(number.id, &command)?,
    }
    Ok(true)
}

fn up(id: u8, nodes: u8, release: bool, no_chart: bool) -> Result<()> {
    let began = Instant::now();
    let cluster = start(id, nodes, release, no_chart)?;
    say(format!(
        "{} after {} s",
        if no_chart { "The cluster runs" } else { "Codekeep runs" },
        began.elapsed().as_secs()
    ));
    print_what_next(&cluster, id, no_chart)
}

fn start(id: u8, nodes: u8, release: bool, no_chart: bool) -> Result<Cluster> {
    let state = state(id);
    ensure!(
        !state.exists(),
        "cluster {id} is there already, in {}; first `cargo xtask cluster down --id {id}`",
        state.display()
    );
    script("preflight.sh", &[])?;
    // The long parts come before anything that would have to be taken down.
    let image = if no_chart { None } else { Some(Image::build(release)?) };
    script("up.sh", &[&state.to_string_lossy(), "--nodes", &nodes.to_string(), "--id", &id.to_string()])?;
    let cluster = Cluster::load(id)?;
    match image {
        Some(image) => cluster.install(&image)?,
        None => cluster.prepare()?,
    }
    Ok(cluster)
}

/// Begins to build Kubernetes with what the builds of the other steps leave of the processors.
pub(crate) fn build_ahead() -> Option<Child> {
    let mut build = program("nice", &["-n", "10"]);
    build.arg(workspace().join("tests/cluster/build.sh")).stdout(Stdio::null()).stderr(Stdio::null());
    build.spawn().ok()
}

/// Waits until it is built, before tests begin that measure time.
pub(crate) fn build() -> Result<Outcome> {
    script("build.sh", &[])?;
    Ok(Outcome::of(true, ""))
}

/// Starts a cluster for the suite alone, and takes it down whatever comes of it; after a failure its logs stay.
pub(crate) fn suite() -> Result<Outcome> {
    let folder = state(SUITE);
    let (folder, number) = (folder.to_string_lossy(), SUITE.to_string());
    // What a run that was broken off has left.
    script("down.sh", &[&folder, "--id", &number])?;
    let outcome = start(SUITE, 2, true, false).and_then(|_| suites::operator(&environment(SUITE)?));
    let is_good = outcome.as_ref().is_ok_and(|outcome| outcome.failed == 0);
    let mut arguments = vec![&*folder, "--id", &number];
    if !is_good {
        arguments.push("--keep-logs");
    }
    script("down.sh", &arguments)?;
    outcome
}

/// What tests and benchmarks need to know of a cluster.
fn environment(id: u8) -> Result<Vec<(&'static str, String)>> {
    let cluster = Cluster::load(id)?;
    Ok(vec![
        ("KUBECONFIG", cluster.value("KUBECONFIG")?.to_owned()),
        ("CODEKEEP_CLUSTER_TOOLS", cluster.value("CLUSTER_TOOLS")?.to_owned()),
        ("CODEKEEP_TEST_CLUSTER", state(id).display().to_string()),
    ])
}

fn print_what_next(cluster: &Cluster, id: u8, no_chart: bool) -> Result<()> {
    let (kubeconfig, tools) = (cluster.value("KUBECONFIG")?, cluster.value("CLUSTER_TOOLS")?);
    say(format!("\n  export KUBECONFIG={kubeconfig} PATH={tools}:$PATH"));
    if no_chart {
        say(format!("  cargo xtask cluster load --id {id}     # installs Codekeep"));
    } else {
        say(format!(
            "  kubectl apply -f config/samples/
  kubectl wait --for=condition=Ready repo/hello
  kubectl get repo
  kubectl get configmap codekeep-ca -o jsonpath='{{.data.ca\\.crt}}' > /tmp/codekeep-ca.crt
  export GIT_SSL_CAINFO=/tmp/codekeep-ca.crt
  cargo xtask cluster exec --id {id} git clone \\
    https://builder:$(kubectl create token builder)@hello.default.svc.cluster.local/default/hello

The names of Services resolve inside the cluster only, so `exec` runs git in the network of node 1.
After a change:  cargo xtask cluster load --id {id}"
        ));
    }
    say(format!("In the end:      cargo xtask cluster down --id {id}     # leaves nothing behind"));
    Ok(())
}

/// A cluster's folder: its path is short, because a Unix socket's path has to be.
fn state(id: u8) -> PathBuf {
    PathBuf::from(format!("/tmp/codekeep-cluster-{id}"))
}

fn scripts() -> PathBuf {
    workspace().join("tests/cluster")
}

/// Runs a script of `tests/cluster` with its output for people to see.
fn script(name: &str, arguments: &[&str]) -> Result<()> {
    let mut command = program(&scripts().join(name).to_string_lossy(), arguments);
    let status = command.status().with_context(|| format!("failed to start {name}"))?;
    ensure!(status.success(), "{name} failed");
    Ok(())
}

/// In the caller's folder and with its terminal, so that it is as good as typed there.
fn exec(id: u8, arguments: &[String]) -> Result<()> {
    Cluster::load(id)?;
    let mut command = Command::new(scripts().join("exec.sh"));
    command.arg(state(id)).arg("1").args(arguments);
    // Does not return unless it fails.
    Err(command.exec()).context("failed to run a command in the node")
}

fn timed(what: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    say(format!("{what} …"));
    let began = Instant::now();
    work()?;
    say(format!("{what}: {:.1} s", began.elapsed().as_secs_f32()));
    Ok(())
}
