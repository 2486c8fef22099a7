//! The measures, by a client on the machine outside of the cluster, which resolves the cluster's names.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use tests::Git;
use tests::kube::{
    SYSTEM, Tenant, api_requests, controllers, count_ready, dedicated, git_servers, give_credentials, kubectl,
    local_cluster, metric, pool_is_ready, quiet, repository, writes,
};
use tests::report::say;
use tests::wait;

/// A client with a clone to push from.
pub(crate) struct Client {
    tenant: Tenant,
    git: Git,
    folder: PathBuf,
    token: String,
    /// The pool's.
    address: String,
}

/// How long something took, several times.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// Prints a row of the table.
    pub(crate) fn row(mut self, what: &str, goal: &str) {
        self.0.sort();
        let last = self.0.len().saturating_sub(1);
        let at = |percent: usize| self.0.get(last * percent / 100).copied().unwrap_or_default().as_millis();
        say(format!("| {what}, {} times | {} ms | {} ms | {} ms | {goal} |", self.0.len(), at(50), at(99), at(100)));
    }
}

impl Client {
    pub(crate) fn new(tenant: Tenant) -> Result<Self> {
        let git = Git::new()?;
        let folder = git.init("clone")?;
        git.commit(&folder, "file", "first")?;
        tenant.repository("hello", &json!({}))?;
        let token = tenant.kubectl(&["create", "token", "builder", "--duration=4h"])?.accepted()?;
        let authority = tenant
            .kubectl(&["get", "configmap", "codekeep-ca", "--output", r"jsonpath={.data.ca\.crt}"])?
            .accepted()?;
        std::fs::write(git.path("ca.crt"), authority)?;
        let arguments =
            ["--namespace", SYSTEM, "get", "service", "codekeep-git", "--output", "jsonpath={.spec.clusterIP}"];
        let address = kubectl(&arguments)?.accepted()?;
        let client = Self { tenant, git, folder, token: token.trim().to_owned(), address };
        client.push_until_accepted("hello")?;
        Ok(client)
    }

    /// A command on this machine that resolves the cluster's names and trusts its servers.
    fn command(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(tests::binary::workspace().join("tests/cluster/exec.sh"));
        command.arg(local_cluster()?).args(["host", program]).current_dir(&self.folder).stdin(Stdio::null());
        command.env("GIT_SSL_CAINFO", self.git.path("ca.crt")).env("GIT_TERMINAL_PROMPT", "0");
        Ok(command)
    }

    fn url(&self, name: &str) -> String {
        let (namespace, token) = (&self.tenant.namespace, &self.token);
        format!("https://builder:{token}@{name}.{namespace}.svc.cluster.local/{namespace}/{name}")
    }

    /// Pushes until it is accepted, for a minute at most. A name that is asked for before its Service is there stays unknown to the
    /// cluster's DNS for some seconds, which is not what is measured: the address is given.
    fn push_until_accepted(&self, name: &str) -> Result<Duration> {
        let began = Instant::now();
        let resolve =
            format!("http.curloptResolve={name}.{}.svc.cluster.local:443:{}", self.tenant.namespace, self.address);
        wait::until("a push to be accepted", Duration::from_mins(1), || {
            let push = ["-c", &resolve, "push", "--quiet", &self.url(name), "HEAD:refs/heads/main"];
            Ok(self.command("git")?.args(push).output()?.status.success().then_some(()))
        })?;
        Ok(began.elapsed())
    }

    pub(crate) fn apply_and_push(&self, times: usize) -> Result<(Times, Times)> {
        let (mut applied, mut pushed) = (Vec::new(), Vec::new());
        for number in 0..times {
            let (name, began) = (format!("new{number}"), Instant::now());
            self.tenant.apply(&repository(&name, &json!({})))?;
            applied.push(began.elapsed());
            self.push_until_accepted(&name)?;
            pushed.push(began.elapsed());
        }
        Ok((Times(applied), Times(pushed)))
    }

    pub(crate) fn dedicated(&self, times: usize) -> Result<Times> {
        give_credentials(&self.tenant, "store")?;
        let mut all = Vec::new();
        for number in 0..times {
            let (name, began) = (format!("own{number}"), Instant::now());
            self.tenant.apply(&repository(&name, &dedicated("store")))?;
            wait::until("pods of its own", Duration::from_mins(2), || {
                let status = self.tenant.object(&format!("repository/{name}"))?["status"].clone();
                let ready = tests::kube::condition(&json!({"status": status}), "Ready");
                Ok((status["servingMode"] == "Dedicated" && ready["status"] == "True").then_some(()))
            })?;
            all.push(began.elapsed());
            self.tenant.kubectl(&["delete", "repository", &name])?.accepted()?;
        }
        Ok(Times(all))
    }

    pub(crate) fn push_again(&self, times: usize) -> Result<Times> {
        (0..times).map(|turn| self.push_next(&format!("quiet{turn}"))).collect::<Result<_>>().map(Times)
    }

    fn push_next(&self, content: &str) -> Result<Duration> {
        self.git.commit(&self.folder, "file", content)?;
        self.push_until_accepted("hello")
    }

    pub(crate) fn kill(&self, times: usize) -> Result<Times> {
        let mut all = Vec::new();
        for turn in 0..times {
            pool_is_ready()?;
            let pod = git_servers(SYSTEM)?.swap_remove(0);
            let arguments = ["--namespace", SYSTEM, "delete", &pod, "--grace-period=0", "--force", "--wait=false"];
            kubectl(&arguments)?.accepted()?;
            all.push(self.push_next(&format!("killed{turn}"))?);
        }
        pool_is_ready()?;
        Ok(Times(all))
    }

    pub(crate) fn many(&self, count: usize) -> Result<()> {
        let old = count_ready(&self.tenant)?;
        let began = Instant::now();
        self.tenant.create_many(count)?;
        let created = began.elapsed();
        wait::until("all to be ready", Duration::from_mins(5), || {
            Ok((count_ready(&self.tenant)? >= old + count).then_some(()))
        })?;
        say(format!("\n{count} Repositories: created in {created:.1?}, all ready after {:.1?}", began.elapsed()));
        let before = quiet()?;
        let (asked, minute) = (api_requests(|_| true)?, Instant::now());
        std::thread::sleep(Duration::from_mins(1));
        let rate = rate(api_requests(|_| true)? - asked, minute.elapsed());
        let written = writes()? - before;
        say(format!("idle for a minute: {written} writes; {rate} requests/s to the API server by the whole cluster"));
        say(format!(
            "resident: controller {}; git servers {}",
            resident(&controllers()?)?,
            resident(&git_servers(SYSTEM)?)?
        ));
        self.load(count)
    }

    /// Advertisements of all Repositories, several times, by curl over kept connections.
    fn load(&self, count: usize) -> Result<()> {
        const ROUNDS: usize = 10;
        let namespace = &self.tenant.namespace;
        let url = format!(
            "https://codekeep-git.{SYSTEM}.svc.cluster.local/{namespace}/repo[0-{}]/info/refs?service=git-upload-pack&round=[1-{ROUNDS}]",
            count - 1
        );
        let mut curl = self.command("curl")?;
        curl.args(["--silent", "--parallel", "--parallel-max", "32", "--user", &format!("builder:{}", self.token)]);
        curl.arg("--cacert").arg(self.git.path("ca.crt"));
        curl.args([
            "--header",
            "Git-Protocol: version=2",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}\n",
            &url,
        ]);
        let began = Instant::now();
        let codes = String::from_utf8(curl.output()?.stdout)?;
        let (all, good) = (codes.lines().count(), codes.lines().filter(|code| *code == "200").count());
        ensure!(all == count * ROUNDS && good == all, "{good} of {all} requests were answered");
        let rate = rate(u64::try_from(all)?, began.elapsed());
        say(format!("advertisements over all of them, 32 at a time: {rate} requests/s"));
        Ok(())
    }
}

/// How many a second.
fn rate(count: u64, time: Duration) -> String {
    format!("{:.1}", f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / time.as_secs_f64())
}

/// Resident memory of each pod, by their own metrics.
fn resident(pods: &[String]) -> Result<String> {
    let each = pods.iter().map(|pod| Ok(format!("{:.0} MB", metric(pod, "process_resident_memory_bytes")? / 1e6)));
    Ok(each.collect::<Result<Vec<_>>>()?.join(", "))
}
