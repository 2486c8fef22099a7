//! Runs many seeds, some at a time, and tells of those that fail.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use store::testing::{Sabotage, sabotage};

use crate::scenario;
use crate::world::Report;

/// Seeds that fail and are kept; more would say no more.
const KEPT: usize = 5;

/// What many runs left.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) seeds: u64,
    pub(crate) counts: BTreeMap<String, u64>,
    /// Seeds that failed, the lowest first.
    pub(crate) failures: Vec<Report>,
}

thread_local! {
    /// Panics of the running seed; none when no seed runs on this thread.
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Runs one seed; a panic anywhere in it is a violation.
pub(crate) fn run(seed: u64, fault: Option<Sabotage>, print: bool) -> Report {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let told = PANICS.with_borrow_mut(|panics| panics.as_mut().map(|panics| panics.push(panic.to_string())));
            if told.is_none() {
                before(panic);
            }
        }));
    });
    PANICS.set(Some(vec![]));
    sabotage(fault);
    let outcome = catch_unwind(AssertUnwindSafe(|| scenario::run(seed, print)));
    sabotage(None);
    let mut report = outcome.unwrap_or_else(|_| Report::of_panic(seed));
    report.violations.extend(PANICS.take().unwrap_or_default());
    report
}

/// Runs seeds on all processors.
pub(crate) fn run_many(from: u64, seeds: u64, fault: Option<Sabotage>, stop_early: bool) -> Sum {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let sum = Mutex::new(Sum::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let offset = next.fetch_add(1, Ordering::Relaxed);
            if offset >= seeds {
                return;
            }
            let report = run(from + offset, fault, false);
            if stop_early && !report.violations.is_empty() {
                stop.store(true, Ordering::Relaxed);
            }
            sum.lock().unwrap_or_else(PoisonError::into_inner).add(report);
        }
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Sum {
    fn add(&mut self, report: Report) {
        self.seeds += 1;
        for (what, count) in &report.counts {
            *self.counts.entry(what.clone()).or_default() += count;
        }
        if !report.violations.is_empty() {
            self.failures.push(report);
            self.failures.sort_by_key(|report| report.seed);
            self.failures.truncate(KEPT);
        }
    }

    /// How often something happened.
    pub(crate) fn count(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    /// One line for each seed that failed, and how to replay it.
    pub(crate) fn told(&self) -> String {
        let line = |report: &Report| {
            let first = report.violations.first().map_or("", String::as_str);
            format!("seed {}: {first}; replay: cargo xtask simulate --seed {} --trace", report.seed, report.seed)
        };
        self.failures.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}
