//! Network policies, which no network of a local cluster enforces, turned into rules of each node's packet filter: what Codekeep
//! needs passes, and what nobody else needs does not.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::kube::{SYSTEM, Tenant, dedicated, give_credentials, kubectl, local_value, on_node, ready, repository};
use tests::wait;

/// The pods of a cluster as policies see them.
struct Pods(Vec<Value>);

impl Pods {
    fn listed() -> Result<Self> {
        let text = kubectl(&["get", "pods", "--all-namespaces", "--output", "json"])?.accepted()?;
        let pods: Value = serde_json::from_str(&text)?;
        Ok(Self(pods["items"].as_array().cloned().unwrap_or_default()))
    }

    /// The pods of a namespace, or of all, with these labels.
    fn select<'a>(&'a self, namespace: Option<&'a Value>, selector: &'a Value) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |pod| {
            let labels = &pod["metadata"]["labels"];
            let wanted = selector["matchLabels"].as_object();
            pod["status"]["podIP"].is_string()
                && namespace.is_none_or(|namespace| pod["metadata"]["namespace"] == *namespace)
                && wanted.into_iter().flatten().all(|(name, value)| labels[name] == *value)
        })
    }
}

fn address(pod: &Value) -> &str {
    pod["status"]["podIP"].as_str().unwrap_or_default()
}

/// A port of a rule: a number, or the name of one of the pod's.
fn number(port: &Value, pod: &Value) -> Result<u64> {
    if let Some(number) = port["port"].as_u64() {
        return Ok(number);
    }
    let ports = pod["spec"]["containers"][0]["ports"].as_array().context("the pod has no ports")?;
    let named = ports.iter().find(|named| named["name"] == port["port"]);
    named.and_then(|named| named["containerPort"].as_u64()).with_context(|| format!("the pod has no port {port}"))
}

/// One direction of a policy, and how a packet filter names the addresses of a packet that goes there.
struct Direction {
    kind: &'static str,
    peers: &'static str,
    own: &'static str,
    other: &'static str,
}

const DIRECTIONS: [Direction; 2] = [
    Direction { kind: "Ingress", peers: "from", own: "daddr", other: "saddr" },
    Direction { kind: "Egress", peers: "to", own: "saddr", other: "daddr" },
];

/// The rules of one policy for the pods that it selects; of what a policy can say, that which ours say.
fn rules(policy: &Value, pods: &Pods) -> Result<String> {
    let mut all = String::new();
    let spec = &policy["spec"];
    for pod in pods.select(Some(&policy["metadata"]["namespace"]), &spec["podSelector"]) {
        let kinds = spec["policyTypes"].as_array().context("a policy without types")?;
        for direction in DIRECTIONS.iter().filter(|direction| kinds.iter().any(|kind| kind == direction.kind)) {
            for rule in spec[direction.kind.to_lowercase()].as_array().into_iter().flatten() {
                all += &accepted(rule, direction, pod, pods)?;
            }
            writeln!(all, "ip {} {} drop", direction.own, address(pod))?;
        }
    }
    Ok(all)
}

fn accepted(rule: &Value, direction: &Direction, pod: &Value, pods: &Pods) -> Result<String> {
    let mut all = String::new();
    let mut peer = String::new();
    if let Some(peers) = rule[direction.peers].as_array() {
        ensure!(
            peers.iter().all(|peer| peer["namespaceSelector"] == json!({})),
            "a peer that is not of all namespaces"
        );
        let selected = peers.iter().flat_map(|peer| pods.select(None, &peer["podSelector"]));
        peer = format!("ip {} {{ {} }} ", direction.other, selected.map(address).collect::<Vec<_>>().join(", "));
    }
    for port in rule["ports"].as_array().into_iter().flatten() {
        let protocol = port["protocol"].as_str().unwrap_or("TCP").to_lowercase();
        let (own, address) = (direction.own, address(pod));
        writeln!(all, "ip {own} {address} {peer}{protocol} dport {} accept", number(port, pod)?)?;
    }
    Ok(all)
}

/// Enforces the policies of these namespaces on all nodes for the pods that there are now.
fn enforce(namespaces: &[&str]) -> Result<()> {
    let (pods, mut all) = (Pods::listed()?, String::new());
    for namespace in namespaces {
        let text = kubectl(&["--namespace", namespace, "get", "networkpolicies", "--output", "json"])?.accepted()?;
        let policies: Value = serde_json::from_str(&text)?;
        for policy in policies["items"].as_array().into_iter().flatten() {
            all += &rules(policy, &pods)?;
        }
    }
    ensure!(all.contains("dport 9443 accept") && all.contains("drop"), "the policies say nothing: {all}");
    // Ingress and egress are decided apart; a connection that both let pass is one that neither drops.
    let (ingress, egress): (Vec<&str>, Vec<&str>) = all.lines().partition(|rule| rule.starts_with("ip daddr"));
    let chain = |name: &str, rules: Vec<&str>| {
        let rules = rules.join("\n");
        format!(
            "chain {name} {{ type filter hook forward priority 10; ct state established,related accept\n{rules}\n}}"
        )
    };
    let table = format!("table ip policies {{\n{}\n{}\n}}\n", chain("ingress", ingress), chain("egress", egress));
    on_each_node(&["nft", "-f", "-"], &table)
}

fn on_each_node(command: &[&str], input: &str) -> Result<()> {
    let nodes = local_value("CLUSTER_NODES")?.parse::<u8>()?;
    (1..=nodes).try_for_each(|node| on_node(node, command, input)?.accepted().map(drop))
}

/// Whether the tenant's client reaches a port of a pod.
fn reaches(tenant: &Tenant, pod: &Value, port: u16) -> Result<bool> {
    let target = format!("{}:{port}", address(pod));
    let script =
        format!("perl -MIO::Socket::INET -e 'exit !IO::Socket::INET->new(PeerAddr => \"{target}\", Timeout => 3)'");
    Ok(tenant.sh(&script)?.ok)
}

#[test]
#[ignore = "needs a local cluster"]
fn what_codekeep_needs_passes_its_network_policies_and_nothing_else_does() -> Result<()> {
    let tenant = ready("isolation")?;
    give_credentials(&tenant, "store")?;
    tenant.repository("own", &dedicated("store"))?;
    wait::until("its own pods", Duration::from_mins(1), || {
        Ok((tenant.object("repository/own")?["status"]["servingMode"] == "Dedicated").then_some(()))
    })?;
    let outcome = enforce(&[SYSTEM, &tenant.namespace]).and_then(|()| under_the_rules(&tenant));
    // Made first, so that a table that was never made is no error.
    let removed = on_each_node(&["nft", "-f", "-"], "add table ip policies\ndelete table ip policies\n");
    outcome.and(removed)
}

fn under_the_rules(tenant: &Tenant) -> Result<()> {
    tenant.push("hello", "file1")?.accepted()?;
    tenant.clone("own")?;
    tenant.push("own", "file1")?.accepted()?;
    // The controller makes a Repository ready: API server, DNS, `ls-refs` and control port of the pool, and of own pods.
    tenant.repository("later", &json!({}))?;
    tenant.apply(&repository("own", &{
        let mut spec = dedicated("store");
        spec["description"] = json!("changed");
        spec
    }))?;
    tenant.reason("repository/own", "Ready", "Serving")?;
    // A pod of its own learns of a policy from the pool's control port.
    tenant.kubectl(&["delete", "accesspolicy", "builders"])?.accepted()?;
    let url = tenant.url("own")?;
    wait::until("the policy's end", Duration::from_secs(20), || {
        Ok(tenant.git("", &["ls-remote", &url])?.refused().ok())
    })?;

    let pods = Pods::listed()?;
    let mut seen = BTreeSet::new();
    for (namespace, component) in
        [(SYSTEM, "controller"), (SYSTEM, "git-server"), (tenant.namespace.as_str(), "git-server")]
    {
        let (namespace, labels) =
            (json!(namespace), json!({"matchLabels": {"app.kubernetes.io/component": component}}));
        for pod in pods.select(Some(&namespace), &labels) {
            for port in [8443, 9090, 9443] {
                seen.insert((component, port, reaches(tenant, pod, port)?));
            }
        }
    }
    let expected = [
        ("controller", 8443, false),
        ("controller", 9090, true),
        ("controller", 9443, false),
        ("git-server", 8443, true),
        ("git-server", 9090, true),
        ("git-server", 9443, false),
    ];
    ensure!(seen == BTreeSet::from(expected), "a tenant's client reaches {seen:?}");
    Ok(())
}
