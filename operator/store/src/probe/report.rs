//! What checks found, and what follows from it.

use serde::Serialize;

use super::{Refusal, Subject};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// Codekeep runs, but somebody should look at this.
    Warning,
    /// Codekeep does not run on this bucket.
    Failed,
    /// The bucket could not be asked: nothing is known.
    Unanswered,
}

/// A figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measure {
    /// What was measured.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
}

impl Measure {
    pub(super) fn new(name: String, value: f64, unit: &'static str) -> Self {
        Self { name, value, unit }
    }
}

/// What a check found that did not fail.
pub(super) struct Finding {
    found: String,
    advice: Option<&'static str>,
    measures: Vec<Measure>,
}

impl Finding {
    pub(super) fn ok(found: impl Into<String>) -> Self {
        Self { found: found.into(), advice: None, measures: Vec::new() }
    }

    pub(super) fn warning(found: impl Into<String>, advice: &'static str) -> Self {
        Self { found: found.into(), advice: Some(advice), measures: Vec::new() }
    }

    pub(super) fn with(mut self, measures: Vec<Measure>) -> Self {
        self.measures = measures;
        self
    }
}

/// A check that was made.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What was checked.
    #[serde(rename = "name")]
    pub subject: Subject,
    /// How it ended.
    pub outcome: Outcome,
    /// What was found.
    pub found: String,
    /// Why it matters.
    pub why: &'static str,
    /// What to do, when there is something to do.
    pub advice: Option<&'static str>,
    /// How long it took.
    pub seconds: f64,
    /// Figures.
    pub measures: Vec<Measure>,
}

impl Check {
    pub(super) fn new(subject: Subject, checked: Result<Finding, Refusal>, time: std::time::Duration) -> Self {
        let seconds = (time.as_secs_f64() * 1_000.0).round() / 1_000.0;
        let (outcome, found, advice, measures) = match checked {
            Ok(Finding { found, advice: None, measures }) => (Outcome::Ok, found, None, measures),
            Ok(Finding { found, advice, measures }) => (Outcome::Warning, found, advice, measures),
            Err(Refusal::Unfit(found)) => (Outcome::Failed, found, Some(subject.remedy()), Vec::new()),
            Err(Refusal::Store(error)) if error.kind() == model::error::Kind::Unavailable => {
                (Outcome::Unanswered, error.to_string(), Some(Subject::Reach.remedy()), Vec::new())
            }
            Err(Refusal::Store(error)) => (Outcome::Failed, error.to_string(), Some(subject.remedy()), Vec::new()),
            Err(refusal @ (Refusal::Timeout(_) | Refusal::Unreached(_))) => {
                (Outcome::Unanswered, refusal.to_string(), Some(Subject::Reach.remedy()), Vec::new())
            }
        };
        Self { subject, outcome, found, why: subject.why(), advice, seconds, measures }
    }
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Codekeep runs on it.
    Fit,
    /// Codekeep does not run on it.
    Refused,
    /// It could not be asked, or not everything.
    Unanswered,
}

/// A report of a bucket.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The store, as its URL names it.
    pub store: String,
    /// What follows.
    pub verdict: Verdict,
    /// What was checked, in order.
    pub checks: Vec<Check>,
}

impl Report {
    pub(super) fn new(store: String, checks: Vec<Check>, whole: bool) -> Self {
        let any = |outcome| checks.iter().any(|check| check.outcome == outcome);
        let verdict = if any(Outcome::Failed) {
            Verdict::Refused
        } else if any(Outcome::Unanswered) || !whole {
            Verdict::Unanswered
        } else {
            Verdict::Fit
        };
        Self { store, verdict, checks }
    }

    /// The checks that ended so.
    pub fn ended(&self, outcome: Outcome) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(move |check| check.outcome == outcome)
    }
}
