//! The structural part of a schema: types, bounds, patterns, choices, unknown and missing fields, unique items.
//!
//! Knows the keywords that our schemas use and no others; a test holds it to that.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde_json::Value;

use crate::problem::{Finding, did_you_mean, shown};
use crate::yaml::{field, item};

/// One node of a compiled schema.
#[derive(Debug, Default)]
pub(super) struct Structure {
    kind: Kind,
    choices: Vec<String>,
    length: Bounds,
    range: (Option<i64>, Option<i64>),
    pattern: Option<Regex>,
    fields: BTreeMap<String, Self>,
    required: Vec<String>,
    /// Of a list's items or of a map's values.
    inner: Option<Box<Self>>,
    unique: Unique,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Not said: anything goes.
    #[default]
    Any,
    Text,
    Whole,
    Truth,
    List,
    Object,
    Map,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Any => "a value",
            Self::Text => "a text",
            Self::Whole => "a whole number",
            Self::Truth => "true or false",
            Self::List => "a list",
            Self::Object | Self::Map => "a mapping",
        }
    }
}

/// Of characters, items or entries.
#[derive(Debug, Default, Clone, Copy)]
struct Bounds {
    min: Option<u64>,
    max: Option<u64>,
}

#[derive(Debug, Default)]
enum Unique {
    #[default]
    No,
    Items,
    Keys(Vec<String>),
}

impl Structure {
    pub(super) fn compile(schema: &Value) -> Self {
        let texts = |keyword: &str| -> Vec<String> {
            schema[keyword].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let kind = match schema["type"].as_str() {
            Some("string") => Kind::Text,
            Some("integer") => Kind::Whole,
            Some("boolean") => Kind::Truth,
            Some("array") => Kind::List,
            Some("object") if schema.get("additionalProperties").is_some() => Kind::Map,
            Some("object") => Kind::Object,
            _ => Kind::Any,
        };
        let suffix = match kind {
            Kind::List => "Items",
            Kind::Map => "Properties",
            _ => "Length",
        };
        let bound = |end: &str| schema[format!("{end}{suffix}")].as_u64();
        Self {
            kind,
            choices: texts("enum"),
            length: Bounds { min: bound("min"), max: bound("max") },
            range: (schema["minimum"].as_i64(), schema["maximum"].as_i64()),
            pattern: schema["pattern"].as_str().and_then(|pattern| Regex::new(pattern).ok()),
            fields: schema["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, schema)| (name.clone(), Self::compile(schema)))
                .collect(),
            required: texts("required"),
            inner: schema
                .get("items")
                .or_else(|| schema.get("additionalProperties"))
                .map(|inner| Box::new(Self::compile(inner))),
            unique: match schema["x-kubernetes-list-type"].as_str() {
                Some("set") => Unique::Items,
                Some("map") => Unique::Keys(texts("x-kubernetes-list-map-keys")),
                _ => Unique::No,
            },
        }
    }

    /// Reports everything that is wrong with a document. Its metadata is checked elsewhere.
    pub(super) fn check(&self, document: &Value, findings: &mut Vec<Finding>) {
        self.check_at("", document, findings);
    }

    fn check_at(&self, path: &str, value: &Value, findings: &mut Vec<Finding>) {
        match (self.kind, value) {
            (Kind::Any, _) | (Kind::Truth, Value::Bool(_)) => {}
            (Kind::Text, Value::String(text)) => self.check_text(path, text, findings),
            (Kind::Whole, Value::Number(number)) => self.check_number(path, number, findings),
            (Kind::List, Value::Array(items)) => self.check_list(path, items, findings),
            (Kind::Object, Value::Object(_)) => self.check_object(path, value, findings),
            (Kind::Map, Value::Object(entries)) => {
                self.check_count(path, entries.len(), "entries", findings);
                for (name, value) in entries {
                    self.inner.iter().for_each(|inner| inner.check_at(&field(path, name), value, findings));
                }
            }
            (kind, other) => findings.push(Finding::error(path, wrong_type(kind, other))),
        }
    }

    fn check_text(&self, path: &str, text: &str, findings: &mut Vec<Finding>) {
        if !self.choices.is_empty() {
            if !self.choices.iter().any(|choice| choice == text) {
                let known = self.choices.iter().map(String::as_str);
                let hint = did_you_mean(text, known);
                findings.push(Finding::error(path, format!("'{}' is not one of the choices{hint}", shown(text))));
            }
            return;
        }
        let before = findings.len();
        self.check_count(path, text.chars().count(), "characters", findings);
        if findings.len() == before
            && let Some(pattern) = self.pattern.as_ref().filter(|pattern| !pattern.is_match(text))
        {
            findings.push(Finding::error(path, format!("'{}' does not have the form {pattern}", shown(text))));
        }
    }

    fn check_number(&self, path: &str, number: &serde_json::Number, findings: &mut Vec<Finding>) {
        let (min, max) = (self.range.0.unwrap_or(i64::MIN), self.range.1.unwrap_or(i64::MAX));
        match number.as_i64() {
            Some(whole) if (min..=max).contains(&whole) => {}
            None if number.is_f64() => {
                findings.push(Finding::error(path, format!("must be a whole number, not {number}")));
            }
            _ => findings.push(Finding::error(path, format!("must be between {min} and {max}, not {number}"))),
        }
    }

    fn check_list(&self, path: &str, items: &[Value], findings: &mut Vec<Finding>) {
        self.check_count(path, items.len(), "items", findings);
        let mut seen = BTreeSet::new();
        for (index, value) in items.iter().enumerate() {
            let path = item(path, index);
            self.inner.iter().for_each(|inner| inner.check_at(&path, value, findings));
            let (identity, place) = match &self.unique {
                Unique::No => continue,
                Unique::Items => (identity([value]), path),
                Unique::Keys(keys) => {
                    let place = keys.last().map_or_else(|| path.clone(), |key| field(&path, key));
                    (identity(keys.iter().map(|key| &value[key])), place)
                }
            };
            if !seen.insert(identity.clone()) {
                let message =
                    format!("'{}' is there twice; each may be there once: remove or rename one", shown(&identity));
                findings.push(Finding::error(place, message));
            }
        }
    }

    fn check_object(&self, path: &str, value: &Value, findings: &mut Vec<Finding>) {
        let entries = || value.as_object().into_iter().flatten();
        for (name, value) in entries() {
            match self.fields.get(name) {
                Some(_) if path.is_empty() && name == "metadata" => {}
                Some(structure) => structure.check_at(&field(path, name), value, findings),
                None => {
                    let hint = did_you_mean(name, self.fields.keys().map(String::as_str));
                    findings.push(Finding::error(field(path, name), format!("there is no such field{hint}")));
                }
            }
        }
        for name in self.required.iter().filter(|name| value.get(name.as_str()).is_none()) {
            findings.push(Finding::error(field(path, name), "is missing and must be there"));
        }
    }

    fn check_count(&self, path: &str, count: usize, of: &str, findings: &mut Vec<Finding>) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        if let Some(min) = self.length.min.filter(|min| count < *min) {
            findings.push(Finding::error(path, format!("must have at least {min} {of}, not {count}")));
        }
        if let Some(max) = self.length.max.filter(|max| count > *max) {
            findings.push(Finding::error(path, format!("must have at most {max} {of}, not {count}")));
        }
    }
}

/// What must be unique, for people to read.
fn identity<'a>(parts: impl IntoIterator<Item = &'a Value>) -> String {
    let text = |part: &Value| part.as_str().map_or_else(|| part.to_string(), str::to_owned);
    parts.into_iter().map(text).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn wrong_type(wanted: Kind, value: &Value) -> String {
    let found = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    };
    let fix = match (wanted, value) {
        (Kind::Text, Value::Bool(_) | Value::Number(_)) => "; put it in quotes",
        (Kind::Whole | Kind::Truth, Value::String(_)) => "; write it without quotes",
        (Kind::List, Value::String(_) | Value::Object(_)) => "; write it as [item] or behind a dash",
        _ => "",
    };
    format!("must be {}, not {found}{fix}", wanted.name())
}
