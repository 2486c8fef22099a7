//! Stories over SSH, with OpenSSH's client.

mod access;
mod archive;
mod clone_push;
mod endurance;
mod hosts;
mod lfs;
mod matrix;
mod refusals;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use tempfile::TempDir;
use tests::answer::Answer;
use tests::ssh::Ssh;
use tests::{Manifests, fixture, server};

use crate::bed::{Bed, REPOSITORY};

const ED25519: [&str; 2] = ["-t", "ed25519"];

/// A server with SSH, and keys named after their users: `alice`, `bob` and `carol` of `team-a`, `dave` of `team-b`, and `mallory`, whom
/// nobody knows.
pub(crate) struct SshBed {
    pub(crate) bed: Bed,
    pub(crate) ssh: Ssh,
    address: SocketAddr,
    host_keys: TempDir,
}

impl SshBed {
    pub(crate) fn new() -> Result<Self> {
        Self::with(&[])
    }

    fn with(arguments: &[&str]) -> Result<Self> {
        let (ssh, manifests, host_keys) = (Ssh::new()?, Manifests::standard()?, TempDir::new()?);
        for (namespace, user) in [("team-a", "alice"), ("team-a", "bob"), ("team-a", "carol"), ("team-b", "dave")] {
            manifests.ssh_key(namespace, user, &format!("{user}-laptop"), &ssh.key(user, &ED25519)?)?;
        }
        ssh.key("mallory", &ED25519)?;
        let address = server::free_address()?;
        let (listen, folder) = (address.to_string(), host_keys.path().display().to_string());
        let all = [&["--ssh-listen", &listen, "--ssh-host-keys", &folder], arguments].concat();
        let bed = Bed::of(manifests, &all)?;
        ssh.know(address, host_keys.path())?;
        Ok(Self { bed, ssh, address, host_keys })
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path.
    pub(crate) fn url_of(&self, path: &str) -> String {
        format!("ssh://git@{}{path}", self.address)
    }

    pub(crate) fn url(&self) -> String {
        self.url_of(&format!("/{REPOSITORY}"))
    }

    /// git with somebody's key.
    pub(crate) fn git(&self, key: &str, folder: &Path, arguments: &[&str]) -> Result<Answer> {
        let ssh = format!("core.sshCommand={}", self.ssh.command_line(key));
        self.bed.git.run(folder, &[&["-c", &ssh], arguments].concat())
    }

    /// git with alice's key; it must succeed.
    fn ok(&self, folder: &Path, arguments: &[&str]) -> Result<String> {
        self.git("alice", folder, arguments)?.accepted()
    }

    fn home(&self) -> PathBuf {
        self.bed.git.path("")
    }

    /// A work tree with some commits, pushed and cloned over SSH with alice's key, which it goes on using.
    pub(crate) fn started(&self) -> Result<PathBuf> {
        let source = fixture::linear(&self.bed.git, "source.git", 12)?;
        self.ok(&source, &["push", "--quiet", "--mirror", &self.url()])?;
        self.ok(&self.home(), &["clone", "--quiet", &self.url(), "work"])?;
        let work = self.bed.git.path("work");
        self.bed.git.ok(&work, &["config", "core.sshCommand", &self.ssh.command_line("alice")])?;
        Ok(work)
    }
}
