//! Conditions of a status, as kstatus and `kubectl wait` read them. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

/// The conditions of one resource, written anew at each reconcile.
pub(crate) struct Conditions {
    old: Vec<Value>,
    generation: i64,
    now: Timestamp,
    new: Vec<Value>,
}

/// A condition's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    True,
    False,
    Unknown,
}

impl Conditions {
    /// Conditions of this generation in place of those of `status`.
    pub(crate) fn new(status: &Value, generation: i64, now: Timestamp) -> Self {
        let old = status["conditions"].as_array().cloned().unwrap_or_default();
        Self { old, generation, now, new: vec![] }
    }

    /// The reason that a condition had.
    pub(crate) fn old_reason(&self, kind: &str) -> Option<&str> {
        self.old.iter().find(|condition| condition["type"] == kind)?["reason"].as_str()
    }

    /// Reason and message of a condition that was false.
    pub(crate) fn old_false(&self, kind: &str) -> Option<(String, String)> {
        let old = self.old.iter().find(|condition| condition["type"] == kind && condition["status"] == "False")?;
        Some((old["reason"].as_str()?.to_owned(), old["message"].as_str()?.to_owned()))
    }

    /// Sets a condition; its transition time moves only with its status.
    pub(crate) fn set(&mut self, kind: &str, status: Status, reason: &str, message: impl Into<String>) {
        let word = match status {
            Status::True => "True",
            Status::False => "False",
            Status::Unknown => "Unknown",
        };
        let before = self.old.iter().find(|condition| condition["type"] == kind && condition["status"] == word);
        let since = before.and_then(|condition| condition["lastTransitionTime"].as_str().map(str::to_owned));
        // To the second, as the API server's own conditions.
        let since = since.unwrap_or_else(|| self.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        let message: String = message.into().chars().take(MAX_MESSAGE).collect();
        self.new.push(json!({
            "type": kind, "status": word, "reason": reason, "message": message,
            "lastTransitionTime": since, "observedGeneration": self.generation,
        }));
    }

    /// Ready with Reconciling and Stalled, which are absent when all is well.
    pub(crate) fn summarize(&mut self, summary: &Summary) {
        match summary {
            Summary::Ready { reason, message } => self.set("Ready", Status::True, reason, message),
            Summary::Progressing { reason, message } => {
                self.set("Ready", Status::False, reason, message);
                self.set("Reconciling", Status::True, reason, message);
            }
            Summary::Stalled { reason, message } => {
                self.set("Ready", Status::False, reason, message);
                self.set("Stalled", Status::True, reason, message);
            }
            Summary::NotReady { reason, message } => self.set("Ready", Status::False, reason, message),
        }
    }

    pub(crate) fn into_json(self) -> Value {
        Value::Array(self.new)
    }
}

/// Longest message; the API server refuses longer ones.
const MAX_MESSAGE: usize = 4_096;

/// How a resource is as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Summary {
    /// All is well.
    Ready { reason: &'static str, message: String },
    /// It will be well by itself.
    Progressing { reason: &'static str, message: String },
    /// Somebody has to change something.
    Stalled { reason: &'static str, message: String },
    /// As somebody wanted it.
    NotReady { reason: &'static str, message: String },
}

impl Summary {
    pub(crate) fn reason(&self) -> &'static str {
        let (Self::Ready { reason, .. }
        | Self::Progressing { reason, .. }
        | Self::Stalled { reason, .. }
        | Self::NotReady { reason, .. }) = self;
        reason
    }

    pub(crate) fn message(&self) -> &str {
        let (Self::Ready { message, .. }
        | Self::Progressing { message, .. }
        | Self::Stalled { message, .. }
        | Self::NotReady { message, .. }) = self;
        message
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self, Self::Ready { .. })
    }
}

#[cfg(test)]
mod tests;
