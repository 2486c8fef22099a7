//! What is wrong with a manifest, and where.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// The document does not take effect; what it said before does.
    Error,
    /// The document takes effect, though perhaps not as its author thinks.
    Warning,
}

/// Something wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Problem {
    /// The file, relative to the folder.
    pub file: PathBuf,
    /// The line, counted from one.
    pub line: u32,
    /// The path of the field, such as `spec.statements[0].sid`; empty when the file itself is at fault.
    pub field: String,
    /// How bad it is.
    pub severity: Severity,
    /// The documented reason of the condition that shows it.
    #[serde(skip)]
    pub reason: &'static str,
    /// What is wrong, and what to do. Never holds the value of a Secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.severity == Severity::Warning { "warning: " } else { "" };
        let colon = if self.field.is_empty() { "" } else { ": " };
        // An object of a cluster has no lines.
        let line = if self.line == 0 { String::new() } else { format!(":{}", self.line) };
        write!(f, "{}{line}: {severity}{}{colon}{}", self.file.display(), self.field, self.message)
    }
}

impl Problem {
    /// The field and what is wrong with it.
    #[must_use]
    pub fn text(&self) -> String {
        let colon = if self.field.is_empty() { "" } else { ": " };
        format!("{}{colon}{}", self.field, self.message)
    }
}

/// Something wrong with a field; the document that knows its lines makes a [`Problem`] of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) field: String,
    pub(crate) severity: Severity,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// The reason of everything that a resource gets wrong by itself.
pub(crate) const INVALID_SPEC: &str = "InvalidSpec";

impl Finding {
    pub(crate) fn error(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), severity: Severity::Error, reason: INVALID_SPEC, message: message.into() }
    }

    pub(crate) fn warning(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), severity: Severity::Warning, reason: INVALID_SPEC, message: message.into() }
    }

    /// The same for another documented reason.
    pub(crate) fn because(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }

    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// `; did you mean X?` for the nearest of the known words, or a list of them when they are few.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase());
    let nearest = known.iter().map(|candidate| (distance(candidate), *candidate)).min();
    match nearest {
        Some((distance, candidate)) if distance <= 2 || distance * 3 <= candidate.len() => {
            format!("; did you mean {candidate}?")
        }
        _ if (1..=12).contains(&known.len()) => format!("; known here: {}", known.join(", ")),
        _ => String::new(),
    }
}

/// The text, cut to what a line of a log can hold and without control characters.
pub(crate) fn shown(text: &str) -> String {
    const MAX: usize = 80;
    let mut shown: String = text.chars().take(MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX).is_some() {
        shown.push('…');
    }
    shown
}
