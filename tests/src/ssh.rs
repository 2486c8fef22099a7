//! OpenSSH's client with keys of its own: nothing of the user's `~/.ssh` is read or written.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::answer::Answer;

/// A person's keys, and the hosts that they know.
#[derive(Debug)]
pub struct Ssh {
    folder: TempDir,
}

impl Ssh {
    /// A person without keys who knows nobody.
    pub fn new() -> Result<Self> {
        Ok(Self { folder: TempDir::new().context("failed to make a folder for SSH keys")? })
    }

    /// A path among the keys.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a key, with these arguments of `ssh-keygen` such as `-t`, `rsa`; gives the line of its `.pub` file.
    pub fn key(&self, name: &str, kind: &[&str]) -> Result<String> {
        make_key(&self.path(name), kind)
    }

    /// Knows a host by the keys of a folder, and by no others.
    pub fn know(&self, address: SocketAddr, host_keys: &Path) -> Result<()> {
        let mut lines = String::new();
        for entry in std::fs::read_dir(host_keys)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "pub") {
                let key = std::fs::read_to_string(path)?;
                write!(lines, "[{}]:{} {key}", address.ip(), address.port())?;
            }
        }
        Ok(std::fs::write(self.path("known_hosts"), lines)?)
    }

    /// `ssh` with one of the keys, ready for an address and a command.
    #[must_use]
    pub fn words(&self, key: &str) -> Vec<String> {
        let hosts = format!("UserKnownHostsFile={}", self.path("known_hosts").display());
        let fixed =
            ["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"];
        let strict = ["-o", "StrictHostKeyChecking=yes", "-o", "GlobalKnownHostsFile=none", "-o"];
        let mut words: Vec<String> = fixed.into_iter().chain(strict).map(str::to_owned).collect();
        words.extend([hosts, "-i".to_owned(), self.path(key).display().to_string()]);
        words
    }

    /// The same in one text, for `GIT_SSH_COMMAND`.
    #[must_use]
    pub fn command_line(&self, key: &str) -> String {
        self.words(key).join(" ")
    }

    /// `ssh` to an address with further arguments, ready to be started.
    #[must_use]
    pub fn command(&self, key: &str, address: SocketAddr, arguments: &[&str]) -> Command {
        let words = self.words(key);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("-p").arg(address.port().to_string());
        command.arg(format!("git@{}", address.ip())).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs `ssh` to its end; gives the exit status too.
    pub fn run(&self, key: &str, address: SocketAddr, arguments: &[&str]) -> Result<(Option<i32>, Answer)> {
        let output = self.command(key, address, arguments).output();
        let output = output.context("failed to start ssh (Debian: apt-get install openssh-client)")?;
        Ok((output.status.code(), Answer::new(format!("ssh {}", arguments.join(" ")), &output)))
    }
}

/// Makes a key at a path; gives its public line.
pub fn make_key(path: &Path, kind: &[&str]) -> Result<String> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-N", "", "-C", "test", "-f"]).arg(path).args(kind);
    let status = command.status().context("failed to start ssh-keygen (Debian: apt-get install openssh-client)")?;
    anyhow::ensure!(status.success(), "ssh-keygen failed");
    let line = std::fs::read_to_string(path.with_added_extension("pub"))?;
    Ok(line.trim().to_owned())
}
