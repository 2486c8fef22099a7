//! `cargo xtask test`: the steps of a tier, one after the other, all of them even when one fails.

use std::time::Instant;

use anyhow::Result;
use clap::ValueEnum;

use crate::command::say;
use crate::summary::{self, Outcome, Row};
use crate::{checks, cluster, fuzz, suites, tools};

/// How much is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    /// Everything: what has to pass before a change lands
    Full,
    /// Minutes: unit and conformance tests and the shorter end-to-end tests, on the unoptimized binary
    Quick,
    /// What is built from source and takes long: S3 servers, a second exact one and such as must be refused; a newer git, and jj
    Peers,
}

type Step = (&'static str, fn() -> Result<Outcome>);

const QUICK: [Step; 7] = [
    ("rustfmt", checks::rustfmt),
    ("sizes of files", checks::sizes),
    ("build", suites::build_debug),
    ("unit tests", suites::unit),
    ("manifests of the CRDs", checks::crds),
    ("conformance", suites::conformance_quick),
    ("end to end, short", suites::end_to_end_quick),
];

// The checks that fail oftenest come first; what is built for one step is what the next one needs.
const FULL: [Step; 19] = [
    ("rustfmt", checks::rustfmt),
    ("sizes of files", checks::sizes),
    ("clippy", checks::clippy),
    ("unit tests", suites::unit_full),
    ("fuzz targets, for a moment", fuzz::briefly),
    ("documentation builds", checks::documentation),
    ("examples in documentation", suites::doc_tests),
    ("manifests of the CRDs", checks::crds),
    ("cargo-deny", checks::deny),
    ("build --release", suites::build_release),
    ("build Kubernetes", cluster::build),
    ("conformance", suites::conformance_full),
    ("storage, simulated", suites::simulation),
    ("storage, on SeaweedFS", suites::storage),
    ("end to end", suites::end_to_end_full),
    ("with SHA-256", suites::sha256),
    ("operator, on Kubernetes", cluster::suite),
    ("demo on file:", suites::demo_file),
    ("demo on SeaweedFS", suites::demo_seaweedfs),
];

const PEERS: [Step; 4] = [
    ("build --release", suites::build_release),
    ("other S3 servers, other clients", suites::peers),
    ("end to end, with a newer git", suites::newer_git),
    ("end to end, with SHA-256", suites::sha256_full),
];

/// Runs a tier and prints its table; gives whether all passed.
pub(crate) fn run(tier: Tier) -> Result<bool> {
    let mut ahead = None;
    let steps: &[Step] = match tier {
        Tier::Full => {
            ahead = cluster::build_ahead();
            tools::install_all()?;
            &FULL
        }
        Tier::Quick => {
            tools::install_for_quick()?;
            &QUICK
        }
        Tier::Peers => {
            tools::install_for_peers()?;
            &PEERS
        }
    };
    let mut rows = Vec::new();
    for (place, (name, step)) in steps.iter().enumerate() {
        say(format!("[{}/{}] {name}", place + 1, steps.len()));
        let started = Instant::now();
        let outcome = step().unwrap_or_else(|error| {
            say(format!("{error:#}"));
            Outcome::of(false, "could not be run, see above")
        });
        rows.push(Row { name, outcome, time: started.elapsed() });
    }
    if let Some(mut ahead) = ahead {
        // A step has waited for it, and said what went wrong.
        ahead.wait()?;
    }
    Ok(summary::print(&rows))
}
