//! The entries of a Secret. What they hold never gets into a message.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::secret::SecretString;
use serde_json::Value;

use crate::problem::Finding;
use crate::yaml::field;

/// A Secret's entries: `stringData` over decoded `data`, as the API server merges them.
#[derive(Debug, Default)]
pub(crate) struct Secret {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Where it was written: `stringData.password` or `data.password`.
    field: String,
    /// The text, or why there is none.
    text: Result<SecretString, &'static str>,
}

impl Secret {
    /// Reads the entries, with what is wrong about them.
    pub(crate) fn read(document: &Value) -> (Self, Vec<Finding>) {
        let (mut secret, mut findings) = (Self::default(), Vec::new());
        let as_written: fn(&str) -> _ = |text| Ok(SecretString::new(text.to_owned()));
        for (map, decode) in [("data", decoded as fn(&str) -> _), ("stringData", as_written)] {
            match document.get(map) {
                None | Some(Value::Null) => {}
                Some(Value::Object(entries)) => {
                    for (name, value) in entries {
                        let text = value.as_str().ok_or("must be a text; put it in quotes").and_then(decode);
                        secret.entries.insert(name.clone(), Entry { field: field(map, name), text });
                    }
                }
                Some(_) => findings.push(Finding::error(map, "must be a mapping of texts")),
            }
        }
        for entry in secret.entries.values() {
            findings.extend(entry.text.as_ref().err().map(|reason| Finding::error(&entry.field, *reason)));
        }
        (secret, findings)
    }

    /// The text of an entry, if it is there and good.
    pub(crate) fn get(&self, name: &str) -> Option<&SecretString> {
        self.entries.get(name).and_then(|entry| entry.text.as_ref().ok())
    }

    /// Where an entry was written, or would be.
    pub(crate) fn field(&self, name: &str) -> String {
        self.entries.get(name).map_or_else(|| field("stringData", name), |entry| entry.field.clone())
    }

    /// The entries that are good, by name.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &SecretString)> {
        self.entries.iter().filter_map(|(name, entry)| Some((name.as_str(), entry.text.as_ref().ok()?)))
    }

    /// Names of all entries.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }
}

fn decoded(text: &str) -> Result<SecretString, &'static str> {
    let text: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    let bytes = STANDARD.decode(text).map_err(|_| "is not base64; encode it, or move it to stringData")?;
    String::from_utf8(bytes).map(SecretString::new).map_err(|_| "does not decode to text (UTF-8)")
}
