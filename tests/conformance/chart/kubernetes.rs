//! Every object is one that Kubernetes knows, to the last field: read by the type of its kind and written again, nothing is lost.

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::{apps, core, networking, policy, rbac};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tests::binary::workspace;

use super::objects::{identity, text};
use super::render::{MINIMAL, SETS, chart, documents, helm, helm_for, kustomize, template};

/// Kinds of the Prometheus operator and of cert-manager, for which there are no types here.
const FOREIGN: [&str; 3] = ["PodMonitor", "ServiceMonitor", "Certificate"];

#[test]
fn every_object_of_the_chart_is_valid() -> Result<()> {
    for (name, values) in SETS {
        for object in template(values)? {
            check(&object).with_context(|| format!("values: {name}"))?;
        }
    }
    Ok(())
}

#[test]
fn every_object_of_config_is_valid() -> Result<()> {
    for folder in ["crd", "rbac", "manager", "network_policy", "prometheus", "default"] {
        for object in kustomize(folder)? {
            check(&object).with_context(|| format!("config/{folder}"))?;
        }
    }
    Ok(())
}

#[test]
fn the_samples_name_no_namespace_and_kubectl_takes_the_whole_folder() -> Result<()> {
    for file in std::fs::read_dir(workspace().join("config/samples"))? {
        for object in documents(&std::fs::read_to_string(file?.path())?)? {
            assert!(object.pointer("/metadata/namespace").is_none(), "{} names one", identity(&object));
            assert_ne!(text(&object, "/kind"), "Kustomization", "kubectl apply -f takes it for a resource");
            check(&object)?;
        }
    }
    Ok(())
}

#[test]
fn an_unknown_field_is_a_mistake() {
    let object = serde_json::json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "nmespace": "b"}});
    assert!(check(&object).unwrap_err().to_string().contains("/metadata/nmespace"));
}

#[test]
fn helm_lint_has_no_warning() -> Result<()> {
    for (_, values) in SETS {
        let said = helm(&["lint", "--strict", &chart().display().to_string()], values)?;
        assert!(!said.contains("[WARNING]") && !said.contains("[ERROR]"), "{said}");
    }
    Ok(())
}

#[test]
fn an_older_kubernetes_is_refused() {
    let chart = chart().display().to_string();
    let refused = helm_for("1.32.9", &["template", "codekeep", &chart], MINIMAL);
    assert!(refused.is_err_and(|error| error.to_string().contains("requires kubeVersion: >=1.33.0-0")));
}

fn check(object: &Value) -> Result<()> {
    let kind = format!("{} {}", text(object, "/apiVersion"), text(object, "/kind"));
    match kind.as_str() {
        "v1 ConfigMap" => strict::<core::v1::ConfigMap>(object),
        "v1 Namespace" => strict::<core::v1::Namespace>(object),
        "v1 Pod" => strict::<core::v1::Pod>(object),
        "v1 Secret" => strict::<core::v1::Secret>(object),
        "v1 Service" => strict::<core::v1::Service>(object),
        "v1 ServiceAccount" => strict::<core::v1::ServiceAccount>(object),
        "apps/v1 Deployment" => strict::<apps::v1::Deployment>(object),
        "policy/v1 PodDisruptionBudget" => strict::<policy::v1::PodDisruptionBudget>(object),
        "networking.k8s.io/v1 NetworkPolicy" => strict::<networking::v1::NetworkPolicy>(object),
        "rbac.authorization.k8s.io/v1 ClusterRole" => strict::<rbac::v1::ClusterRole>(object),
        "rbac.authorization.k8s.io/v1 ClusterRoleBinding" => strict::<rbac::v1::ClusterRoleBinding>(object),
        "rbac.authorization.k8s.io/v1 Role" => strict::<rbac::v1::Role>(object),
        "rbac.authorization.k8s.io/v1 RoleBinding" => strict::<rbac::v1::RoleBinding>(object),
        "apiextensions.k8s.io/v1 CustomResourceDefinition" => {
            strict::<apiextensions::v1::CustomResourceDefinition>(object)
        }
        _ if kind.starts_with("codekeep.dev/") || FOREIGN.contains(&text(object, "/kind")) => Ok(()),
        _ => bail!("{kind} is no kind that the tests know"),
    }
    .with_context(|| format!("{} is not valid", identity(object)))
    .map_err(|error| anyhow::anyhow!("{error:#}"))
}

fn strict<T: DeserializeOwned + Serialize>(object: &Value) -> Result<()> {
    let typed: T = serde_json::from_value(object.clone())?;
    let mut lost = Vec::new();
    compare(object, &serde_json::to_value(typed)?, "", &mut lost);
    if lost.is_empty() { Ok(()) } else { bail!("unknown or of another type: {}", lost.join(", ")) }
}

/// Collects where `back` has not what `object` says.
fn compare(object: &Value, back: &Value, path: &str, lost: &mut Vec<String>) {
    match (object, back) {
        (Value::Object(fields), Value::Object(kept)) => {
            for (key, value) in fields {
                compare(value, kept.get(key).unwrap_or(&Value::Null), &format!("{path}/{key}"), lost);
            }
        }
        (Value::Array(items), Value::Array(kept)) if items.len() == kept.len() => {
            for (index, (item, back)) in items.iter().zip(kept).enumerate() {
                compare(item, back, &format!("{path}/{index}"), lost);
            }
        }
        _ if object.as_f64().is_some() && object.as_f64() == back.as_f64() => {}
        _ if object == back => {}
        _ => lost.push(path.to_owned()),
    }
}
