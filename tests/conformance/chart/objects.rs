//! Looking things up in rendered objects.

use anyhow::{Context as _, Result};
use serde_json::Value;

/// `Kind/name`, with the namespace before it where there is one.
pub(crate) fn identity(object: &Value) -> String {
    let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
    match object.pointer("/metadata/namespace").and_then(Value::as_str) {
        Some(namespace) => format!("{namespace}: {kind}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

/// The text at a JSON pointer; empty where there is none.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The list at a JSON pointer; empty where there is none.
pub(crate) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The texts of the list at a JSON pointer.
pub(crate) fn texts<'a>(object: &'a Value, pointer: &str) -> Vec<&'a str> {
    list(object, pointer).iter().filter_map(Value::as_str).collect()
}

/// The objects of a kind.
pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| text(object, "/kind") == kind).collect()
}

/// The object of that kind and name, where a name without the hash of kustomize is enough.
pub(crate) fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> Result<&'a Value> {
    let found = of_kind(objects, kind).into_iter().find(|object| {
        let own = text(object, "/metadata/name");
        own == name || own.rsplit_once('-').is_some_and(|(stem, hash)| stem == name && hash.len() == 10)
    });
    found.with_context(|| format!("there is no {kind}/{name}"))
}

/// `pool.yaml` as the controller reads it.
pub(crate) fn pool(objects: &[Value]) -> Result<Value> {
    let map = find(objects, "ConfigMap", "codekeep-pool")?;
    Ok(serde_saphyr::from_str(map["data"]["pool.yaml"].as_str().context("no pool.yaml")?)?)
}
