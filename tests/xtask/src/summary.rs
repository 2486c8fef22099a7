//! The table at the end.

use std::time::Duration;

use crate::command::say;

/// What a step found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) note: String,
}

impl Outcome {
    /// One thing that holds or does not.
    pub(crate) fn of(holds: bool, note: impl Into<String>) -> Self {
        Self { passed: u64::from(holds), failed: u64::from(!holds), note: note.into() }
    }
}

/// A step with what it found and how long it took.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) time: Duration,
}

/// Prints the table; gives whether nothing failed.
pub(crate) fn print(rows: &[Row]) -> bool {
    say(format!("\n{:<34} {:>7} {:>7} {:>8}  {}", "step", "passed", "failed", "seconds", "note"));
    for row in rows {
        let Outcome { passed, failed, note } = &row.outcome;
        say(format!("{:<34} {passed:>7} {failed:>7} {:>8}  {note}", row.name, row.time.as_secs()));
    }
    let passed: u64 = rows.iter().map(|row| row.outcome.passed).sum();
    let failed: u64 = rows.iter().map(|row| row.outcome.failed).sum();
    let seconds: u64 = rows.iter().map(|row| row.time.as_secs()).sum();
    say(format!("{:<34} {passed:>7} {failed:>7} {seconds:>8}", "all"));
    say(format!("{passed} passed, {failed} failed"));
    failed == 0
}
