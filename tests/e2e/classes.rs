//! Faults that other servers had, class by class (`docs/SECURITY.md` has the list): the same bytes over HTTP and over SSH.

mod bombs;
mod grants;
mod hostile;
mod oracle;
mod pack;
mod stalled;

use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::manifests::PASSWORD;
use tests::protocol::{FLUSH, RawClient, line};
use tests::wait;

use crate::ssh::SshBed;

const ZERO: &str = "0000000000000000000000000000000000000000";

/// A way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Http,
    Ssh,
}

const WAYS: [Way; 2] = [Way::Http, Way::Ssh];

/// A service of `git`, by its name in requests and commands.
#[derive(Debug, Clone, Copy)]
struct Call<'a> {
    user: &'a str,
    service: &'a str,
    repository: &'a str,
}

impl<'a> Call<'a> {
    fn push(repository: &'a str) -> Self {
        Self { user: "alice", service: "git-receive-pack", repository }
    }

    fn fetch(repository: &'a str) -> Self {
        Self { user: "alice", service: "git-upload-pack", repository }
    }

    /// The command over SSH.
    fn command(&self) -> String {
        format!("{} '/{}'", self.service, self.repository)
    }
}

/// Sends these bytes (in version 0) and gives all that the server says.
fn say(bed: &SshBed, way: Way, call: Call<'_>, bytes: &[u8]) -> Result<Vec<u8>> {
    match way {
        Way::Http => {
            let client = RawClient::new(bed.bed.server.address(), call.repository, Some((call.user, PASSWORD)));
            let response = client.post(call.service, 0, &[], bytes)?;
            ensure!(response.status < 500, "{call:?}: {} {}", response.status, response.text());
            Ok(response.body)
        }
        Way::Ssh => {
            let mut child = shared(bed, call.user, &call.command())?;
            let mut input = child.stdin.take().context("no input")?;
            let bytes = bytes.to_vec();
            // It may be refused while it is being sent.
            let writer = std::thread::spawn(move || drop(input.write_all(&bytes)));
            let output = child.wait_with_output()?;
            writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?;
            Ok([output.stdout, output.stderr].concat())
        }
    }
}

/// `ssh` with a command, on one connection for each user.
fn shared(bed: &SshBed, user: &str, command: &str) -> Result<Child> {
    let socket = format!("ControlPath={}", bed.ssh.path(&format!("classes-{user}")).display());
    let arguments = ["-o", "ControlMaster=auto", "-o", "ControlPersist=20", "-o", &socket, command];
    let mut command = bed.ssh.command(user, bed.address(), &arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().context("failed to start ssh")
}

/// The bytes of a push of a new reference.
fn new_reference(name: &str, tip: &str, pack: &[u8]) -> Vec<u8> {
    let command = [format!("{ZERO} {tip} {name}").as_bytes(), b"\0report-status"].concat();
    [line(command), FLUSH.to_vec(), pack.to_vec()].concat()
}

/// The bytes of a clone of one tip.
fn clone_of(tip: &str) -> Vec<u8> {
    [line(format!("want {tip} ofs-delta\n")), FLUSH.to_vec(), line("done\n")].concat()
}

/// The server is well and says so, whatever was sent before.
fn unharmed(bed: &SshBed) -> Result<()> {
    let log = bed.bed.server.log();
    ensure!(!log.contains("panicked"), "{log}");
    for way in WAYS {
        let told = say(bed, way, Call::fetch("team-a/hello"), FLUSH)?;
        ensure!(!String::from_utf8_lossy(&told).contains("ERR"), "{way:?}: {}", String::from_utf8_lossy(&told));
    }
    Ok(())
}

/// Requests under way.
fn working(bed: &SshBed) -> Result<f64> {
    bed.bed.server.metric("codekeep_git_requests_in_flight", "")
}

/// Waits until this many requests are under way; gives how long it took.
fn until_working(bed: &SshBed, wanted: impl Fn(f64) -> bool, limit: Duration) -> Result<Duration> {
    let started = std::time::Instant::now();
    wait::until("another number of requests under way", limit, || Ok(wanted(working(bed)?).then_some(())))?;
    Ok(started.elapsed())
}
