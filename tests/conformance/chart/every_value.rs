//! No value is a dead letter: each one, changed, changes what is rendered.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};

use super::render::{MINIMAL, text_with};
use super::words::{Entry, entries};

/// Values that hold before and after, and those that change: `path`, another value as JSON.
type Group<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)]);

const ENV: &str = r#"[{"name":"A","value":"b"}]"#;
const MAP: &str = r#"{"a":"b"}"#;
const SPREAD: &str = r#"[{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"DoNotSchedule"}]"#;
const TOLERATIONS: &str = r#"[{"key":"x","operator":"Exists"}]"#;
const AFFINITY: &str = r#"{"nodeAffinity":{}}"#;
const RESOURCES: &str = r#"{"requests":{"cpu":"1"}}"#;

const GROUPS: [Group<'_>; 11] = [
    (
        &[],
        &[
            ("image.registry", r#""r.example.com""#),
            ("image.repository", r#""x""#),
            ("image.tag", r#""x""#),
            ("image.digest", r#""sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef""#),
            ("image.pullPolicy", r#""Always""#),
            ("imagePullSecrets", r#"[{"name":"x"}]"#),
            ("nameOverride", r#""x""#),
            ("fullnameOverride", r#""x""#),
            ("commonLabels", MAP),
            ("priorityClassName", r#""x""#),
            ("clusterDomain", r#""x.local""#),
            ("externalUrl", r#""https://x""#),
            ("watchNamespaces", r#"["x"]"#),
            ("storage.url", r#""s3://x""#),
            ("storage.stores", r#"{"x":"s3://x"}"#),
            ("storage.credentialsSecret", r#""x""#),
            ("keyServices", r#"{"x":{"url":"awskms://x","credentialsSecret":"x"}}"#),
            ("credentials.namespaces", r#"["x"]"#),
            ("auth.tokenAudiences", r#"["x"]"#),
            ("auth.acceptApiServerAudience", "false"),
            ("tls.secretName", r#""x""#),
            ("ssh.enabled", "true"),
            ("crds.enabled", "false"),
            ("crds.keep", "false"),
            ("networkPolicy.enabled", "false"),
            ("networkPolicy.apiServerPorts", "[1]"),
            ("networkPolicy.metricsFrom", r#"[{"podSelector":{}}]"#),
            ("metrics.podMonitor.enabled", "true"),
            ("metrics.serviceMonitor.enabled", "true"),
        ],
    ),
    (
        &[],
        &[
            ("controller.replicas", "2"),
            ("controller.resources", RESOURCES),
            ("controller.concurrency", "1"),
            ("controller.logFormat", r#""human""#),
            ("controller.logLevel", r#""debug""#),
            ("controller.terminationGracePeriodSeconds", "1"),
            ("controller.env", ENV),
            ("controller.podLabels", MAP),
            ("controller.podAnnotations", MAP),
            ("controller.serviceAccountAnnotations", MAP),
            ("controller.nodeSelector", MAP),
            ("controller.tolerations", TOLERATIONS),
            ("controller.affinity", AFFINITY),
            ("controller.topologySpreadConstraints", SPREAD),
        ],
    ),
    (
        &[],
        &[
            ("pool.replicas", "3"),
            ("pool.resources", RESOURCES),
            ("pool.cacheSize", r#""1Gi""#),
            ("pool.cacheMedium", r#""Memory""#),
            ("pool.service.type", r#""NodePort""#),
            ("pool.service.annotations", MAP),
            ("pool.service.loadBalancerSourceRanges", r#"["10.0.0.0/8"]"#),
            ("pool.webhookAllowCidrs", r#"["10.0.0.0/8"]"#),
            ("pool.gracePeriodSeconds", "1"),
            ("pool.logFormat", r#""human""#),
            ("pool.logLevel", r#""debug""#),
            ("pool.priorityClassName", r#""x""#),
            ("pool.env", ENV),
            ("pool.podLabels", MAP),
            ("pool.podAnnotations", MAP),
            ("pool.serviceAccountAnnotations", MAP),
            ("pool.nodeSelector", MAP),
            ("pool.tolerations", TOLERATIONS),
            ("pool.affinity", AFFINITY),
            ("pool.topologySpreadConstraints", SPREAD),
        ],
    ),
    (&[r#"pool.service.type="NodePort""#], &[("pool.service.nodePort", "30443")]),
    (&[r#"storage.stores={"x":"s3://x"}"#], &[("storage.replication", r#"{"stores":["x"]}"#)]),
    (&["ssh.enabled=true"], &[("ssh.port", "2222"), ("ssh.nodePort", "30022")]),
    (
        &[r#"storage={"url":"s3://b","credentialsSecret":"","credentials":{"accessKeyId":"a","secretAccessKey":"b"}}"#],
        &[("storage.credentials.accessKeyId", r#""x""#), ("storage.credentials.secretAccessKey", r#""x""#)],
    ),
    (
        &[r#"externalUrl="https://git.example.com""#, r#"tls.certManager.issuerRef={"name":"le"}"#],
        &[("tls.certManager.enabled", "true")],
    ),
    (
        &[r#"tls.certManager={"enabled":true,"issuerRef":{"name":"a"},"dnsNames":["a"]}"#],
        &[("tls.certManager.issuerRef", r#"{"name":"b"}"#), ("tls.certManager.dnsNames", r#"["b"]"#)],
    ),
    (&["controller.replicas=2"], &[("podDisruptionBudget.enabled", "false")]),
    (
        &["metrics.podMonitor.enabled=true", "metrics.serviceMonitor.enabled=true"],
        &[
            ("metrics.podMonitor.labels", MAP),
            ("metrics.podMonitor.interval", r#""1s""#),
            ("metrics.serviceMonitor.labels", MAP),
            ("metrics.serviceMonitor.interval", r#""1s""#),
        ],
    ),
];

#[test]
fn every_value_changes_what_is_rendered() -> Result<()> {
    let mut dead = Vec::new();
    for (given, changes) in GROUPS {
        let given: Vec<String> = given.iter().map(|change| (*change).to_owned()).collect();
        let before = text_with(MINIMAL, &given)?;
        for (path, value) in changes {
            let mut all = given.clone();
            all.push(format!("{path}={value}"));
            if text_with(MINIMAL, &all).with_context(|| format!("{path} is refused"))? == before {
                dead.push(*path);
            }
        }
    }
    assert!(dead.is_empty(), "nothing reads {dead:?}");
    Ok(())
}

#[test]
fn every_value_is_tried_above() -> Result<()> {
    let tried: BTreeSet<String> =
        GROUPS.iter().flat_map(|(_, changes)| changes.iter().map(|(path, _)| (*path).to_owned())).collect();
    let there: BTreeSet<String> = entries()?.into_iter().filter(Entry::is_leaf).map(|entry| entry.path).collect();
    assert_eq!(tried, there);
    Ok(())
}
