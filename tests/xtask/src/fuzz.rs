//! `cargo xtask fuzz`: the fuzz targets, with the compiler that everything else is built with.
//!
//! cargo-fuzz wants a nightly toolchain for its sanitizers. What is fuzzed has no unsafe code, so coverage is enough, and that is to be
//! had from a stable compiler.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::command::{cargo, program, run, say, tail, target, workspace};

/// The projects; each lies outside of the workspace.
const PROJECTS: [&str; 2] = ["operator/git/fuzz", "operator/store/fuzz"];
/// What cargo-fuzz gives the compiler, without sanitizer.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks";
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
    let mut sound = true;
    for project in PROJECTS {
        let names = targets(&workspace().join(project))?;
        let wanted: Vec<_> =
            names.into_iter().filter(|name| options.targets.is_empty() || options.targets.contains(name)).collect();
        if wanted.is_empty() {
            continue;
        }
        let folder = build(project)?;
        for name in &wanted {
            sound &= fuzz(&folder, name, options.seconds)?;
        }
    }
    Ok(sound)
}

/// The targets of a project.
fn targets(project: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(project.join("fuzz_targets"))? {
        names.extend(entry?.path().file_stem().and_then(|name| name.to_str()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Builds a project; gives the folder of its programs.
fn build(project: &str) -> Result<PathBuf> {
    say(format!("building {project} …"));
    let (manifest, folder) = (format!("{project}/Cargo.toml"), target().join("fuzz"));
    let host = run("rustc", program("rustc", &["--version", "--verbose"]))?.output;
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not say its host")?;
    // A named target keeps the flags away from build scripts.
    let mut command = cargo(&["build", "--release", "--locked", "--manifest-path", &manifest, "--target", host]);
    command.env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", &folder);
    let done = run("build-fuzz", command)?;
    anyhow::ensure!(done.ok, "{}", tail(&done.output, 60));
    Ok(folder.join(host).join("release"))
}

fn fuzz(folder: &Path, name: &str, seconds: u32) -> Result<bool> {
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
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = run(&format!("fuzz-{name}"), program(&path(&folder.join(name))?, &arguments))?;
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
