use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Schema;

#[test]
fn every_keyword_of_our_schemas_is_checked() {
    const CHECKED: [&str; 19] = [
        "additionalProperties",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "pattern",
        "properties",
        "required",
        "type",
        "x-kubernetes-validations",
    ];
    const MERGING: [&str; 3] = ["x-kubernetes-list-map-keys", "x-kubernetes-list-type", "x-kubernetes-map-type"];
    fn walk(schema: &Value, keywords: &mut BTreeSet<String>) {
        keywords.extend(schema.as_object().unwrap().keys().cloned());
        let fields = schema["properties"].as_object().into_iter().flat_map(|fields| fields.values());
        fields
            .chain(schema.get("items"))
            .chain(schema.get("additionalProperties"))
            .for_each(|inner| walk(inner, keywords));
    }
    let mut keywords = BTreeSet::new();
    for definition in crds::definitions() {
        walk(definition.schema(), &mut keywords);
    }
    let known = |keyword: &&str| CHECKED.contains(keyword) || MERGING.contains(keyword);
    let unknown: Vec<&str> = keywords.iter().map(String::as_str).filter(|keyword| !known(keyword)).collect();
    assert_eq!(unknown, [] as [&str; 0]);
}

#[test]
fn a_bad_repository_has_all_its_problems_found_at_once() {
    let document = json!({
        "apiVersion": "codekeep.dev/v1alpha1", "kind": "Repository", "metadata": {"name": "hello", "lables": {}, "annotations": {"a": 1}},
        "spec": {"descripton": "x", "defaultBranch": "refs/heads/main", "deletionPolicy": "delete", "suspend": "yes", "store": 1,
            "limits": {"objects": 0, "deltaDepth": 1.5, "packSize": "1 GB"}, "repositoryName": "a.git"},
    });
    let (_, findings) = Schema::of("Repository").unwrap().check(&document);
    let mut found: Vec<String> =
        findings.iter().map(|finding| format!("{}: {}", finding.field, finding.message)).collect();
    found.sort();
    let wanted = [
        "metadata.annotations.a: must be a text; put it in quotes",
        "metadata.lables: there is no such field; did you mean labels?",
        "spec.defaultBranch: defaultBranch is a short branch name; write main instead of refs/heads/main",
        "spec.deletionPolicy: 'delete' is not one of the choices; did you mean Delete?",
        "spec.descripton: there is no such field; did you mean description?",
        "spec.limits.deltaDepth: must be a whole number, not 1.5",
        "spec.limits.objects: must be between 1 and 1000000000, not 0",
        "spec.limits.packSize: '1 GB' does not have the form ^([1-9][0-9]{0,14}|[1-9][0-9]{0,5}([kMGT]|[KMGT]i))$",
        "spec.repositoryName: repositoryName must not end in .git; leave the ending out, clients may add it to the URL",
        "spec.store: must be a text, not a number; put it in quotes",
        "spec.suspend: must be true or false, not a text; write it without quotes",
    ];
    assert_eq!(found, wanted);
}

#[test]
fn items_that_must_be_unique_are_found() {
    let statement = json!({"sid": "a", "effect": "Allow", "actions": ["*", "*"], "repositories": {"names": ["*"]}});
    let document = json!({"apiVersion": "codekeep.dev/v1alpha1", "kind": "AccessPolicy", "metadata": {"name": "a"},
        "spec": {"subjects": [{"kind": "Anonymous"}, {"kind": "Anonymous"}], "statements": [statement, statement]}});
    let (_, findings) = Schema::of("AccessPolicy").unwrap().check(&document);
    let mut fields: Vec<&str> = findings.iter().map(|finding| finding.field.as_str()).collect();
    fields.sort_unstable();
    let wanted = [
        "spec.statements[0].actions[1]",
        "spec.statements[1].actions[1]",
        "spec.statements[1].sid",
        "spec.subjects[1].name",
    ];
    assert_eq!(fields, wanted, "{findings:#?}");
}

#[test]
fn defaults_are_filled_in_and_empty_fields_are_absent() {
    let document = json!({"apiVersion": "codekeep.dev/v1alpha1", "kind": "Repository", "metadata": {"name": "hello"},
        "spec": {"description": null, "limits": {"objects": 7}}});
    let (document, findings) = Schema::of("Repository").unwrap().check(&document);
    assert_eq!(findings, []);
    assert_eq!(document["spec"]["defaultBranch"], "main");
    assert_eq!(document["spec"]["limits"]["objects"], 7);
    assert_eq!(document["spec"]["limits"]["packSize"], "4Gi");
    assert!(document["spec"].get("description").is_none());
}
