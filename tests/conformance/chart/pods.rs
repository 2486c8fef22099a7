//! Pods of the chart: Pod Security "restricted", the one image, disruption.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::objects::{find, identity, list, of_kind, pool, text, texts};
use super::render::{DIGEST, EVERYTHING, MINIMAL, SETS, kustomize, template, text as rendered};

/// Name and spec of every pod in what was rendered.
fn pods(objects: &[Value]) -> Vec<(String, &Value)> {
    let templates = of_kind(objects, "Deployment").into_iter().map(|object| (object, "/spec/template/spec"));
    let alone = of_kind(objects, "Pod").into_iter().map(|object| (object, "/spec"));
    let all = templates.chain(alone);
    all.filter_map(|(object, pointer)| Some((identity(object), object.pointer(pointer)?))).collect()
}

#[test]
fn every_pod_satisfies_pod_security_restricted() -> Result<()> {
    for (_, values) in SETS {
        let objects = template(values)?;
        assert_eq!(pods(&objects).len(), 2, "the controller and the test");
        for (name, pod) in &pods(&objects) {
            assert_restricted(name, pod);
        }
    }
    for (name, pod) in &pods(&kustomize("default")?) {
        assert_restricted(name, pod);
    }
    Ok(())
}

fn assert_restricted(name: &str, pod: &Value) {
    let security = &pod["securityContext"];
    assert_eq!(security["runAsNonRoot"], true, "{name}");
    assert_eq!(security["runAsUser"], 65532, "{name}");
    assert_eq!(security["seccompProfile"], json!({"type": "RuntimeDefault"}), "{name}");
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod.get(field).is_none(), "{name} has {field}");
    }
    for volume in list(pod, "/volumes") {
        let kinds = ["configMap", "projected", "emptyDir", "secret"];
        assert!(kinds.iter().any(|kind| volume.get(kind).is_some()), "{name}: {volume}");
    }
    assert!(pod.get("initContainers").is_none() && !list(pod, "/containers").is_empty(), "{name}");
    for container in list(pod, "/containers") {
        let expected = json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        });
        assert_eq!(container["securityContext"], expected, "{name}");
        assert!(container["resources"]["limits"]["memory"].is_string(), "{name} has no limit of memory");
    }
}

#[test]
fn registry_and_digest_reach_every_image() -> Result<()> {
    let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let expected = format!("r.example.com/x/codekeep@{digest}");
    let objects = template(DIGEST)?;
    for (name, pod) in pods(&objects) {
        for container in list(pod, "/containers") {
            assert_eq!(container["image"], expected, "{name}");
        }
    }
    assert_eq!(pool(&objects)?["image"], expected);
    assert!(!rendered(DIGEST)?.contains("codekeep:"), "an image is written somewhere without the values");
    Ok(())
}

#[test]
fn the_tag_is_the_version_of_the_workspace() -> Result<()> {
    let objects = template(MINIMAL)?;
    assert_eq!(pool(&objects)?["image"], format!("codekeep:{}", env!("CARGO_PKG_VERSION")));
    Ok(())
}

#[test]
fn the_controller_is_probed_and_holds_a_token_for_git_servers() -> Result<()> {
    let objects = template(MINIMAL)?;
    let pod = &find(&objects, "Deployment", "codekeep-controller")?["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["readinessProbe"]["httpGet"], json!({"path": "/readyz", "port": "metrics"}));
    assert_eq!(container["livenessProbe"]["httpGet"], json!({"path": "/healthz", "port": "metrics"}));
    assert_eq!(container["ports"], json!([{"name": "metrics", "containerPort": 9090, "protocol": "TCP"}]));
    let token = list(pod, "/volumes").iter().find(|volume| text(volume, "/name") == "token").context("no token")?;
    let source = &token["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(*source, json!({"audience": "codekeep.dev", "expirationSeconds": 3600, "path": "token"}));
    assert!(texts(container, "/args").contains(&"--pool=/etc/codekeep/pool.yaml"));
    Ok(())
}

#[test]
fn a_changed_pool_restarts_the_controller() -> Result<()> {
    let sum = |values: &str| -> Result<String> {
        let objects = template(values)?;
        let deployment = find(&objects, "Deployment", "codekeep-controller")?;
        Ok(text(deployment, "/spec/template/metadata/annotations/checksum~1pool").to_owned())
    };
    assert_eq!(sum(MINIMAL)?.len(), 64);
    assert_ne!(sum(MINIMAL)?, sum("{storage: {url: 's3://other'}}")?);
    Ok(())
}

#[test]
fn two_controllers_have_a_disruption_budget_and_one_has_none() -> Result<()> {
    assert!(of_kind(&template(MINIMAL)?, "PodDisruptionBudget").is_empty(), "one pod could never be drained");
    let objects = template(EVERYTHING)?;
    let budget = find(&objects, "PodDisruptionBudget", "codekeep-controller")?;
    let deployment = find(&objects, "Deployment", "codekeep-controller")?;
    assert_eq!(budget["spec"]["selector"], deployment["spec"]["selector"]);
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
    Ok(())
}
