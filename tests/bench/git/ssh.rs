//! A whole clone over SSH, beside the same over HTTP: both ciphers and both ends on one machine.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::protocol::{drain, fetch_body};
use tests::ssh::Ssh;
use tests::{Manifests, server};

use super::Bed;
use super::clones::rate;
use super::sides::{HISTORY, Sides};
use crate::figures::{Figures, quantile};

/// alice's key, and where she comes to.
pub(super) struct Door {
    ssh: Ssh,
    address: SocketAddr,
    host_keys: tempfile::TempDir,
}

impl Door {
    /// Makes a key of alice.
    pub(super) fn new(manifests: &Manifests) -> Result<Self> {
        let ssh = Ssh::new()?;
        manifests.ssh_key("team-a", "alice", "alice-laptop", &ssh.key("alice", &["-t", "ed25519"])?)?;
        Ok(Self { ssh, address: server::free_address()?, host_keys: tempfile::TempDir::new()? })
    }

    /// The arguments of the server.
    pub(super) fn arguments(&self) -> [String; 4] {
        let folder = self.host_keys.path().display().to_string();
        ["--ssh-listen".to_owned(), self.address.to_string(), "--ssh-host-keys".to_owned(), folder]
    }
}

pub(super) fn run(bed: &Bed<'_>, sides: &Sides, figures: &mut Figures) -> Result<()> {
    sides.door.ssh.know(sides.door.address, sides.door.host_keys.path())?;
    let client = sides.all()[0].raw(HISTORY);
    let (mut http, mut ssh, mut bytes) = (Vec::new(), Vec::new(), 0);
    for round in 0..=bed.options.rounds {
        let fetched = client.fetch(&bed.tips, &[])?;
        let took = clone(&sides.door, &bed.tips, fetched.pack_bytes)?;
        if round > 0 {
            http.push(fetched.total);
            ssh.push(took);
            bytes = fetched.pack_bytes;
        }
    }
    let rates = [&http, &ssh].map(|times| rate(bytes, quantile(times, 0.5)));
    let ratio = rates[1] / rates[0].max(1e-9);
    let found = format!("{ratio:.2} ({:.0} / {:.0} MB/s)", rates[1], rates[0]);
    figures.bar("SSH", "clone, of the same over HTTP without TLS", &found, "≥ 0.7", ratio >= 0.7);
    Ok(())
}

/// Clones with `ssh`, and drops what comes.
fn clone(door: &Door, tips: &[String], bytes: u64) -> Result<Duration> {
    let arguments = ["-o", "SendEnv=GIT_PROTOCOL", "git-upload-pack '/team-a/hello'"];
    let mut command = door.ssh.command("alice", door.address, &arguments);
    command.env("GIT_PROTOCOL", "version=2").stdin(Stdio::piped()).stdout(Stdio::piped());
    let started = std::time::Instant::now();
    let mut child = command.spawn()?;
    let mut input = child.stdin.take().context("no input")?;
    let mut output = std::io::BufReader::with_capacity(1 << 17, child.stdout.take().context("no output")?);
    drain(&mut output, started)?;
    input.write_all(&fetch_body(tips, &[]))?;
    let fetched = drain(&mut output, started)?;
    drop(input);
    child.wait()?;
    ensure!(fetched.pack_bytes == bytes, "another pack than over HTTP");
    Ok(fetched.total)
}
