//! `config/` says what the chart says.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::objects::{find, pool, text};
use super::render::{MINIMAL, kustomize, template};
use super::rights::rights;

/// The values that `config/manager` has.
const VALUES: &str = "{storage: {url: 's3://my-bucket?region=eu-central-1', credentialsSecret: codekeep-store}, \
                      metrics: {podMonitor: {enabled: true}}}";

#[test]
fn the_rights_are_those_of_the_chart() -> Result<()> {
    assert_eq!(rights(&kustomize("default")?)?, rights(&template(MINIMAL)?)?);
    Ok(())
}

#[test]
fn the_controller_is_that_of_the_chart() -> Result<()> {
    let spec = |objects: Vec<Value>| -> Result<Value> {
        let mut spec = find(&objects, "Deployment", "codekeep-controller")?["spec"].clone();
        let template = spec["template"].as_object_mut().context("no template")?;
        template.remove("metadata");
        // The name that kustomize gives has a hash.
        spec["template"]["spec"]["volumes"][0]["configMap"]["name"] = json!("codekeep-pool");
        Ok(spec)
    };
    assert_eq!(spec(kustomize("default")?)?, spec(template(VALUES)?)?);
    Ok(())
}

#[test]
fn the_pool_is_that_of_the_chart_with_the_image_of_the_controller() -> Result<()> {
    assert_eq!(pool(&kustomize("manager")?)?, pool(&template(VALUES)?)?);
    Ok(())
}

#[test]
fn network_policy_and_pod_monitor_are_those_of_the_chart() -> Result<()> {
    let chart = template(VALUES)?;
    for (folder, kind) in [("network_policy", "NetworkPolicy"), ("prometheus", "PodMonitor")] {
        let config = kustomize(folder)?;
        let [object] = config.as_slice() else { anyhow::bail!("{} objects in {folder}", config.len()) };
        assert_eq!(object["spec"], find(&chart, kind, text(object, "/metadata/name"))?["spec"], "{kind}");
    }
    Ok(())
}

#[test]
fn everything_is_in_one_namespace_that_enforces_pod_security() -> Result<()> {
    let objects = kustomize("default")?;
    let namespace = find(&objects, "Namespace", "codekeep-system")?;
    assert_eq!(text(namespace, "/metadata/labels/pod-security.kubernetes.io~1enforce"), "restricted");
    for object in &objects {
        if let Some(namespace) = object.pointer("/metadata/namespace") {
            assert_eq!(namespace, "codekeep-system");
        }
    }
    Ok(())
}
