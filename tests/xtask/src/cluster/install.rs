//! Codekeep in a cluster that runs: its image on every node, its namespaces and Secret, its chart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::image::Image;
use super::{script, state, timed};
use crate::command::{program, say, workspace};

/// Where Codekeep is installed.
const NAMESPACE: &str = "codekeep-system";
/// Namespaces whose credentials may be read: those of the quickstart and of the samples.
const TENANTS: [&str; 2] = ["default", "team-a"];
/// How long the controller may take to make or change the git servers' Deployment.
const PATIENCE: Duration = Duration::from_mins(1);

/// A cluster that runs.
pub(super) struct Cluster {
    state: PathBuf,
    values: BTreeMap<String, String>,
}

impl Cluster {
    pub(super) fn load(id: u8) -> Result<Self> {
        let state = state(id);
        let text = std::fs::read_to_string(state.join("cluster.env"))
            .with_context(|| format!("cluster {id} does not run: `cargo xtask cluster up --id {id}` starts it"))?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let values = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Self { state, values })
    }

    /// A line of cluster.env.
    pub(super) fn value(&self, name: &str) -> Result<&str> {
        self.values.get(name).map(String::as_str).with_context(|| format!("cluster.env has no {name}"))
    }

    /// Makes what is there before Codekeep: namespaces, and the Secret with the keys of the S3 server.
    pub(super) fn prepare(&self) -> Result<()> {
        for namespace in [NAMESPACE, TENANTS[1]] {
            self.ensure(&["namespace", namespace])?;
        }
        let key = format!("--from-literal=AWS_ACCESS_KEY_ID={}", self.value("AWS_ACCESS_KEY_ID")?);
        let secret = format!("--from-literal=AWS_SECRET_ACCESS_KEY={}", self.value("AWS_SECRET_ACCESS_KEY")?);
        // Two of them: a store may have keys of its own.
        ["codekeep-store", "codekeep-far"]
            .iter()
            .try_for_each(|name| self.ensure(&["secret", "generic", name, "--namespace", NAMESPACE, &key, &secret]))
    }

    /// Installs or upgrades Codekeep and waits for it; tells what is to be seen in the cluster when it does not come.
    pub(super) fn install(&self, image: &Image) -> Result<()> {
        self.prepare()?;
        timed("importing the image", || {
            script("load.sh", &[&self.state.to_string_lossy(), &image.archive.to_string_lossy()])
        })?;
        timed("installing the chart", || self.helm(image))?;
        timed("waiting for Codekeep", || self.rolled_out(image)).inspect_err(|_| self.tell())
    }

    fn helm(&self, image: &Image) -> Result<()> {
        let (mut values, url) = (Vec::from(image.values()), self.value("STORE_URL")?);
        values.extend([
            format!("storage.url={url}"),
            "storage.credentialsSecret=codekeep-store".to_owned(),
            // A second store, for replication: what a test does to one prefix the other one does not notice.
            format!("storage.stores.far.url={}", url.replacen('?', "-far?", 1)),
            "storage.stores.far.credentialsSecret=codekeep-far".to_owned(),
            format!("credentials.namespaces={{{}}}", TENANTS.join(",")),
            "pool.cacheSize=2Gi".to_owned(),
        ]);
        let chart = workspace().join("charts/codekeep");
        let chart = chart.to_string_lossy();
        let mut arguments = vec!["upgrade", "--install", "codekeep", &chart, "--namespace", NAMESPACE];
        arguments.extend(values.iter().flat_map(|value| ["--set", value.as_str()]));
        self.run("helm", &arguments)
    }

    fn rolled_out(&self, image: &Image) -> Result<()> {
        let is_new = format!("--for=jsonpath={{.spec.template.spec.containers[0].image}}={}", image.name());
        for deployment in ["deployment/codekeep-controller", "deployment/codekeep-git"] {
            // The new controller makes the git servers' Deployment, or changes it: before that the old one looks complete.
            retry(|| self.run("kubectl", &["--namespace", NAMESPACE, "wait", "--timeout=20s", &is_new, deployment]))?;
            self.run("kubectl", &["--namespace", NAMESPACE, "rollout", "status", "--timeout=120s", deployment])?;
        }
        Ok(())
    }

    /// Shows pods, the last events and the controller's last words.
    fn tell(&self) {
        let looks: [&[&str]; 3] = [
            &["get", "pods", "--output=wide"],
            &["get", "events", "--sort-by=.lastTimestamp"],
            &["logs", "deployment/codekeep-controller", "--tail=20"],
        ];
        for look in looks {
            let shown = self.tool("kubectl", &["--namespace", NAMESPACE]).and_then(|mut kubectl| {
                say(format!("--- kubectl -n {NAMESPACE} {}", look.join(" ")));
                Ok(kubectl.args(look).status()?)
            });
            if let Err(error) = shown {
                say(format!("{error:#}"));
            }
        }
    }

    fn tool(&self, name: &str, arguments: &[&str]) -> Result<Command> {
        let mut command = program(&Path::new(self.value("CLUSTER_TOOLS")?).join(name).to_string_lossy(), arguments);
        command.env("KUBECONFIG", self.value("KUBECONFIG")?);
        Ok(command)
    }

    /// Runs kubectl or helm; what it says is shown when it fails.
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
        let object = create.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
        ensure!(object.status.success(), "{}", String::from_utf8_lossy(&object.stderr).trim());
        // The folder of certificates is readable for its owner only: a Secret is among the objects.
        let file = self.state.join("pki/object.yaml");
        std::fs::write(&file, object.stdout)?;
        let applied = self.run("kubectl", &["apply", "--server-side", "--filename", &file.to_string_lossy()]);
        std::fs::remove_file(&file)?;
        applied
    }
}

fn retry(mut work: impl FnMut() -> Result<()>) -> Result<()> {
    let began = Instant::now();
    loop {
        match work() {
            Err(_) if began.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(300)),
            outcome => return outcome,
        }
    }
}
