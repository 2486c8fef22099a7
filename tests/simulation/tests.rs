//! Seeds, determinism, and the proof that a wrong store is noticed.

use std::process::Command;

use store::testing::Sabotage;

use crate::life::{CLASSES, PHASES};
use crate::runner::{self, Sum};

/// Seeds of each run of the tests.
const SEEDS: u64 = 500;
/// Within so many seeds, each deliberate fault is caught.
const CAUGHT_WITHIN: u64 = 300;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// What the runs have to go through, lest they prove nothing.
fn check_coverage(sum: &Sum) {
    let mut wanted: Vec<String> = [
        "answer lost",
        "busy",
        "cache damaged by a crash",
        "corrupt body",
        "cut",
        "deleted Checkpoint",
        "deleted Pack",
        "deleted References",
        "entry of several pushes",
        "failed but done",
        "fold",
        "kill",
        "lost connection",
        "maintenance deleted",
        "maintenance orphans",
        "maintenance tables",
        "maintenance truncated",
        "pack committed twice",
        "pack gone from under a fetch",
        "pack gone from under a push",
        "pause",
        "prune",
        "push again",
        "push checked again after a prune",
        "push committed",
        "push moved",
        "push refused after a prune",
        "push refused, objects are missing",
        "push unknown",
        "refused",
        "request lost",
        "request of a dead server",
        "restart with its cache",
        "server that encrypts",
        "stale list",
        "stub",
        "table made again",
        "table read",
        "twice",
        "zombie",
    ]
    .map(str::to_owned)
    .to_vec();
    for (operation, kind, _) in CLASSES {
        wanted.extend(PHASES.map(|phase| format!("crash {operation:?} {kind:?} {phase:?}")));
    }
    let missed: Vec<String> = wanted.into_iter().filter(|what| sum.count(what) == 0).collect();
    assert!(missed.is_empty(), "no seed came to: {}", missed.join(", "));
}

#[test]
fn five_hundred_seeds_hold() {
    let sum = runner::run_many(0, SEEDS, None, false);
    assert_eq!(sum.seeds, SEEDS);
    assert!(sum.failures.is_empty(), "{}", sum.told());
    check_coverage(&sum);
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for seed in 0..10 {
        let (one, two) = (runner::run(seed, None, false), runner::run(seed, None, false));
        assert_eq!(one, two);
    }
    let here: Vec<String> = (0..10).map(|seed| hash_line(seed, runner::run(seed, None, false).trace_hash)).collect();
    let another = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::simulate", "--ignored", "--nocapture"])
        .env("CODEKEEP_SIMULATION_FROM", "0")
        .env("CODEKEEP_SIMULATION_SEEDS", "10")
        .env("CODEKEEP_SIMULATION_HASHES", "1")
        .output()
        .unwrap();
    let there = String::from_utf8_lossy(&another.stdout);
    let there: Vec<&str> = there.lines().filter(|line| line.starts_with("hash of seed ")).collect();
    assert_eq!(here, there);
}

fn hash_line(seed: u64, hash: u64) -> String {
    format!("hash of seed {seed}: {hash:016x}")
}

#[test]
fn each_deliberate_fault_is_caught() {
    for fault in Sabotage::ALL {
        let sum = runner::run_many(0, CAUGHT_WITHIN, Some(fault), true);
        assert!(!sum.failures.is_empty(), "{fault:?} goes unnoticed in {CAUGHT_WITHIN} seeds");
    }
}

#[test]
#[ignore = "for cargo xtask simulate"]
fn simulate() {
    let fault = std::env::var("CODEKEEP_SIMULATION_SABOTAGE").ok();
    let fault = fault.map(|name| Sabotage::ALL.into_iter().find(|fault| format!("{fault:?}") == name).unwrap());
    if let Some(seed) = number("CODEKEEP_SIMULATION_SEED") {
        let report = runner::run(seed, fault, number("CODEKEEP_SIMULATION_TRACE").is_some());
        println!("{}", hash_line(seed, report.trace_hash));
        assert!(report.violations.is_empty(), "seed {seed}: {}", report.violations.join("\n"));
        return;
    }
    let (from, seeds) =
        (number("CODEKEEP_SIMULATION_FROM").unwrap_or(0), number("CODEKEEP_SIMULATION_SEEDS").unwrap_or(SEEDS));
    if number("CODEKEEP_SIMULATION_HASHES").is_some() {
        (from..from + seeds)
            .for_each(|seed| println!("{}", hash_line(seed, runner::run(seed, fault, false).trace_hash)));
        return;
    }
    let began = std::time::Instant::now();
    let sum = runner::run_many(from, seeds, fault, false);
    for (what, count) in &sum.counts {
        println!("{count:>9} {what}");
    }
    println!("{} seeds in {:.1} s", sum.seeds, began.elapsed().as_secs_f64());
    assert!(sum.failures.is_empty(), "{}", sum.told());
}
