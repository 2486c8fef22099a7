//! Checks a document against the schema of its kind, as the API server does: types and bounds, CEL rules, defaults.

mod metadata;
mod structure;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use kube::core::cel::{CompiledSchema, ErrorKind, apply_defaults, compile_schema, validate_compiled};
use serde_json::Value;

pub(crate) use metadata::check as check_metadata;
use structure::Structure;

use crate::problem::Finding;

/// The schemas of all our kinds, compiled once.
static SCHEMAS: LazyLock<Vec<Schema>> = LazyLock::new(|| crds::definitions().iter().map(Schema::compile).collect());

/// The schema of a kind.
pub(crate) struct Schema {
    pub(crate) kind: String,
    text: Value,
    structure: Structure,
    rules: CompiledSchema,
}

impl Schema {
    /// The schema of a kind of our group.
    pub(crate) fn of(kind: &str) -> Option<&'static Self> {
        SCHEMAS.iter().find(|schema| schema.kind == kind)
    }

    /// The kinds of our group.
    pub(crate) fn kinds() -> impl Iterator<Item = &'static str> {
        SCHEMAS.iter().map(|schema| schema.kind.as_str())
    }

    fn compile(definition: &crds::Definition) -> Self {
        let schema = definition.schema().clone();
        Self {
            kind: definition.kind.clone(),
            structure: Structure::compile(&schema),
            rules: compile_schema(&schema),
            text: schema,
        }
    }

    /// The document with defaults filled in, and everything that is wrong with it.
    pub(crate) fn check(&self, document: &Value) -> (Value, Vec<Finding>) {
        let document = apply_defaults(&self.text, &without_nulls(document));
        let mut findings = metadata::check(&document);
        self.structure.check(&document, &mut findings);
        // A rule that fails over a field of the wrong type would only say the same again, worse.
        let wrong: BTreeSet<String> = findings.iter().map(|finding| finding.field.clone()).collect();
        let rules = self.broken_rules(&document, None, wrong.is_empty());
        findings.extend(rules.into_iter().filter(|finding| !wrong.contains(&finding.field)));
        (document, findings)
    }

    /// What the rules say of a change from one good document to another.
    pub(crate) fn check_change(&self, document: &Value, old: &Value) -> Vec<Finding> {
        self.broken_rules(document, Some(old), true)
    }

    fn broken_rules(&self, document: &Value, old: Option<&Value>, is_well_typed: bool) -> Vec<Finding> {
        let Err(errors) = validate_compiled(&self.rules, document, old) else { return vec![] };
        errors
            .into_iter()
            .filter(|error| is_well_typed || error.kind == ErrorKind::ValidationFailure)
            .map(|error| Finding::error(error.field_path.trim_start_matches('.'), error.message))
            .collect()
    }
}

/// `field:` without a value means that the field is not there.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_nulls(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;
