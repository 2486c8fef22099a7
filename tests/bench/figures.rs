//! What was found, as Markdown: tables while it runs, the bars at the end.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use tests::report::say;

/// All that was found.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    bars: Vec<Vec<String>>,
    missed: usize,
}

impl Figures {
    /// Runs a part; one that fails is a bar that is missed, and the others go on.
    pub(crate) fn part(&mut self, name: &str, run: impl FnOnce(&mut Self) -> Result<()>) {
        say(format!("\n### {name}"));
        if let Err(error) = run(self) {
            self.bar(name, "could be measured", &format!("{error:#}"), "", false);
        }
    }

    /// Prints a table.
    #[expect(clippy::unused_self, reason = "only who has the figures prints")]
    pub(crate) fn table(&self, header: &[&str], rows: &[Vec<String>]) {
        let header: Vec<String> = header.iter().map(|&text| text.to_owned()).collect();
        say(markdown(&header, rows));
    }

    /// A line below a table.
    #[expect(clippy::unused_self, reason = "only who has the figures prints")]
    pub(crate) fn note(&self, text: &str) {
        say(format!("\n{text}"));
    }

    /// A figure with a bar.
    pub(crate) fn bar(&mut self, number: &str, what: &str, found: &str, bar: &str, met: bool) {
        self.missed += usize::from(!met);
        let verdict = if met { "met" } else { "**missed**" };
        self.bars.push([number, what, found, bar, verdict].map(str::to_owned).to_vec());
    }

    /// A ratio that must not be above its bar.
    pub(crate) fn at_most(&mut self, number: &str, what: &str, ours: Duration, theirs: Duration, bar: f64) {
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64().max(1e-9);
        let found = format!("{ratio:.2} ({} / {})", ms(ours), ms(theirs));
        self.bar(number, what, &found, &format!("≤ {bar:.2}"), ratio <= bar);
    }

    /// Prints the bars; gives whether all are met.
    pub(crate) fn print(&self) -> bool {
        say("\n### Bars");
        self.table(&["#", "what", "found", "bar", ""], &self.bars);
        say(format!("\n{} of {} bars missed", self.missed, self.bars.len()));
        self.missed == 0
    }
}

fn markdown(header: &[String], rows: &[Vec<String>]) -> String {
    let all = || std::iter::once(header).chain(rows.iter().map(Vec::as_slice));
    let width = |column: usize| all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..header.len()).map(|column| width(column).unwrap_or(0).max(3)).collect();
    let line = |row: &[String]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} |"));
        cells.fold("|".to_owned(), |line, cell| line + &cell)
    };
    let mut text = format!("\n{}\n|", line(header));
    for width in &widths {
        // Writing to a string cannot fail.
        let _ = write!(text, "{}|", "-".repeat(width + 2));
    }
    rows.iter().fold(text, |text, row| text + "\n" + &line(row))
}

/// Milliseconds with as many decimals as mean something.
pub(crate) fn ms(time: Duration) -> String {
    let value = time.as_secs_f64() * 1000.0;
    if value < 10.0 { format!("{value:.2} ms") } else { format!("{value:.0} ms") }
}

/// The time that this share of the samples does not exceed.
pub(crate) fn quantile(samples: &[Duration], share: f64) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a few thousand samples"
    )]
    let at = (last as f64 * share).round() as usize;
    sorted.get(at.min(last)).copied().unwrap_or_default()
}

/// `p50 / p99`.
pub(crate) fn spread(samples: &[Duration]) -> String {
    format!("{} / {}", ms(quantile(samples, 0.5)), ms(quantile(samples, 0.99)))
}

/// A time divided by how often it was spent.
pub(crate) fn each(total: Duration, count: usize) -> Duration {
    total / u32::try_from(count).unwrap_or(u32::MAX).max(1)
}

/// The middle one of some numbers.
pub(crate) fn middle(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(0.0)
}
