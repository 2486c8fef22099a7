//! `cargo xtask fuzz`: the fuzz targets, with the compiler that everything else is built with.
//!
//! cargo-fuzz wants a nightly toolchain for its sanitizers. What is fuzzed has no unsafe code, so coverage is enough, and that is to be
//! had from a stable compiler.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::command::{cargo, program, run, say, tail, target, workspace};
use crate::summary::Outcome;

/// Megabytes of memory, whatever the input.
const MEMORY: u32 = 512;
/// Bytes of the longest input.
const LENGTH: u32 = 1 << 16;

/// Which targets, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Seconds for each target
    #[arg(long, default_value_t = 60, value_name = "N")]
    seconds: u32,
    /// Only these targets
    targets: Vec<String>,
}

/// Fuzzes; gives whether nothing was found. Inputs that were of interest are kept in `target/fuzz/corpus`, those that broke something beside it.
pub(crate) fn run_all(options: &Options) -> Result<bool> {
    Ok(run_some(options)?.failed == 0)
}

/// A moment for each target: what a change broke that takes no luck to find.
pub(crate) fn briefly() -> Result<Outcome> {
    run_some(&Options { seconds: 3, targets: Vec::new() })
}

fn run_some(options: &Options) -> Result<Outcome> {
    let mut names = targets()?;
    for wanted in &options.targets {
        anyhow::ensure!(names.contains(wanted), "there is no target {wanted}, there are {}", names.join(", "));
    }
    names.retain(|name| options.targets.is_empty() || options.targets.contains(name));
    let programs = build(&names)?;
    let mut outcome = Outcome { passed: 0, failed: 0, note: format!("{} s each", options.seconds) };
    for (name, program) in &programs {
        let sound = fuzz(program, name, options.seconds)?;
        outcome.passed += u64::from(sound);
        outcome.failed += u64::from(!sound);
    }
    Ok(outcome)
}

/// The folder of the targets.
fn folder() -> PathBuf {
    workspace().join("tests/fuzz")
}

/// The names of the targets.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder().join("targets"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().and_then(|name| name.to_str()).map(str::to_owned));
        }
    }
    names.sort();
    Ok(names)
}

/// Builds targets; gives their programs. Only our own crates are compiled anew: the wrapper makes cargo keep two of each, and the rest is
/// that of the tests, as long as all of the workspace is asked for.
fn build(names: &[String]) -> Result<Vec<(String, PathBuf)>> {
    say("building …");
    let mut arguments = vec!["build", "--locked", "--workspace", "--features", "fuzz/libfuzzer"];
    arguments.push("--message-format=json-render-diagnostics");
    arguments.extend(names.iter().flat_map(|name| ["--test", name]));
    let mut command = cargo(&arguments);
    command.env("RUSTC_WORKSPACE_WRAPPER", folder().join("instrumented"));
    let done = run("build-fuzz", command)?;
    anyhow::ensure!(done.ok, "{}", tail(&done.output, 60));
    let find = |name: &String| {
        // cargo says where it put each program, whose name ends in what it depends on.
        let start = format!("/{name}-");
        let mut words = done.output.lines().filter(|line| line.contains("\"executable\":\"")).filter_map(|line| {
            let (path, _) = line.split_once("\"executable\":\"")?.1.split_once('"')?;
            path.rsplit_once('/')
                .filter(|(_, file)| format!("/{file}").starts_with(&start))
                .map(|_| PathBuf::from(path))
        });
        let program = words.next_back().with_context(|| format!("cargo does not say where {name} is"))?;
        Ok((name.clone(), program))
    };
    names.iter().map(find).collect()
}

fn fuzz(binary: &Path, name: &str, seconds: u32) -> Result<bool> {
    let corpus = target().join("fuzz/corpus").join(name);
    std::fs::create_dir_all(&corpus)?;
    let found = target().join("fuzz/found").join(name);
    std::fs::create_dir_all(&found)?;
    let path = |path: &Path| path.to_str().map(str::to_owned).context("the target folder is not UTF-8");
    let arguments = [
        format!("-max_total_time={seconds}"),
        format!("-rss_limit_mb={MEMORY}"),
        format!("-max_len={LENGTH}"),
        "-timeout=10".to_owned(),
        "-print_final_stats=1".to_owned(),
        format!("-artifact_prefix={}/", path(&found)?),
        path(&corpus)?,
        path(&folder().join("seeds").join(name))?,
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = run(&format!("fuzz-{name}"), program(&path(binary)?, &arguments))?;
    let stat = |name: &str| {
        let line = done.output.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
        line.map(|value| value.trim_start_matches(':').trim().to_owned()).unwrap_or_default()
    };
    if done.ok {
        say(format!("{name}: {} inputs, {} MB at most", stat("number_of_executed_units"), stat("peak_rss_mb")));
    } else {
        say(format!("{name}: FAILED\n{}", tail(&done.output, 40)));
    }
    Ok(done.ok)
}
