//! `codekeep store check`: a test report of a bucket. Exit code 0: Codekeep runs on it; 1: it does not; 2: it could not be asked.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use model::clock::{SystemClock, SystemRandom};
use prometheus::Registry;
use store::StoreMetrics;
use store::probe::{Check, Examination, Outcome, Progress, Report, Verdict};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args::{ReportFormat, StoreCheckArgs};

const REFUSED: u8 = 1;
const UNANSWERED: u8 = 2;
/// Takes back the line that tells what runs.
const ERASE: &str = "\r\x1b[K";

/// Examines a store and prints the report.
pub(crate) async fn check(args: StoreCheckArgs) -> anyhow::Result<ExitCode> {
    let report = match examine(&args).await {
        Ok(report) => report,
        Err(error) => {
            tracing::error!("{error:#}");
            return Ok(ExitCode::from(UNANSWERED));
        }
    };
    match args.output {
        ReportFormat::Human => print_verdict(&report)?,
        ReportFormat::Json => say(&serde_json::to_string_pretty(&report).context("failed to write the report")?)?,
    }
    Ok(match report.verdict {
        Verdict::Fit => ExitCode::SUCCESS,
        Verdict::Refused => ExitCode::from(REFUSED),
        Verdict::Unanswered => ExitCode::from(UNANSWERED),
    })
}

async fn examine(args: &StoreCheckArgs) -> anyhow::Result<Report> {
    let metrics = StoreMetrics::new(&Registry::new()).context("failed to register the store's metrics")?;
    let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom));
    let credentials = args.store_credentials.as_deref();
    let examination = Examination::open(&args.url, credentials, &metrics, clock, random)
        .await
        .with_context(|| format!("failed to open the store {}", args.url))?;
    let human = args.output == ReportFormat::Human;
    let terminal = human && std::io::stdout().is_terminal();
    if human {
        say(&format!("checking {}", args.url))?;
    }
    let stop = stop_on_signal()?;
    let mut listener = |progress: Progress<'_>| {
        // A reader that went away does not keep the report from its end.
        let _ = match progress {
            Progress::Begins(subject) if terminal => {
                write!(std::io::stdout(), "…         {:<17} …", subject.name()).and_then(|()| std::io::stdout().flush())
            }
            Progress::Ended(check) if human => {
                write!(std::io::stdout(), "{}{}", if terminal { ERASE } else { "" }, lines_of(check))
            }
            _ => Ok(()),
        };
    };
    Ok(examination.run(&stop, &mut listener).await)
}

/// Ctrl-C and SIGTERM end the checks; what they wrote is removed all the same.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopped.cancel();
    });
    Ok(stop)
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Warning => "warning",
        Outcome::Failed => "FAILED",
        Outcome::Unanswered => "no answer",
    }
}

/// A line of what was found; and when it is not as it should be, why that matters and what to do.
fn lines_of(check: &Check) -> String {
    let Check { subject, outcome, found, why, advice, seconds, measures: _ } = check;
    let mut lines = format!("{:<9} {:<17} {found} ({seconds:.1} s)\n", word(*outcome), subject.name());
    if let Some(advice) = advice {
        let indent = " ".repeat(28);
        lines = format!("{lines}{indent}why: {why}\n{indent}do:  {advice}\n");
    }
    lines
}

fn print_verdict(report: &Report) -> anyhow::Result<()> {
    let Report { store, verdict, checks: _ } = report;
    let reasons = |outcome| {
        let reasons = report.ended(outcome).map(|check| format!("\n  {}: {}", check.subject.name(), check.found));
        reasons.collect::<String>()
    };
    let warnings: Vec<&str> = report.ended(Outcome::Warning).map(|check| check.subject.name()).collect();
    say("")?;
    say(&match verdict {
        Verdict::Fit if warnings.is_empty() => format!("Codekeep runs on {store}."),
        Verdict::Fit => format!("Codekeep runs on {store}; look at the warnings ({}).", warnings.join(", ")),
        Verdict::Refused => format!("Codekeep DOES NOT RUN on {store}:{}", reasons(Outcome::Failed)),
        Verdict::Unanswered => match reasons(Outcome::Unanswered) {
            reasons if reasons.is_empty() => format!("No verdict on {store}: it was stopped."),
            reasons => format!("No verdict on {store}, not everything could be asked:{reasons}"),
        },
    })
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("failed to print")
}
