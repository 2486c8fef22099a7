//! Writes YAML: stable, two spaces deep, plain where YAML leaves no doubt and quoted everywhere else.

use serde_json::Value;

/// The value as a YAML document. Keys are sorted, so equal values give equal text.
pub(crate) fn to_string(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(object) if !object.is_empty() => mapping(&mut out, value, 0),
        Value::Array(items) if !items.is_empty() => sequence(&mut out, value, 0),
        _ => {
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
    out
}

fn mapping(out: &mut String, value: &Value, depth: usize) {
    let mut entries: Vec<_> = value.as_object().into_iter().flatten().collect();
    entries.sort_by_key(|(key, _)| key.as_str());
    for (index, (key, value)) in entries.into_iter().enumerate() {
        // The first line of a mapping in a sequence stands behind its dash.
        if index > 0 || !out.ends_with("- ") {
            indent(out, depth);
        }
        out.push_str(&quoted_if_needed(key));
        out.push(':');
        nested(out, value, depth);
    }
}

fn nested(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            out.push('\n');
            mapping(out, value, depth + 1);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            sequence(out, value, depth);
        }
        _ => {
            out.push(' ');
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
}

fn sequence(out: &mut String, value: &Value, depth: usize) {
    for item in value.as_array().into_iter().flatten() {
        indent(out, depth);
        out.push_str("- ");
        match item {
            Value::Object(object) if !object.is_empty() => mapping(out, item, depth + 1),
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                sequence(out, item, depth + 1);
            }
            _ => {
                out.push_str(&scalar(item));
                out.push('\n');
            }
        }
    }
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => quoted_if_needed(text),
        // Also the empty list and mapping: JSON is YAML.
        other => other.to_string(),
    }
}

fn quoted_if_needed(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { Value::from(text).to_string() }
}

/// Whether YAML 1.1 and 1.2 both read the bare text as this very string.
fn is_plain(text: &str) -> bool {
    const RESERVED: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan"];
    let first_ok = text.starts_with(|first: char| first.is_ascii_alphabetic() || matches!(first, '/' | '$' | '^'));
    let inner_ok = |c: char| c.is_ascii_alphanumeric() || " -_./(),;+=$^'\"<>?*|&!{}@\\".contains(c);
    let bare = text.chars().all(|c| inner_ok(c) || c == ':') && !text.contains(": ") && !text.ends_with([':', ' ']);
    first_ok && bare && !RESERVED.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests;
