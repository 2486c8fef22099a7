//! Checks of the source that run no test.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::command::{cargo, run, say, tail, target, workspace};
use crate::suites;
use crate::summary::Outcome;

/// Longest source file, tests included.
const MAX_LINES: usize = 500;

fn check(name: &str, command: Command) -> Result<Outcome> {
    let done = run(name, command)?;
    if !done.ok {
        say(tail(&done.output, 60));
    }
    Ok(Outcome::of(done.ok, if done.ok { String::new() } else { done.log.display().to_string() }))
}

pub(crate) fn rustfmt() -> Result<Outcome> {
    check("rustfmt", cargo(&["fmt", "--all", "--check"]))
}

pub(crate) fn clippy() -> Result<Outcome> {
    check("clippy", cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]))
}

pub(crate) fn documentation() -> Result<Outcome> {
    let mut command = cargo(&["doc", "--workspace", "--no-deps", "--locked", "--document-private-items"]);
    command.env("RUSTDOCFLAGS", "--deny warnings");
    check("documentation", command)
}

/// The committed manifests are what the types give. `crdgen` writes in place, so what was there is put back.
pub(crate) fn crds() -> Result<Outcome> {
    let folder = workspace().join("crds/manifests");
    let committed = read_all(&folder)?;
    let built = suites::build_debug()?;
    if built.failed > 0 {
        return Ok(built);
    }
    let done = run("crdgen", Command::new(target().join("debug/crdgen")))?;
    if !done.ok {
        say(tail(&done.output, 30));
        return Ok(Outcome::of(false, "crdgen failed"));
    }
    let generated = read_all(&folder)?;
    let stale: Vec<_> =
        generated.iter().filter(|file| !committed.contains(file)).map(|(path, _)| path.clone()).collect();
    for path in generated.iter().map(|(path, _)| path) {
        std::fs::remove_file(path)?;
    }
    committed.iter().try_for_each(|(path, text)| std::fs::write(path, text))?;
    for path in &stale {
        say(format!("{} is stale: cargo run -p crds --bin crdgen", path.display()));
    }
    Ok(Outcome::of(stale.is_empty() && !committed.is_empty(), format!("{} files", committed.len())))
}

fn read_all(folder: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let text = std::fs::read(&path)?;
        files.push((path, text));
    }
    Ok(files)
}

/// Licences, bans and sources; advisories when their database can be reached.
pub(crate) fn deny() -> Result<Outcome> {
    let base = ["deny", "--all-features", "--locked", "--config", ".deny.toml"];
    let local: Vec<&str> = base.iter().chain(&["check", "bans", "licenses", "sources"]).copied().collect();
    let outcome = check("cargo-deny", cargo(&local))?;
    let advisories: Vec<&str> = base.iter().chain(&["check", "advisories"]).copied().collect();
    let done = run("cargo-deny-advisories", cargo(&advisories))?;
    if !done.ok && done.output.contains("failed to fetch advisory database") {
        return Ok(Outcome { note: "advisory database out of reach: not checked".to_owned(), ..outcome });
    }
    if !done.ok {
        say(tail(&done.output, 60));
    }
    let passed = outcome.passed + u64::from(done.ok);
    Ok(Outcome { passed, failed: outcome.failed + u64::from(!done.ok), note: outcome.note })
}

/// No source file is longer than what a reader keeps in mind; clippy counts the lines of functions.
pub(crate) fn sizes() -> Result<Outcome> {
    let mut files = Vec::new();
    for folder in ["crds", "operator", "tests"] {
        collect(&workspace().join(folder), &mut files)?;
    }
    let (mut passed, mut failed) = (0, 0);
    for file in files {
        let lines = std::fs::read_to_string(&file)?.lines().count();
        if lines > MAX_LINES {
            say(format!("{}: {lines} lines, more than {MAX_LINES}: divide it", file.display()));
            failed += 1;
        } else {
            passed += 1;
        }
    }
    Ok(Outcome { passed: u64::from(passed > 0 && failed == 0), failed, note: format!("{passed} files") })
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
