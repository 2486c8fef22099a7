//! The `CustomResourceDefinition`s of the chart are those of `crds/manifests`, also in a package.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tests::binary::workspace;

use super::objects::{identity, of_kind};
use super::render::{MINIMAL, documents, helm, package, template};

fn definitions(objects: &[Value]) -> Vec<Value> {
    of_kind(objects, "CustomResourceDefinition").into_iter().cloned().collect()
}

/// What crdgen wrote, with an annotation.
fn manifests(annotations: &Value) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(workspace().join("crds/manifests"))? {
        found.extend(definitions(&documents(&std::fs::read_to_string(file?.path())?)?));
    }
    for definition in &mut found {
        let metadata = definition["metadata"].as_object_mut().context("no metadata")?;
        if !annotations.is_null() {
            metadata.insert("annotations".to_owned(), annotations.clone());
        }
    }
    found.sort_by_key(identity);
    assert_eq!(found.len(), 3);
    Ok(found)
}

fn sorted(mut definitions: Vec<Value>) -> Vec<Value> {
    definitions.sort_by_key(identity);
    definitions
}

#[test]
fn the_chart_installs_the_definitions_and_keeps_them() -> Result<()> {
    let kept = json!({"helm.sh/resource-policy": "keep"});
    assert_eq!(sorted(definitions(&template(MINIMAL)?)), manifests(&kept)?);
    let lost = "{storage: {url: 's3://b'}, crds: {keep: false}}";
    assert_eq!(sorted(definitions(&template(lost)?)), manifests(&Value::Null)?);
    let none = "{storage: {url: 's3://b'}, crds: {enabled: false}}";
    assert!(definitions(&template(none)?).is_empty());
    Ok(())
}

#[test]
fn a_package_has_the_definitions_too() -> Result<()> {
    let folder = tempfile::TempDir::new()?;
    let package = package(folder.path())?;
    let text = helm(&["template", "codekeep", &package.display().to_string()], MINIMAL)?;
    assert_eq!(sorted(definitions(&documents(&text)?)), manifests(&json!({"helm.sh/resource-policy": "keep"}))?);
    Ok(())
}
