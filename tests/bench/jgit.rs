//! `JGit`'s `GitServlet` on Jetty, warm and with mapped packs: the fastest server that a team can install.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::cpu::Meter;
use tests::{Git, binary, process, raw_http, server, wait};

use crate::peer;

/// A running `JGit`; killed when dropped.
pub(crate) struct JGit {
    java: Child,
    pub(crate) address: SocketAddr,
    repositories: PathBuf,
    meter: Meter,
}

impl JGit {
    /// Starts it in a folder.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let (jars, source) = (
            binary::workspace().join("target/tools/jgit"),
            binary::workspace().join("tests/bench/jgit/GitServer.java"),
        );
        ensure!(
            jars.is_dir(),
            "JGit is not there: `cargo xtask bench store` fetches it (Debian: apt-get install maven)"
        );
        let (address, repositories) = (server::free_address()?, folder.join("repositories"));
        std::fs::create_dir_all(&repositories)?;
        let mut command = Command::new("java");
        command.args(["-Xmx2g", "-XX:+UseParallelGC", "-cp"]).arg(format!("{}/*", jars.display())).arg(source);
        command.arg(address.port().to_string()).arg(&repositories);
        // JGit reads ~/.gitconfig, which is not part of the comparison.
        command.env("HOME", folder).env("XDG_CONFIG_HOME", folder);
        let java = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let java = java.context("failed to start java (Debian: apt-get install default-jdk-headless)")?;
        let jgit = Self { address, repositories, meter: Meter::of(&[java.id()]), java };
        wait::until("JGit", Duration::from_mins(2), || Ok(raw_http::get(address, "/").ok()))?;
        Ok(jgit)
    }

    /// Copies a repository and prepares it as well as git can.
    pub(crate) fn take(&self, git: &Git, source: &Path, name: &str) -> Result<()> {
        peer::prepare(git, &self.repositories, source, name)?;
        // A collection of its own would hold locks that pushes need, and they would be refused.
        git.ok(&self.repositories.join(name), &["config", "receive.autogc", "false"])?;
        Ok(())
    }

    /// Where its repositories are.
    pub(crate) fn repositories(&self) -> &Path {
        &self.repositories
    }

    /// CPU time of the process so far.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }
}

impl Drop for JGit {
    fn drop(&mut self) {
        let _ = process::signal(self.java.id(), "TERM");
        let _ = self.java.wait();
    }
}
