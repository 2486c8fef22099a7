//! A real cluster with Codekeep in it, and tenants who use it by `kubectl` and by `git` in a pod of theirs.
//!
//! `$KUBECONFIG` says which cluster, `$CODEKEEP_TEST_IMAGE` the image for clients (the image of the release when unset), and
//! `$CODEKEEP_TEST_CLUSTER` the folder of a local cluster, whose parts can then be stopped.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::{random, wait};

/// Where Codekeep is installed.
pub const SYSTEM: &str = "codekeep-system";
/// What selects git servers.
pub const GIT_SERVERS: &str = "app.kubernetes.io/component=git-server";
/// How long something may take that happens within a second or two when the machine is idle.
const SOON: Duration = Duration::from_mins(1);
/// The folder of clones in a tenant's pod.
const WORK: &str = "/clones";

/// Runs `kubectl`.
pub fn kubectl(arguments: &[&str]) -> Result<Answer> {
    kubectl_with(arguments, "")
}

/// Runs `kubectl` with a text on its standard input.
pub fn kubectl_with(arguments: &[&str], input: &str) -> Result<Answer> {
    run("kubectl", arguments, input)
}

/// Runs a program of the cluster's tools, or of the path.
pub fn run(name: &str, arguments: &[&str], input: &str) -> Result<Answer> {
    let program = std::env::var_os("CODEKEEP_CLUSTER_TOOLS").map(|folder| PathBuf::from(folder).join(name));
    let program = program.filter(|program| program.exists()).unwrap_or_else(|| PathBuf::from(name));
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("failed to start {name}"))?;
    // A program that does not read its input says why by its exit code.
    let _unread = child.stdin.take().context("no standard input")?.write_all(input.as_bytes());
    Ok(Answer::new(format!("{name} {}", arguments.join(" ")), &child.wait_with_output()?))
}

/// An object as JSON.
pub fn object(namespace: &str, name: &str) -> Result<Value> {
    let text = kubectl(&["--namespace", namespace, "get", name, "--output", "json"])?.accepted()?;
    Ok(serde_json::from_str(&text)?)
}

/// The condition of a resource.
#[must_use]
pub fn condition(object: &Value, kind: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().find(|condition| condition["type"] == kind).cloned().unwrap_or_default()
}

/// Waits until a resource's condition has this reason for its present generation; gives the condition.
pub fn reason(namespace: &str, name: &str, kind: &str, reason: &str) -> Result<Value> {
    let mut last = Value::Null;
    let found = wait::until(&format!("{kind} {reason} of {name} in {namespace}"), SOON, || {
        let object = object(namespace, name)?;
        last = condition(&object, kind);
        let is_current = last["observedGeneration"] == object["metadata"]["generation"];
        Ok((last["reason"] == reason && is_current).then(|| last.clone()))
    });
    found.with_context(|| format!("the condition is {last}"))
}

/// The folder of the local cluster; an error where there is none.
pub fn local_cluster() -> Result<PathBuf> {
    std::env::var_os("CODEKEEP_TEST_CLUSTER").map(PathBuf::from).context("CODEKEEP_TEST_CLUSTER names no local cluster")
}

/// A part of the local cluster is stopped, started, cut off.
pub fn component(verb: &str, name: &str) -> Result<()> {
    let script = crate::binary::workspace().join("tests/cluster/component.sh");
    let done = Command::new(script).arg(local_cluster()?).args([verb, name]).output()?;
    ensure!(done.status.success(), "{verb} {name}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// Runs a command with a text on its standard input inside a node of the local cluster.
pub fn on_node(node: u8, command: &[&str], input: &str) -> Result<Answer> {
    let script = crate::binary::workspace().join("tests/cluster/exec.sh").display().to_string();
    let (state, node) = (local_cluster()?.display().to_string(), node.to_string());
    run(&script, &[&[state.as_str(), &node], command].concat(), input)
}

/// A line of the local cluster's `cluster.env`.
pub fn local_value(name: &str) -> Result<String> {
    let text = std::fs::read_to_string(local_cluster()?.join("cluster.env"))?;
    let found = text.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| *key == name);
    found.map(|(_, value)| value.to_owned()).with_context(|| format!("cluster.env has no {name}"))
}

/// A namespace of its own, with a pod that has git, a ServiceAccount `builder` and a policy that lets it do everything.
pub struct Tenant {
    /// The namespace.
    pub namespace: String,
}

impl Tenant {
    /// A tenant who has just moved in.
    pub fn new(name: &str) -> Result<Self> {
        Self::on_node(name, None)
    }

    /// A tenant whose client runs on a certain node.
    pub fn on_node(name: &str, node: Option<&str>) -> Result<Self> {
        Self::moves_in(format!("{name}-{:06x}", random::Sequence::fresh().0.word() & 0xff_ffff), node)
    }

    /// A tenant in a namespace of this name.
    pub fn moves_in(namespace: String, node: Option<&str>) -> Result<Self> {
        let tenant = Self { namespace };
        kubectl(&["create", "namespace", &tenant.namespace])?.accepted()?;
        kubectl(&["label", "namespace", &tenant.namespace, "pod-security.kubernetes.io/enforce=restricted"])?
            .accepted()?;
        tenant.kubectl(&["create", "serviceaccount", "builder"])?.accepted()?;
        tenant.apply(&tenant.policy("builders", "ServiceAccount", "builder"))?;
        // Made by the cluster, a moment later; pods need it.
        tenant.kubectl(&["wait", "--for=create", "serviceaccount/default", "--timeout=60s"])?.accepted()?;
        let mut pod = client_pod(&image()?);
        if let Some(node) = node {
            pod["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": node});
        }
        tenant.apply(&pod)?;
        Ok(tenant)
    }

    /// Runs `kubectl` in the namespace.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<Answer> {
        self.kubectl_with(arguments, "")
    }

    fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<Answer> {
        kubectl_with(&[&["--namespace", self.namespace.as_str()], arguments].concat(), input)
    }

    /// Applies an object, which must be accepted.
    pub fn apply(&self, object: &Value) -> Result<()> {
        self.try_apply(object)?.accepted().map(drop)
    }

    /// Applies an object.
    pub fn try_apply(&self, object: &Value) -> Result<Answer> {
        self.kubectl_with(&["apply", "--filename", "-"], &object.to_string())
    }

    /// Applies a Repository and waits until it is ready.
    pub fn repository(&self, name: &str, spec: &Value) -> Result<()> {
        self.apply(&repository(name, spec))?;
        self.reason(&format!("repository/{name}"), "Ready", "Serving").map(drop)
    }

    /// Creates Repositories `repo0`, `repo1`, … in one go.
    pub fn create_many(&self, count: usize) -> Result<()> {
        let items: Vec<_> = (0..count).map(|number| repository(&format!("repo{number}"), &json!({}))).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
        self.kubectl_with(&["create", "--filename", "-"], &list)?.accepted().map(drop)
    }

    /// Waits for a reason, see [`reason`].
    pub fn reason(&self, name: &str, kind: &str, wanted: &str) -> Result<Value> {
        reason(&self.namespace, name, kind, wanted)
    }

    /// An object of the namespace.
    pub fn object(&self, name: &str) -> Result<Value> {
        object(&self.namespace, name)
    }

    /// A policy that lets somebody pull and push everything.
    #[must_use]
    pub fn policy(&self, name: &str, kind: &str, subject: &str) -> Value {
        json!({"apiVersion": "codekeep.dev/v1alpha1", "kind": "AccessPolicy", "metadata": {"name": name}, "spec": {
            "subjects": [{"kind": kind, "name": subject}],
            "statements": [{"sid": "work", "effect": "Allow", "actions": ["codecommit:GitPull", "codecommit:GitPush"],
                "repositories": {"names": ["*"]}}]}})
    }

    /// Lets the git servers read Secrets of the namespace.
    pub fn grant_credentials(&self) -> Result<()> {
        let account = format!("--serviceaccount={SYSTEM}:codekeep-git");
        let grant = ["create", "rolebinding", "codekeep-credentials", "--clusterrole=codekeep-credentials", &account];
        self.kubectl(&grant)?.accepted().map(drop)
    }

    /// The URL of a Repository with a new token of the builder.
    pub fn url(&self, name: &str) -> Result<String> {
        let token = self.kubectl(&["create", "token", "builder", "--audience", "codekeep.dev"])?.accepted()?;
        self.url_as(name, "builder", token.trim())
    }

    /// The URL of a Repository as the status says it, with a user and a password.
    pub fn url_as(&self, name: &str, user: &str, password: &str) -> Result<String> {
        let object = self.object(&format!("repository/{name}"))?;
        let url = object["status"]["cloneURL"].as_str().context("the status has no cloneURL")?.to_owned();
        Ok(url.replacen("https://", &format!("https://{user}:{password}@"), 1))
    }

    /// Prepares the pod: it runs, and trusts the authority that the namespace was told of.
    pub fn prepare(&self) -> Result<()> {
        self.kubectl(&["wait", "--for=condition=Ready", "pod/client", "--timeout=90s"])?.accepted()?;
        let authority =
            self.kubectl(&["get", "configmap", "codekeep-ca", "--output", r"jsonpath={.data.ca\.crt}"])?.accepted()?;
        self.sh_with("cat > /clones/ca.crt", &authority)?.accepted().map(drop)
    }

    /// Runs a shell script in the pod, where `git` trusts the servers.
    pub fn sh(&self, script: &str) -> Result<Answer> {
        self.kubectl(&["exec", "client", "--", "sh", "-c", script])
    }

    /// The same with a text on the script's standard input.
    pub fn sh_with(&self, script: &str, input: &str) -> Result<Answer> {
        self.kubectl_with(&["exec", "--stdin", "client", "--", "sh", "-c", script], input)
    }

    /// Runs `git` in a folder below the pod's folder for clones.
    pub fn git(&self, folder: &str, arguments: &[&str]) -> Result<Answer> {
        let folder = format!("{WORK}/{folder}");
        self.kubectl(&[&["exec", "client", "--", "git", "-C", &folder], arguments].concat())
    }

    /// Waits until the pod can resolve a Service's name. The cluster's DNS follows the API server a moment later, and remembers for
    /// some seconds that there was none.
    pub fn resolve(&self, name: &str) -> Result<()> {
        let host = format!("{name}.{}.svc.cluster.local", self.namespace);
        let script = format!("for _ in $(seq 60); do getent hosts {host} && exit; sleep 0.5; done; exit 1");
        self.sh(&script)?.accepted().map(drop)
    }

    /// Clones a Repository into a folder of its name.
    pub fn clone(&self, name: &str) -> Result<()> {
        self.resolve(name)?;
        self.git("", &["clone", "--quiet", &self.url(name)?, name])?.accepted().map(drop)
    }

    /// Commits a file and pushes it; what git says.
    pub fn push(&self, folder: &str, file: &str) -> Result<Answer> {
        self.sh(&format!(
            "cd {WORK}/{folder} && echo {file} > {file} && git add {file} && git commit --quiet --message {file} && git push --quiet origin HEAD"
        ))
    }

    /// Pushes until `stop` is true, which gets the number of pushes so far and gives that; each push is tried once more if it fails.
    pub fn push_until(&self, name: &str, mut stop: impl FnMut(usize) -> Result<bool>) -> Result<usize> {
        let mut pushed = 0;
        while !stop(pushed)? {
            pushed += 1;
            if self.push(name, &format!("file{pushed}"))?.accepted().is_err() {
                self.git(name, &["push", "--quiet", "origin", "HEAD"])?.accepted()?;
            }
        }
        Ok(pushed)
    }

    /// Clones anew and finds as many files as [`Self::push_until`] has pushed, in a repository without a fault.
    pub fn has_all(&self, name: &str, pushed: usize) -> Result<()> {
        let url = self.url(name)?;
        self.sh(&format!("rm -rf {WORK}/check && git clone --quiet {url} {WORK}/check"))?.accepted()?;
        let files = self.sh(&format!("ls {WORK}/check | grep -c file"))?.accepted()?;
        ensure!(files.trim() == pushed.to_string(), "{} of {pushed} pushes are there", files.trim());
        self.git("check", &["fsck", "--strict"])?.accepted().map(drop)
    }

    /// The commit that a branch has on the server.
    pub fn tip(&self, name: &str) -> Result<String> {
        let listed = self.git("", &["ls-remote", &self.url(name)?, "refs/heads/main"])?.accepted()?;
        Ok(listed.split_whitespace().next().unwrap_or_default().to_owned())
    }
}

/// A tenant with a Repository `hello` and a clone of it, ready to push.
pub fn ready(name: &str) -> Result<Tenant> {
    ready_on_node(name, None)
}

/// The same with a client on a certain node.
pub fn ready_on_node(name: &str, node: Option<&str>) -> Result<Tenant> {
    let tenant = Tenant::on_node(name, node)?;
    tenant.repository("hello", &json!({}))?;
    tenant.prepare()?;
    tenant.clone("hello")?;
    Ok(tenant)
}

impl Drop for Tenant {
    fn drop(&mut self) {
        // Whoever reads a failure wants to look around; a test fails by an error of which nothing is known here, and the output of
        // those that pass is not shown.
        dump(&self.namespace);
        let _left = kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}

/// A Repository.
#[must_use]
pub fn repository(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "codekeep.dev/v1alpha1", "kind": "Repository", "metadata": {"name": name}, "spec": spec})
}

/// The spec of a Repository with pods of its own, which use the pool's bucket with credentials of the namespace.
#[must_use]
pub fn dedicated(credentials: &str) -> Value {
    json!({"serving": {"mode": "Dedicated", "dedicated": {"replicas": 1, "cacheSize": "1Gi",
        "storage": {"credentialsSecretRef": {"name": credentials}}}}})
}

/// Gives the tenant credentials for the bucket, as a platform team would.
pub fn give_credentials(tenant: &Tenant, name: &str) -> Result<()> {
    let secret = object(SYSTEM, "secret/codekeep-store")?;
    tenant.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": secret["data"]}))
}

fn client_pod(image: &str) -> Value {
    let environment = [
        ("HOME", WORK),
        ("GIT_SSL_CAINFO", "/clones/ca.crt"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_CONFIG_COUNT", "3"),
        ("GIT_CONFIG_KEY_0", "user.name"),
        ("GIT_CONFIG_VALUE_0", "Test User"),
        ("GIT_CONFIG_KEY_1", "user.email"),
        ("GIT_CONFIG_VALUE_1", "test@example.com"),
        ("GIT_CONFIG_KEY_2", "init.defaultBranch"),
        ("GIT_CONFIG_VALUE_2", "main"),
    ];
    let environment = environment.map(|(name, value)| json!({"name": name, "value": value}));
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client", "labels": {"app": "client"}}, "spec": {
        "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false,
        "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "client", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "infinity"],
            "env": environment, "workingDir": WORK, "volumeMounts": [{"name": "work", "mountPath": WORK}],
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
        "volumes": [{"name": "work", "emptyDir": {}}]}})
}

/// The image of clients.
fn image() -> Result<String> {
    if let Ok(image) = std::env::var("CODEKEEP_TEST_IMAGE") {
        return Ok(image);
    }
    let controller = object(SYSTEM, "deployment/codekeep-controller")?;
    let image = controller["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
    image.map(str::to_owned).context("Codekeep is not installed")
}

/// Prints what is in a namespace and what happened there and in Codekeep's.
fn dump(namespace: &str) {
    for arguments in [
        &["--namespace", namespace, "get", "all,repositories,accesspolicies,notificationrules", "--output", "wide"][..],
        &["--namespace", namespace, "get", "events", "--sort-by", ".lastTimestamp"],
        &["--namespace", namespace, "get", "repositories,accesspolicies,notificationrules", "--output", "yaml"],
        &["--namespace", SYSTEM, "get", "pods", "--output", "wide"],
        &["--namespace", SYSTEM, "logs", "deployment/codekeep-controller", "--tail", "50"],
        &["--namespace", SYSTEM, "logs", "--selector", GIT_SERVERS, "--tail", "30"],
    ] {
        let Ok(answer) = kubectl(arguments) else { continue };
        let _closed = writeln!(std::io::stderr(), "--- {}\n{}{}", answer.command, answer.stdout, answer.stderr);
    }
}

/// Waits until the pool's pods are all ready.
pub fn pool_is_ready() -> Result<()> {
    let arguments = ["--namespace", SYSTEM, "rollout", "status", "deployment/codekeep-git", "--timeout=180s"];
    kubectl(&arguments)?.accepted().map(drop)
}

/// How many Repositories of the tenant are ready.
pub fn count_ready(tenant: &Tenant) -> Result<usize> {
    let path = r#"jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}"#;
    let states = tenant.kubectl(&["get", "repositories", "--output", path])?.accepted()?;
    Ok(states.split_whitespace().filter(|status| *status == "True").count())
}

/// Waits until nothing was written for half a minute; gives the count of [`writes`].
pub fn quiet() -> Result<u64> {
    let mut before = writes()?;
    wait::until("a quiet half minute", Duration::from_mins(4), || {
        std::thread::sleep(Duration::from_secs(30));
        let now = writes()?;
        let is_quiet = now == before;
        before = now;
        Ok(is_quiet.then_some(now))
    })
}

/// How often the API server has been asked to write what Codekeep writes, by anybody; Leases, which leaders renew, are not among it.
pub fn writes() -> Result<u64> {
    let ours =
        [r#"group="codekeep.dev""#, r#"resource="services""#, r#"resource="configmaps""#, r#"resource="events""#];
    let reads = [r#"verb="GET""#, r#"verb="LIST""#, r#"verb="WATCH""#];
    api_requests(|line| {
        ours.iter().any(|label| line.contains(label)) && !reads.iter().any(|label| line.contains(label))
    })
}

/// How many requests the API server has had whose labels pass.
pub fn api_requests(passes: impl Fn(&str) -> bool) -> Result<u64> {
    let metrics = kubectl(&["get", "--raw", "/metrics"])?.accepted()?;
    let lines = metrics.lines().filter(|line| line.starts_with("apiserver_request_total{") && passes(line));
    let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
    Ok(counts.sum::<f64>() as u64)
}

/// Lets kubelets look after the git servers of a namespace now: mounted Secrets follow a change within a minute or two otherwise.
pub fn hurry_volumes(namespace: &str) -> Result<()> {
    let look = format!("codekeep.dev/test-look={}", random::Sequence::fresh().1);
    let arguments = ["annotate", "--overwrite", "pods", "--selector", GIT_SERVERS, &look];
    kubectl(&[&["--namespace", namespace], &arguments[..]].concat())?.accepted().map(drop)
}

/// A metric without labels, or with exactly these, of one of Codekeep's own pods, such as `git_servers` names them.
pub fn metric(pod: &str, name: &str) -> Result<f64> {
    let pod = pod.trim_start_matches("pod/");
    let text = kubectl(&["get", "--raw", &format!("/api/v1/namespaces/{SYSTEM}/pods/{pod}:9090/proxy/metrics")])?
        .accepted()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.with_context(|| format!("{pod} has no metric {name}"))?.parse()?)
}

/// The pods of the controller, of which one leads.
pub fn controllers() -> Result<Vec<String>> {
    pods(SYSTEM, "app.kubernetes.io/component=controller")
}

/// The git servers of a namespace: those of the pool, or a tenant's own.
pub fn git_servers(namespace: &str) -> Result<Vec<String>> {
    pods(namespace, GIT_SERVERS)
}

fn pods(namespace: &str, selector: &str) -> Result<Vec<String>> {
    let arguments = ["--namespace", namespace, "get", "pods", "--selector", selector, "--output", "name"];
    let names = kubectl(&arguments)?.accepted()?;
    let pods: Vec<String> = names.lines().map(str::to_owned).collect();
    ensure!(!pods.is_empty(), "there are no pods with {selector} in {namespace}");
    Ok(pods)
}
