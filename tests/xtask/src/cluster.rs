//! `cargo xtask cluster up|down|status|load|exec`: a real Kubernetes with an S3 server and Codekeep in it, on this machine alone.
//!
//! The cluster itself is `tests/cluster/*.sh`; here it gets our image and our chart.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Subcommand;

use crate::command::{cargo, program, say, target, workspace};

/// The name of the image in the cluster. Nothing serves such a registry: it can only be imported.
const IMAGE: &str = "codekeep.test/codekeep";
/// Where Codekeep is installed.
const NAMESPACE: &str = "codekeep-system";
/// Namespaces whose credentials may be read: those of the quickstart and of the samples.
const TENANTS: [&str; 2] = ["default", "team-a"];

/// What to do with a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Start a cluster with Codekeep; the first time builds Kubernetes, which takes about ten minutes
    Up {
        /// Nodes of the cluster
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
        nodes: u8,
        /// Which cluster: several may run side by side
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=9))]
        id: u8,
        /// Put an optimized binary into the image
        #[arg(long)]
        release: bool,
        /// Leave the cluster without Codekeep
        #[arg(long)]
        no_chart: bool,
    },
    /// Stop a cluster and remove everything that it made
    Down {
        /// Which cluster
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=9))]
        id: u8,
    },
    /// Show what of a cluster is alive
    Status {
        /// Which cluster
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=9))]
        id: u8,
    },
    /// Build the binary and the image again and restart Codekeep with it
    Load {
        /// Which cluster
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=9))]
        id: u8,
        /// Put an optimized binary into the image
        #[arg(long)]
        release: bool,
    },
    /// Run a command inside node 1, where the names of Services resolve
    Exec {
        /// Which cluster
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=9))]
        id: u8,
        /// The command with its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
}

/// Does it.
pub(crate) fn run(task: Task) -> Result<bool> {
    match task {
        Task::Up { nodes, id, release, no_chart } => up(nodes, id, release, no_chart)?,
        Task::Down { id } => script("down.sh", &[&state(id).to_string_lossy()])?,
        Task::Status { id } => script("status.sh", &[&state(id).to_string_lossy()])?,
        Task::Load { id, release } => {
            let cluster = Cluster::load(id)?;
            cluster.install(&image(release)?)?;
        }
        Task::Exec { id, command } => exec(id, &command)?,
    }
    Ok(true)
}

fn up(nodes: u8, id: u8, release: bool, no_chart: bool) -> Result<()> {
    let state = state(id);
    ensure!(!state.exists(), "cluster {id} is there already, in {}; `cargo xtask cluster down --id {id}` first", state.display());
    // The long parts come before anything that would have to be taken down.
    let image = if no_chart { None } else { Some(image(release)?) };
    script("up.sh", &[&state.to_string_lossy(), "--nodes", &nodes.to_string(), "--id", &id.to_string()])?;
    let cluster = Cluster::load(id)?;
    match image {
        Some(image) => {
            cluster.install(&image)?;
            cluster.print_what_next(id);
        }
        None => say(format!("  export KUBECONFIG={} PATH={}:$PATH", cluster.value("KUBECONFIG")?, cluster.value("CLUSTER_TOOLS")?)),
    }
    Ok(())
}

/// A cluster's folder: its path is short, because a Unix socket's path has to be.
fn state(id: u8) -> PathBuf {
    std::env::temp_dir().join(format!("codekeep-cluster-{id}"))
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

fn exec(id: u8, arguments: &[String]) -> Result<()> {
    let mut command = Command::new(scripts().join("exec.sh"));
    command.arg(state(id)).arg("1").args(arguments);
    // Does not return unless it fails.
    Err(command.exec()).context("failed to run a command in the node")
}

/// An image in a file.
struct Image {
    archive: PathBuf,
    tag: String,
}

/// Builds binary and image; `CODEKEEP_BINARY` names a binary that is there already.
fn image(release: bool) -> Result<Image> {
    let binary = match std::env::var_os("CODEKEEP_BINARY") {
        Some(binary) => PathBuf::from(binary),
        None => build(release)?,
    };
    let folder = target().join("xtask");
    std::fs::create_dir_all(&folder)?;
    let modified = std::fs::metadata(&binary).with_context(|| format!("there is no {}", binary.display()))?.modified()?;
    // Another binary has another tag, or the kubelet would not notice.
    let tag = format!("dev-{}", modified.duration_since(std::time::UNIX_EPOCH)?.as_secs());
    let archive = folder.join("image.tar");
    timed("building the image", || {
        script("image.sh", &[&binary.to_string_lossy(), &format!("{IMAGE}:{tag}"), &archive.to_string_lossy()])
    })?;
    Ok(Image { archive, tag })
}

fn build(release: bool) -> Result<PathBuf> {
    let profile = if release { "release" } else { "debug" };
    timed("building the binary", || {
        let mut command = cargo(&["build", "--package", "operator"]);
        if release {
            command.arg("--release");
        }
        ensure!(command.status()?.success(), "cargo build failed");
        Ok(())
    })?;
    Ok(target().join(profile).join("codekeep"))
}

fn timed(what: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    say(format!("{what} …"));
    let began = Instant::now();
    work()?;
    say(format!("{what}: {} s", began.elapsed().as_secs()));
    Ok(())
}

/// A cluster that runs.
struct Cluster {
    state: PathBuf,
    values: BTreeMap<String, String>,
}

impl Cluster {
    fn load(id: u8) -> Result<Self> {
        let state = state(id);
        let file = state.join("cluster.env");
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cluster {id} does not run: `cargo xtask cluster up --id {id}` starts it"))?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let values = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Self { state, values })
    }

    fn value(&self, name: &str) -> Result<&str> {
        self.values.get(name).map(String::as_str).with_context(|| format!("cluster.env has no {name}"))
    }

    fn tool(&self, name: &str, arguments: &[&str]) -> Result<Command> {
        let mut command = program(&Path::new(self.value("CLUSTER_TOOLS")?).join(name).to_string_lossy(), arguments);
        command.env("KUBECONFIG", self.value("KUBECONFIG")?);
        Ok(command)
    }

    /// Runs kubectl or helm; its output is shown when it fails.
    fn run(&self, name: &str, arguments: &[&str]) -> Result<()> {
        let output = self.tool(name, arguments)?.stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
        if !output.status.success() {
            bail!("{name} {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Applies an object that a client-side `kubectl create` describes.
    fn ensure(&self, arguments: &[&str]) -> Result<()> {
        let mut create = self.tool("kubectl", &["create", "--dry-run=client", "--output=yaml"])?;
        let object = create.args(arguments).stderr(Stdio::piped()).output()?;
        ensure!(object.status.success(), "{}", String::from_utf8_lossy(&object.stderr).trim());
        let file = self.state.join("object.yaml");
        std::fs::write(&file, object.stdout)?;
        let applied = self.run("kubectl", &["apply", "--server-side", "--filename", &file.to_string_lossy()]);
        std::fs::remove_file(&file)?;
        applied
    }

    /// Installs or upgrades Codekeep and waits for it.
    fn install(&self, image: &Image) -> Result<()> {
        timed("importing the image", || {
            script("load.sh", &[&self.state.to_string_lossy(), &image.archive.to_string_lossy()])
        })?;
        timed("installing the chart", || self.helm(image))?;
        timed("waiting for the git servers", || {
            for deployment in ["deployment/codekeep-controller", "deployment/codekeep-git"] {
                let arguments = ["--namespace", NAMESPACE, "rollout", "status", "--timeout=120s", deployment];
                retry(|| self.run("kubectl", &arguments))?;
            }
            Ok(())
        })
    }

    fn helm(&self, image: &Image) -> Result<()> {
        for namespace in [NAMESPACE, TENANTS[1]] {
            self.ensure(&["namespace", namespace])?;
        }
        let key = format!("--from-literal=AWS_ACCESS_KEY_ID={}", self.value("AWS_ACCESS_KEY_ID")?);
        let secret = format!("--from-literal=AWS_SECRET_ACCESS_KEY={}", self.value("AWS_SECRET_ACCESS_KEY")?);
        self.ensure(&["secret", "generic", "codekeep-store", "--namespace", NAMESPACE, &key, &secret])?;
        let (registry, repository) = IMAGE.split_once('/').unwrap_or((IMAGE, ""));
        let values = [
            format!("image.registry={registry}"),
            format!("image.repository={repository}"),
            format!("image.tag={}", image.tag),
            "image.pullPolicy=Never".to_owned(),
            format!("storage.url={}", self.value("STORE_URL")?),
            "storage.credentialsSecret=codekeep-store".to_owned(),
            format!("credentials.namespaces={{{}}}", TENANTS.join(",")),
            "pool.cacheSize=2Gi".to_owned(),
        ];
        let chart = workspace().join("charts/codekeep");
        let mut arguments = vec!["upgrade", "--install", "codekeep", "--namespace", NAMESPACE];
        let chart = chart.to_string_lossy();
        arguments.push(&chart);
        arguments.extend(values.iter().flat_map(|value| ["--set", value.as_str()]));
        self.run("helm", &arguments)
    }

    fn print_what_next(&self, id: u8) {
        let value = |name: &str| self.value(name).unwrap_or_default();
        let (kubeconfig, tools) = (value("KUBECONFIG"), value("CLUSTER_TOOLS"));
        say(format!(
            "
Codekeep runs. What to type next:

  export KUBECONFIG={kubeconfig} PATH={tools}:$PATH
  kubectl apply -f config/samples/
  kubectl wait --for=condition=Ready repo/hello
  kubectl get repo
  kubectl get configmap codekeep-ca -o jsonpath='{{.data.ca\\.crt}}' > /tmp/codekeep-ca.crt
  GIT_SSL_CAINFO=/tmp/codekeep-ca.crt cargo xtask cluster exec --id {id} \\
    git clone https://builder:$(kubectl create token builder)@hello.default.svc.cluster.local/default/hello

The names of Services resolve inside the cluster only, so `exec` runs git in the network of node 1.
  cargo xtask cluster load --id {id}     # after a change
  cargo xtask cluster down --id {id}     # leaves nothing behind"
        ));
    }
}

/// A Deployment that the controller is about to make is not there yet.
fn retry(mut work: impl FnMut() -> Result<()>) -> Result<()> {
    let began = Instant::now();
    loop {
        match work() {
            Err(_) if began.elapsed().as_secs() < 60 => std::thread::sleep(std::time::Duration::from_millis(500)),
            outcome => return outcome,
        }
    }
}
