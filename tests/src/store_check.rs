//! `codekeep store check`, run and read.

use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::answer::Answer;
use crate::binary;

/// A report as JSON, and the exit code.
#[derive(Debug)]
pub struct Report {
    /// 0: fit; 1: refused; 2: not everything could be asked.
    pub code: i32,
    /// The report.
    pub json: Value,
}

impl Report {
    /// The check of this name.
    pub fn check(&self, name: &str) -> Result<&Value> {
        let checks = self.json["checks"].as_array().context("the report has no checks")?;
        checks.iter().find(|check| check["name"] == name).with_context(|| format!("no check {name} in {}", self.json))
    }

    /// Names of the checks that ended so.
    #[must_use]
    pub fn ended(&self, outcome: &str) -> Vec<String> {
        let checks = self.json["checks"].as_array().map_or(&[][..], Vec::as_slice);
        let named =
            checks.iter().filter(|check| check["outcome"] == outcome).filter_map(|check| check["name"].as_str());
        named.map(str::to_owned).collect()
    }
}

fn command(url: &str, environment: &[(String, String)], arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(binary::codekeep()?);
    command.args(["store", "check", url]).args(arguments).stdin(Stdio::null());
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    Ok(command)
}

/// Checks a store.
pub fn report(url: &str, environment: &[(String, String)]) -> Result<Report> {
    let output = command(url, environment, &["--output", "json"])?.output().context("failed to start codekeep")?;
    let json = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("no report: {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok(Report { code: output.status.code().unwrap_or(-1), json })
}

/// Checks a store and gives what people read.
pub fn text(url: &str, environment: &[(String, String)]) -> Result<Answer> {
    let output = command(url, environment, &[])?.output().context("failed to start codekeep")?;
    Ok(Answer::new(format!("codekeep store check {url}"), &output))
}

/// Starts a check, to be stopped.
pub fn start(url: &str, environment: &[(String, String)]) -> Result<Child> {
    command(url, environment, &[])?
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("failed to start codekeep")
}
