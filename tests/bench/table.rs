//! What was measured, side by side, and whether the bars are met.

use std::time::Duration;

use tests::report::say;

/// Noise of a median that does not make a difference.
const NOISE: f64 = 1.05;

/// One operation on one side.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples {
    pub(crate) times: Vec<Duration>,
    pub(crate) cpu: Duration,
}

impl Samples {
    pub(crate) fn median(&self) -> Duration {
        let mut sorted = self.times.clone();
        sorted.sort();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }

    fn cpu_each(&self) -> Duration {
        self.cpu / u32::try_from(self.times.len()).unwrap_or(1).max(1)
    }
}

/// All lines so far.
#[derive(Debug, Default)]
pub(crate) struct Table {
    lines: Vec<String>,
    missed: usize,
}

impl Table {
    /// An operation measured on both sides.
    pub(crate) fn compare(&mut self, name: &str, ours: &Samples, peer: &Samples) {
        let ratio = ours.median().as_secs_f64() / peer.median().as_secs_f64().max(1e-9);
        let verdict = if ratio <= NOISE { "met" } else { "MISSED" };
        self.missed += usize::from(ratio > NOISE);
        self.lines.push(format!(
            "{name:<34} {:>10} {:>10} {ratio:>7.2} {:>10} {:>10}  {verdict}",
            millis(ours.median()),
            millis(peer.median()),
            millis(ours.cpu_each()),
            millis(peer.cpu_each())
        ));
        say(self.lines.last().map_or("", String::as_str));
    }

    /// A figure of ours with a bar of its own.
    pub(crate) fn bar(&mut self, name: &str, found: &str, met: bool, bar: &str) {
        self.missed += usize::from(!met);
        let verdict = if met { "met" } else { "MISSED" };
        self.lines.push(format!("{name}: {found} (bar: {bar})  {verdict}"));
    }

    /// Prints everything; gives whether all bars are met.
    pub(crate) fn print(&self) -> bool {
        say(format!(
            "\n{:<34} {:>10} {:>10} {:>7} {:>10} {:>10}  bar: not slower",
            "operation, median", "codekeep", "peer", "ratio", "our CPU", "peer CPU"
        ));
        for line in &self.lines {
            say(line);
        }
        say(format!("{} bars missed", self.missed));
        self.missed == 0
    }
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
