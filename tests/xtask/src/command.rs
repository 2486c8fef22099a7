//! Starting programs in the workspace, their output in a file.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

/// Writes a line to standard output.
pub(crate) fn say(text: impl AsRef<str>) {
    // Nobody reads a closed pipe; the exit code still tells.
    let _ = writeln!(std::io::stdout(), "{}", text.as_ref());
}

/// The folder of the workspace.
pub(crate) fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or_else(|| here.to_path_buf(), Path::to_path_buf)
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    workspace().join(target)
}

/// A program in the workspace's folder, with the tools of `target/tools` on its path.
pub(crate) fn program(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    let tools = target().join("tools/bin");
    let old = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(tools).chain(std::env::split_paths(&old))).unwrap_or(old);
    command.args(arguments).current_dir(workspace()).env("PATH", path).stdin(Stdio::null());
    command
}

/// cargo, as the one that runs us.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = program(&cargo, arguments);
    // What `cargo run` sets for us is not meant for the cargo below us.
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// What a program did.
pub(crate) struct Done {
    pub(crate) ok: bool,
    pub(crate) output: String,
    pub(crate) log: PathBuf,
}

/// Runs a program to its end, its output in `target/xtask/<name>.log`.
pub(crate) fn run(name: &str, mut command: Command) -> Result<Done> {
    let folder = target().join("xtask");
    std::fs::create_dir_all(&folder)?;
    let log = folder.join(format!("{}.log", name.replace([' ', ':', '/'], "-")));
    let file = File::create(&log)?;
    let status = command.stdout(file.try_clone()?).stderr(file).status();
    let status = status.with_context(|| format!("failed to start {}", command.get_program().display()))?;
    let output = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
    Ok(Done { ok: status.success(), output, log })
}

/// Runs a program whose success is all that is asked.
pub(crate) fn must(name: &str, command: Command) -> Result<()> {
    let done = run(name, command)?;
    anyhow::ensure!(done.ok, "{name} failed:\n{}\nall of it: {}", tail(&done.output, 30), done.log.display());
    Ok(())
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
