use std::collections::BTreeSet;
use std::path::Path;

use kube::core::cel::{WarningKind, compile_schema, estimate_rule_cost};
use serde_json::Value;

use crate::{definitions, manifests};

mod rules;

/// Calls `visit` with each schema node and its path.
fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{path}.{name}"), visit);
    }
    for (keyword, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(inner) = schema.get(keyword) {
            walk(inner, &format!("{path}{suffix}"), visit);
        }
    }
}

fn walk_all(mut visit: impl FnMut(&str, &Value)) {
    for definition in definitions() {
        walk(definition.schema(), &definition.kind, &mut visit);
    }
}

fn rules_of(schema: &Value) -> impl Iterator<Item = (&str, &str)> {
    schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|rule| (rule["rule"].as_str().unwrap(), rule["message"].as_str().unwrap()))
}

#[test]
fn the_folder_of_manifests_is_what_the_types_generate() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let mut there: BTreeSet<String> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    for (name, content) in manifests() {
        let written = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(written == content, "{name} is out of date: run `cargo run -p crds --bin crdgen`");
        there.remove(&name);
    }
    assert!(there.is_empty(), "nothing generates {there:?}");
}

#[test]
fn every_field_has_a_description() {
    walk_all(|path, schema| {
        let is_item = path.ends_with("[]") || path.ends_with("{}");
        let described = schema["description"].as_str().is_some_and(|text| text.len() > 10);
        let is_metadata = path.split_once('.').is_some_and(|(_, rest)| rest == "metadata");
        assert!(described || is_metadata || is_item && schema["type"] == "string", "{path} has no description");
    });
}

#[test]
fn every_string_list_and_map_is_bounded_for_the_cost_of_rules() {
    walk_all(|path, schema| {
        let bounded = match schema["type"].as_str() {
            Some("string") => {
                schema.get("maxLength").or_else(|| schema.get("enum")).or_else(|| schema.get("format")).is_some()
            }
            Some("array") => schema.get("maxItems").is_some() && schema.get("x-kubernetes-list-type").is_some(),
            Some("object") if schema.get("additionalProperties").is_some() => schema.get("maxProperties").is_some(),
            Some("integer") => schema.get("minimum").is_some() || path.contains("conditions[]"),
            Some("object" | "boolean") => true,
            other => panic!("{path} has the type {other:?}"),
        };
        assert!(bounded, "{path} has no upper bound or no list type");
        assert!(schema.get("nullable").is_none() && schema.get("anyOf").is_none(), "{path}");
    });
}

#[test]
fn keys_of_map_lists_are_required_or_have_a_default() {
    walk_all(|path, schema| {
        for key in schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten() {
            let key = key.as_str().unwrap();
            let required = schema["items"]["required"].as_array().is_some_and(|all| all.iter().any(|name| name == key));
            let default = schema["items"]["properties"][key].get("default").is_some();
            assert!(required || default, "{path}: {key}");
        }
    });
}

#[test]
fn every_rule_compiles_is_affordable_and_says_what_to_do() {
    let mut count = 0;
    walk_all(|path, schema| {
        let compiled = compile_schema(schema);
        for (rule, message) in rules_of(schema) {
            count += 1;
            let costs = estimate_rule_cost(rule, &compiled);
            assert!(costs.iter().all(|warning| warning.kind != WarningKind::CostExceeded), "{path}: {costs:?}");
            assert!(
                message.contains(';') && !message.contains('\n'),
                "{path}: what to do after a semicolon: {message}"
            );
            let field = path.rsplit('.').next().unwrap().trim_end_matches("[]");
            let names_field = message.contains(field)
                || rules_field(schema, rule).is_some_and(|named| message.contains(&named))
                || message.contains(field.trim_end_matches('s'));
            assert!(names_field, "{path}: the message names no field: {message}");
        }
        assert!(compiled.validations.iter().all(Result::is_ok), "{path}");
    });
    assert!(count >= 10, "{count}");
}

fn rules_field(schema: &Value, rule: &str) -> Option<String> {
    let rules = schema["x-kubernetes-validations"].as_array()?;
    let path = rules.iter().find(|candidate| candidate["rule"] == rule)?["fieldPath"].as_str()?;
    path.rsplit('.').next().map(str::to_owned)
}

#[test]
fn kinds_are_found_by_short_name_and_category_and_show_their_state() {
    for definition in definitions() {
        let names = &definition.manifest["spec"]["names"];
        assert!(names["shortNames"].as_array().is_some_and(|all| !all.is_empty()), "{}", definition.kind);
        assert_eq!(names["categories"], serde_json::json!(["codekeep"]));
        let version = &definition.manifest["spec"]["versions"][0];
        let columns: Vec<&str> = version["additionalPrinterColumns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|column| column["name"].as_str().unwrap())
            .collect();
        assert!(["Ready", "Status", "Age"].iter().all(|wanted| columns.contains(wanted)), "{columns:?}");
        assert_eq!(definition.kind == "Repository", columns.contains(&"Clone URL"));
        assert!(version["subresources"]["status"].is_object());
        let status = &definition.schema()["properties"]["status"]["properties"];
        assert!(status["observedGeneration"].is_object());
        assert_eq!(status["conditions"]["x-kubernetes-list-map-keys"], serde_json::json!(["type"]));
    }
}
