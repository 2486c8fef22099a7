//! Where the `codekeep` binary under test is.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// `$CODEKEEP_BINARY`, else the binary beside the running test's own folder (`target/<profile>/codekeep`).
pub fn codekeep() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("CODEKEEP_BINARY") {
        return Ok(PathBuf::from(path));
    }
    let me = std::env::current_exe().context("failed to find the running test")?;
    for folder in me.ancestors().skip(1).take(3) {
        let candidate = folder.join("codekeep");
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!(
        "there is no `codekeep` beside {}: run `cargo build -p operator`, or name one in CODEKEEP_BINARY",
        me.display()
    )
}

/// The folder of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.clone(), PathBuf::from)
}

/// Where `cargo xtask test` keeps Python and its packages; `$CODEKEEP_TEST_PYTHON` names another interpreter.
#[must_use]
pub fn python() -> PathBuf {
    std::env::var_os("CODEKEEP_TEST_PYTHON")
        .map_or_else(|| workspace().join("target/tools/python/bin/python"), PathBuf::from)
}

/// A program that `cargo xtask tools` installed.
#[must_use]
pub fn tool(name: &str) -> PathBuf {
    tools().join("bin").join(name)
}

/// Where `cargo xtask tools` installs to.
#[must_use]
pub fn tools() -> PathBuf {
    workspace().join("target/tools")
}

/// The path with the git and the programs that `cargo xtask test peers` builds before the system's.
#[must_use]
pub fn path_with_newer_git() -> OsString {
    let old = std::env::var_os("PATH").unwrap_or_default();
    let ours = [tools().join("newer-git/bin"), tools().join("bin")];
    std::env::join_paths(ours.into_iter().chain(std::env::split_paths(&old))).unwrap_or(old)
}

/// An interpreter with a program of `tests/clients`, ready to be started.
#[must_use]
pub fn client(interpreter: impl AsRef<OsStr>, program: &str) -> Command {
    let mut command = Command::new(interpreter);
    command.arg(workspace().join("tests/clients").join(program));
    command
}
