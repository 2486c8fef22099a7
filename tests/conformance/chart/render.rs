//! Running Helm and kubectl, and the sets of values that the tests render.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tests::binary::workspace;

/// As little as there has to be.
pub(crate) const MINIMAL: &str =
    "{storage: {url: 's3://bucket?region=eu-central-1', credentialsSecret: codekeep-store}}";

/// Values that change what is rendered, by what they are about.
pub(crate) const SETS: [(&str, &str); 8] = [
    ("minimal", MINIMAL),
    ("two namespaces", WATCHED),
    (
        "certificate from outside",
        "{storage: {url: 's3://b'}, externalUrl: 'https://g.example.com', tls: {secretName: g}}",
    ),
    (
        "cert-manager",
        "{storage: {url: 's3://b'}, externalUrl: 'https://g.example.com:8443', \
         tls: {certManager: {enabled: true, issuerRef: {name: le, kind: ClusterIssuer}}}}",
    ),
    ("no network policy", "{storage: {url: 's3://b'}, networkPolicy: {enabled: false}}"),
    ("image by digest", DIGEST),
    ("no definitions", "{storage: {url: 's3://b'}, crds: {enabled: false}}"),
    ("everything", EVERYTHING),
];

/// Two namespaces instead of the cluster.
pub(crate) const WATCHED: &str =
    "{storage: {url: 's3://bucket'}, watchNamespaces: [team-a, team-b], credentials: {namespaces: [team-a, team-c]}}";

/// An image of another registry, by digest.
pub(crate) const DIGEST: &str = "{storage: {url: 's3://b'}, image: {registry: r.example.com, repository: x/codekeep, tag: old, \
     digest: 'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'}}";

/// What no other set has.
pub(crate) const EVERYTHING: &str = r"
storage:
  url: 's3://b'
  stores: {archive: 's3://c', far: {url: 's3://d', credentialsSecret: far, replication: {mode: Asynchronous, stores: [default]}}}
  replication: {mode: Synchronous, stores: [archive, far], quorum: 2}
  credentials: {accessKeyId: a, secretAccessKey: b}
imagePullSecrets: [{name: pull}]
commonLabels: {team: x}
priorityClassName: high
externalUrl: https://git.example.com
tls: {certManager: {enabled: true, issuerRef: {name: le}, dnsNames: [git.example.com]}}
controller:
  replicas: 2
  env: [{name: A, value: b}]
  podLabels: {p: q}
  podAnnotations: {p: q}
  serviceAccountAnnotations: {p: q}
  nodeSelector: {a: b}
  tolerations: [{key: x, operator: Exists}]
  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}
  topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {a: b}}}]
keyServices: {aws: {url: 'awskms://eu-west-1'}, vault: {url: 'vault+https://v/transit', credentialsSecret: vault}}
pool:
  cacheMedium: Memory
  service: {type: LoadBalancer, nodePort: 30443, annotations: {a: b}, loadBalancerSourceRanges: [10.0.0.0/8]}
  webhookAllowCidrs: [10.0.0.0/8]
  env: [{name: A, value: b}]
  podLabels: {p: q}
  podAnnotations: {p: q}
  serviceAccountAnnotations: {p: q}
  nodeSelector: {a: b}
  tolerations: [{key: x, operator: Exists}]
  affinity: {nodeAffinity: {}}
  topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]
networkPolicy: {metricsFrom: [{namespaceSelector: {matchLabels: {name: monitoring}}}]}
metrics: {podMonitor: {enabled: true, labels: {release: p}, interval: 30s}, serviceMonitor: {enabled: true, labels: {release: p}, interval: 1m}}
";

pub(crate) fn chart() -> PathBuf {
    workspace().join("charts/codekeep")
}

/// Where helm and kubectl are: in `$CODEKEEP_CLUSTER_TOOLS`, on the path, else what the local cluster fetches for itself.
fn tool(name: &str) -> Result<PathBuf> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    if let Some(folder) = FOLDER.get() {
        return Ok(folder.join(name));
    }
    let found = match std::env::var_os("CODEKEEP_CLUSTER_TOOLS") {
        Some(folder) => PathBuf::from(folder),
        None if on_path("helm") && on_path("kubectl") => PathBuf::new(),
        None => fetched()?,
    };
    Ok(FOLDER.get_or_init(|| found).join(name))
}

fn on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

fn fetched() -> Result<PathBuf> {
    let fetched = Command::new(workspace().join("tests/cluster/fetch.sh")).stderr(Stdio::inherit()).output()?;
    ensure!(fetched.status.success(), "tests/cluster/fetch.sh failed; put helm and kubectl on the path instead");
    let text = String::from_utf8(fetched.stdout)?;
    Ok(PathBuf::from(text.lines().last().context("fetch.sh printed no folder")?.trim()))
}

/// Runs a tool with text on its standard input; its output, or its complaint as the error.
fn run(name: &str, arguments: &[&str], input: &str) -> Result<String> {
    let mut command = Command::new(tool(name)?);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("failed to start {name}"))?;
    child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("{name} {}: {said}{complaint}", arguments.join(" "));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// `helm` with values on its standard input, for a version of Kubernetes.
pub(crate) fn helm_for(kubernetes: &str, arguments: &[&str], values: &str) -> Result<String> {
    let mut all = arguments.to_vec();
    all.extend(["--kube-version", kubernetes, "--values", "-"]);
    run("helm", &all, values)
}

/// `helm` with values on its standard input, for the oldest Kubernetes that the chart allows.
pub(crate) fn helm(arguments: &[&str], values: &str) -> Result<String> {
    helm_for("1.33.0", arguments, values)
}

/// What `helm template` renders, as text.
pub(crate) fn text(values: &str) -> Result<String> {
    helm(&["template", "codekeep", &chart().display().to_string(), "--namespace", "codekeep-system"], values)
}

/// What `helm template` renders with single values changed, each as `path=JSON`.
pub(crate) fn text_with(values: &str, changes: &[String]) -> Result<String> {
    let chart = chart().display().to_string();
    let mut arguments = vec!["template", "codekeep", &chart, "--namespace", "codekeep-system"];
    arguments.extend(changes.iter().flat_map(|change| ["--set-json", change]));
    helm(&arguments, values)
}

/// What `helm template` renders.
pub(crate) fn template(values: &str) -> Result<Vec<Value>> {
    documents(&text(values)?)
}

/// What `helm template` says to values that it refuses.
pub(crate) fn refusal(values: &str) -> Result<String> {
    match text(values) {
        Ok(_) => bail!("the chart took {values}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

/// Packs the chart into a folder; the package.
pub(crate) fn package(folder: &Path) -> Result<PathBuf> {
    let chart = chart().display().to_string();
    run("helm", &["package", &chart, "--destination", &folder.display().to_string()], "")?;
    Ok(folder.join(format!("codekeep-{}.tgz", env!("CARGO_PKG_VERSION"))))
}

/// What `kubectl kustomize` makes of a folder of `config/`.
pub(crate) fn kustomize(folder: &str) -> Result<Vec<Value>> {
    documents(&run("kubectl", &["kustomize", &workspace().join("config").join(folder).display().to_string()], "")?)
}

/// The documents of a stream of YAML.
pub(crate) fn documents(yaml: &str) -> Result<Vec<Value>> {
    let all: Vec<Value> = serde_saphyr::from_multiple(yaml)?;
    Ok(all.into_iter().filter(|document| !document.is_null()).collect())
}
