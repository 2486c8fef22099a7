//! What a command answered.

use std::process::Output;

use anyhow::{Result, ensure};

/// Exit and output of a command.
#[derive(Debug)]
pub struct Answer {
    /// The command as typed.
    pub command: String,
    /// Whether it exited with 0.
    pub ok: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Answer {
    pub(crate) fn new(command: String, output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { command, ok: output.status.success(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Standard output of a command that must have worked.
    pub fn accepted(self) -> Result<String> {
        ensure!(self.ok, "`{}` failed:\n{}{}", self.command, self.stdout, self.stderr);
        Ok(self.stdout)
    }

    /// Standard error of a command that must have failed.
    pub fn refused(self) -> Result<String> {
        ensure!(!self.ok, "`{}` should have failed:\n{}{}", self.command, self.stdout, self.stderr);
        Ok(self.stderr)
    }
}
