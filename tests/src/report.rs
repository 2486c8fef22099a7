//! Lines for the person at the terminal.

use std::io::Write as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Writes a line to standard output.
pub fn say(text: impl AsRef<str>) {
    // Nobody reads a closed pipe; the exit code still tells.
    let _ = writeln!(std::io::stdout(), "{}", text.as_ref());
}

/// A progress bar with a count.
#[must_use]
pub fn bar(length: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:32} {wide_bar} {pos}/{len} {elapsed}");
    let bar = ProgressBar::new(length).with_message(what);
    styled(bar, style.ok())
}

/// A spinner for work whose end is not known.
#[must_use]
pub fn spinner(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg:32} {elapsed}");
    let bar = ProgressBar::new_spinner().with_message(what);
    let bar = styled(bar, style.ok());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn styled(bar: ProgressBar, style: Option<ProgressStyle>) -> ProgressBar {
    match style {
        Some(style) => bar.with_style(style),
        None => bar,
    }
}

/// Bytes as MB (10^6) with one decimal.
#[must_use]
pub fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

/// Seconds with two decimals.
#[must_use]
pub fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
