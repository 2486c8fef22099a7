//! Suites: what runs tests, and the two programs.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::{self, cargo, run, say, tail, target};
use crate::summary::Outcome;
use crate::tools;

/// Builds and runs `demo` or `bench` of the tests crate on the release binary.
pub(crate) fn program(name: &str, arguments: &[String]) -> Result<bool> {
    tools::python()?;
    if build_release()?.failed > 0 {
        return Ok(false);
    }
    let mut command = cargo(&["run", "--quiet", "--release", "--locked", "--package", "tests", "--bin", name, "--"]);
    command.args(arguments).env("CODEKEEP_BINARY", target().join("release/codekeep"));
    command.env("CODEKEEP_WRITE_LOG", target().join("debug/examples/write-log"));
    Ok(command.status()?.success())
}

/// Builds and runs the benchmarks; those of the storage need a program that writes long logs.
pub(crate) fn bench(arguments: &[String]) -> Result<bool> {
    tools::jgit()?;
    if arguments.first().is_some_and(|task| task == "store") {
        // With the optimization that tests have: its dependencies would take a second release build.
        let arguments = ["build", "--locked", "--workspace", "--example", "write-log"];
        if built("build-write-log", &arguments)?.failed > 0 {
            return Ok(false);
        }
    }
    program("bench", arguments)
}

fn built(name: &str, arguments: &[&str]) -> Result<Outcome> {
    let done = run(name, cargo(arguments))?;
    if !done.ok {
        say(tail(&done.output, 60));
    }
    Ok(Outcome::of(done.ok, ""))
}

/// All of the workspace, as the tests need it: a package alone has other features of its dependencies, and would take them anew.
pub(crate) fn build_debug() -> Result<Outcome> {
    built("build", &["build", "--locked", "--workspace", "--all-targets"])
}

pub(crate) fn build_release() -> Result<Outcome> {
    say("building codekeep --release …");
    built("build-release", &["build", "--release", "--locked", "--package", "operator"])
}

/// Runs the tests of a nextest filter, ends those that hang, and counts. What is built is always the whole workspace.
fn tests(name: &str, filter: &str, arguments: &[&str], environment: &[(&str, String)]) -> Result<Outcome> {
    let mut all = vec!["nextest", "run", "--locked", "--workspace", "--filterset", filter];
    all.extend(["--no-fail-fast", "--no-tests", "fail", "--color", "never"]);
    all.extend(arguments);
    let mut command: Command = cargo(&all);
    command.env("NEXTEST_HIDE_PROGRESS_BAR", "1").envs(environment.iter().map(|(name, value)| (name, value)));
    let done = run(name, command)?;
    let counted = count(&done.output);
    if !done.ok {
        for line in done.output.lines().filter(|line| is_failure(line)) {
            say(line);
        }
        say(tail(&done.output, 80));
        say(format!("all of it: {}", done.log.display()));
    }
    let Some((passed, failed)) = counted else { return Ok(Outcome::of(false, "no summary: see its log")) };
    // A failure that is not a test's own must not vanish.
    let failed = if done.ok { failed } else { failed.max(1) };
    Ok(Outcome { passed, failed, note: String::new() })
}

fn is_failure(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("FAIL ") || line.starts_with("TIMEOUT ") || line.starts_with("SIGABRT ")
}

/// The counts of `Summary [   1.2s] 10 tests run: 8 passed (1 slow), 1 failed, 1 timed out, 3 skipped`.
fn count(output: &str) -> Option<(u64, u64)> {
    let line = output.lines().rev().find(|line| line.trim_start().starts_with("Summary ["))?;
    let (_, counts) = line.split_once("run: ")?;
    let number = |word: &str| {
        let part = counts.split(", ").find(|part| part.contains(word))?;
        part.split_whitespace().next()?.parse::<u64>().ok()
    };
    let failed = ["failed", "timed out", "exec failed"].iter().filter_map(|word| number(word)).sum();
    Some((number("passed").unwrap_or(0), failed))
}

const UNIT: &str = "not package(tests)";

pub(crate) fn unit() -> Result<Outcome> {
    tests("unit", UNIT, &[], &[])
}

/// The same, with more cases for properties that leave their number open.
pub(crate) fn unit_full() -> Result<Outcome> {
    tests("unit", UNIT, &[], &[("PROPTEST_CASES", "2000".to_owned())])
}

pub(crate) fn doc_tests() -> Result<Outcome> {
    built("doc-tests", &["test", "--doc", "--locked", "--workspace"])
}

/// Tests that need servers or clients which are built from source.
const PEERS: &str = "test(/minio/) or test(/^negative::/) or test(/^replication::chaos::/) or test(/^bundle_uri::newer::/) \
                     or test(/^foreign_clients::(git|jj)::/)";

fn suite(name: &str, full: bool) -> Result<Outcome> {
    let profile = if full { "release" } else { "debug" };
    let ignored = if full { "all" } else { "default" };
    tests(name, &format!("binary_id(tests::{name}) - ({PEERS})"), &["--run-ignored", ignored], &[binary(profile)])
}

fn binary(profile: &str) -> (&'static str, String) {
    ("CODEKEEP_BINARY", target().join(profile).join("codekeep").display().to_string())
}

/// What is tested on the servers that are built from source.
pub(crate) fn peers() -> Result<Outcome> {
    tests("peers", &format!("package(tests) & ({PEERS})"), &["--run-ignored", "all"], &[binary("release")])
}

/// What stock git is tested with, by a newer one than that of the system.
pub(crate) fn newer_git() -> Result<Outcome> {
    let filter = "binary_id(tests::e2e) & test(/^(bundle_uri|clone_push|partial|lfs|sessions|signed|tls)::|^ssh::(clone_push|archive|lfs)::/)";
    let tools = target().join("tools");
    let old = std::env::var_os("PATH").unwrap_or_default();
    let paths = [tools.join("newer-git/bin"), tools.join("bin")].into_iter().chain(std::env::split_paths(&old));
    let path = std::env::join_paths(paths)?.into_string().ok().context("the path is not UTF-8")?;
    tests("newer-git", filter, &[], &[binary("release"), ("PATH", path)])
}

pub(crate) fn conformance_quick() -> Result<Outcome> {
    suite("conformance", false)
}

pub(crate) fn conformance_full() -> Result<Outcome> {
    suite("conformance", true)
}

pub(crate) fn storage() -> Result<Outcome> {
    suite("storage", true)
}

pub(crate) fn simulation() -> Result<Outcome> {
    tests("simulation", "binary_id(tests::simulation)", &[], &[])
}

pub(crate) fn end_to_end_quick() -> Result<Outcome> {
    suite("e2e", false)
}

pub(crate) fn end_to_end_full() -> Result<Outcome> {
    suite("e2e", true)
}

/// What git does with repositories whose objects are named by SHA-256: the engine, and what people do all day.
pub(crate) fn sha256() -> Result<Outcome> {
    with_sha256("sha256", "package(git) or binary_id(tests::e2e) & test(/^clone_push::/)")
}

/// The same, of whatever depends on ids.
pub(crate) fn sha256_full() -> Result<Outcome> {
    let filter =
        "test(/^(clone_push|partial|restore|encryption|shared|tables|maintenance)::|^ssh::(clone_push|archive)::/)";
    with_sha256("sha256-full", &format!("binary_id(tests::e2e) & {filter}"))
}

fn with_sha256(name: &str, filter: &str) -> Result<Outcome> {
    tests(name, filter, &[], &[binary("release"), ("GIT_DEFAULT_HASH", "sha256".to_owned())])
}

/// The operator's suite, on the cluster of this environment.
pub(crate) fn operator(environment: &[(&'static str, String)]) -> Result<Outcome> {
    // Most of the time they wait for the cluster.
    tests("operator", "binary_id(tests::operator)", &["--run-ignored", "all", "--test-threads", "4"], environment)
}

/// Measures the cluster of this environment.
pub(crate) fn cluster_bench(arguments: &[String], environment: &[(&'static str, String)]) -> Result<bool> {
    let bin = ["run", "--quiet", "--locked", "--package", "tests", "--bin", "cluster-bench", "--"];
    let mut command = cargo(&bin);
    command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
    Ok(command.status()?.success())
}

pub(crate) fn demo_file() -> Result<Outcome> {
    demo("demo-file", &[])
}

pub(crate) fn demo_seaweedfs() -> Result<Outcome> {
    demo("demo-seaweedfs", &["--store", "seaweedfs"])
}

fn demo(name: &str, arguments: &[&str]) -> Result<Outcome> {
    // As the tests are built: with optimization its dependencies would be compiled once more, and it does little itself.
    let built = build_debug()?;
    if built.failed > 0 {
        return Ok(built);
    }
    let mut command = command::program(&target().join("debug/demo").to_string_lossy(), arguments);
    command.env("CODEKEEP_BINARY", target().join("release/codekeep"));
    let done = run(name, command)?;
    say(tail(&done.output, 12));
    Ok(Outcome::of(done.ok, if done.ok { String::new() } else { done.log.display().to_string() }))
}
