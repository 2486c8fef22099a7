//! `cargo xtask cluster up|down|status|load|exec`: a real Kubernetes with an S3 server and Codekeep in it, on this
//! machine alone.
//!
//! The cluster itself is `tests/cluster/*.sh`; here it gets our image and our chart.

mod image;
mod install;

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::Subcommand;

use self::image::Image;
use self::install::Cluster;
use crate::command::{program, say, workspace};

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
        Task::Exec { number, command } => exec(number.id, &command)?,
    }
    Ok(true)
}

fn up(id: u8, nodes: u8, release: bool, no_chart: bool) -> Result<()> {
    let began = Instant::now();
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
    say(format!(
        "{} after {} s",
        if no_chart { "The cluster runs" } else { "Codekeep runs" },
        began.elapsed().as_secs()
    ));
    print_what_next(&cluster, id, no_chart)
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
