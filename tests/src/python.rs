//! Clients that are Python programs.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::binary::python;

/// Runs a Python script with arguments; it fails by an exception.
pub fn run(script: &str, arguments: &[&str], folder: &Path) -> Result<String> {
    let mut command = Command::new(python());
    command.arg("-c").arg(script).args(arguments).current_dir(folder).env("HOME", folder).env("NO_PROXY", "*");
    let output = command.output().context("failed to start Python: `cargo xtask tools` installs what is needed")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
