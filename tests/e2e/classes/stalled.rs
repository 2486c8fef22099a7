//! Clients that are slow, stand still or vanish: others are served meanwhile, and what they held is free at once.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::manifests::PASSWORD;
use tests::raw_http::basic;

use super::{Call, WAYS, Way, ZERO, clone_of, until_working};
use crate::ssh::SshBed;

/// More than work at the same time on a server.
const MANY: usize = 70;
/// What others may take, on a machine that does much else; who waits for a turn in vain is sent away after thirty seconds.
const SOON: Duration = Duration::from_secs(12);

/// A client that has asked and does nothing any more. Gone when dropped.
pub(super) enum Still {
    Http(TcpStream),
    Ssh(Child),
}

impl Still {
    /// Reads what is still to come; gives how much it is.
    pub(super) fn read_all(&mut self) -> Result<u64> {
        Ok(match self {
            Self::Http(stream) => std::io::copy(stream, &mut std::io::sink())?,
            Self::Ssh(child) => std::io::copy(child.stdout.as_mut().context("no output")?, &mut std::io::sink())?,
        })
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        if let Self::Ssh(child) = self {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A connection of a client with little memory: what it does not read, the server has.
fn narrow(bed: &SshBed) -> Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(8 << 10)?;
        socket.connect(bed.bed.server.address()).await?.into_std()
    })?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    Ok(stream)
}

fn over_http(bed: &SshBed, service: &str, length: usize, body: &[u8]) -> Result<Still> {
    let mut stream = narrow(bed)?;
    let head = format!(
        "POST /team-a/hello/{service} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {}\r\n\
         Content-Type: application/x-{service}-request\r\nContent-Length: {length}\r\n\r\n",
        basic("alice", PASSWORD)
    );
    stream.write_all(&[head.as_bytes(), body].concat())?;
    Ok(Still::Http(stream))
}

/// `socket`: the connection to share, or none to have an own one.
fn over_ssh(bed: &SshBed, call: Call<'_>, socket: Option<&str>, body: &[u8]) -> Result<Still> {
    let command = call.command();
    let arguments = match socket {
        Some(socket) => vec!["-o", "ControlMaster=auto", "-o", "ControlPersist=30", "-o", socket, &command],
        None => vec![command.as_str()],
    };
    let mut command = bed.ssh.command(call.user, bed.address(), &arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().context("failed to start ssh")?;
    child.stdin.as_mut().context("no input")?.write_all(body)?;
    Ok(Still::Ssh(child))
}

/// Wants everything and reads nothing.
pub(super) fn clone_unread(bed: &SshBed, way: Way, tip: &str) -> Result<Still> {
    let body = clone_of(tip);
    match way {
        Way::Http => over_http(bed, "git-upload-pack", body.len(), &body),
        Way::Ssh => over_ssh(bed, Call::fetch("team-a/hello"), None, &body),
    }
}

/// Begins to push and stops after the first bytes of the pack. `shared`: over a connection that OpenSSH shares among clients.
fn push_unsent(bed: &SshBed, way: Way, number: usize, shared: bool) -> Result<Still> {
    let name = format!("refs/heads/{way:?}-{number}");
    let whole = super::new_reference(&name, &ZERO.replace('0', "1"), b"PACK\0\0\0\x02\0\0\0\x09");
    match way {
        Way::Http => over_http(bed, "git-receive-pack", 1_000_000, &whole),
        Way::Ssh => {
            let socket = shared.then(|| socket(bed, number));
            over_ssh(bed, Call::push("team-a/hello"), socket.as_deref(), &whole)
        }
    }
}

/// The connection that a client shares: ten on each are allowed.
fn socket(bed: &SshBed, number: usize) -> String {
    format!("ControlPath={}", bed.ssh.path(&format!("still-{}", number / 10)).display())
}

/// Others list, clone and push, over both.
fn others_are_served(bed: &SshBed, what: &str) -> Result<()> {
    let home = bed.bed.git.path("");
    let setting = format!("core.sshCommand={}", bed.ssh.command_line("bob"));
    for (way, url) in [(Way::Http, bed.bed.server.url("bob", "team-a/other")), (Way::Ssh, bed.url_of("/team-a/other"))]
    {
        let started = Instant::now();
        bed.bed.git.ok(&home, &["-c", &setting, "ls-remote", &url])?;
        let folder = format!("{what}-{way:?}");
        bed.bed.git.ok(&home, &["-c", &setting, "clone", "--quiet", "--bare", &url, &folder])?;
        ensure!(started.elapsed() < SOON, "{what}: others waited {:?} over {way:?}", started.elapsed());
    }
    Ok(())
}

fn bed() -> Result<(SshBed, String)> {
    let bed = SshBed::new()?;
    let source = crate::memory::large(&bed.bed, 24)?;
    bed.bed.git.ok(&source, &["push", "--quiet", "--mirror", &bed.bed.url()])?;
    let small = tests::fixture::linear(&bed.bed.git, "small.git", 5)?;
    bed.bed.git.ok(&small, &["push", "--quiet", "--mirror", &bed.bed.server.url("alice", "team-a/other")])?;
    let tip = bed.bed.git.ok(&source, &["rev-parse", "main"])?.trim().to_owned();
    Ok((bed, tip))
}

#[test]
fn clients_that_stand_still_do_not_hold_others_up() -> Result<()> {
    let (bed, tip) = bed()?;
    let before = bed.bed.server.peak_memory()?;
    let mut readers = (1..MANY).map(|_| clone_unread(&bed, Way::Http, &tip)).collect::<Result<Vec<_>>>()?;
    readers.push(clone_unread(&bed, Way::Ssh, &tip)?);
    // Some may be waiting for a turn.
    until_working(&bed, |working| working >= 60.0, Duration::from_secs(20))?;
    others_are_served(&bed, "readers")?;
    drop(readers);
    until_working(&bed, |working| working < 0.5, Duration::from_secs(10)).context("the readers have gone")?;

    for way in WAYS {
        let senders = (0..MANY).map(|number| push_unsent(&bed, way, number, true)).collect::<Result<Vec<_>>>()?;
        until_working(&bed, |working| working >= 60.0, Duration::from_secs(20))?;
        others_are_served(&bed, &format!("senders-{way:?}"))?;
        drop(senders);
        if way == Way::Ssh {
            for number in (0..MANY).step_by(10) {
                let arguments = ["-o", &socket(&bed, number), "-O", "exit"];
                bed.ssh.command("alice", bed.address(), &arguments).output()?;
            }
        }
        until_working(&bed, |working| working < 0.5, Duration::from_secs(10)).context("the senders have gone")?;
    }
    let grown = bed.bed.server.peak_memory()?.saturating_sub(before);
    ensure!(grown < 400 << 20, "the server grew by {} MiB", grown >> 20);
    Ok(())
}

#[test]
fn a_client_that_vanishes_costs_nothing_after_a_second() -> Result<()> {
    let (bed, tip) = bed()?;
    for way in WAYS {
        for reads in [true, false] {
            // Each on a connection of its own. OpenSSH 9.2 that shares one may forget to say that a client was killed until it hears
            // something, which is our next sign of life, after fifteen seconds: it sleeps with the end of the channel unsent.
            // The best of three: the machine has other things to do.
            let mut times = Vec::new();
            for number in 0..3 {
                let still =
                    if reads { clone_unread(&bed, way, &tip)? } else { push_unsent(&bed, way, 100 + number, false)? };
                until_working(&bed, |working| working > 0.5, Duration::from_secs(10))?;
                std::thread::sleep(Duration::from_millis(200));
                ensure!(super::working(&bed)? > 0.5, "{way:?}: it has ended before its client did");
                drop(still);
                let gone = until_working(&bed, |working| working < 0.5, Duration::from_secs(5));
                times.push(gone.with_context(|| format!("{way:?}, reads: {reads}, number {number}"))?);
                if times.iter().any(|time| *time < Duration::from_secs(1)) {
                    break;
                }
            }
            let least = times.iter().min().context("no time")?;
            ensure!(*least < Duration::from_secs(1), "{way:?}, reads: {reads}: {times:?}");
        }
    }
    let names = bed.bed.git.remote_refs(&bed.bed.url())?;
    ensure!(!names.contains("-100"), "{names}");
    // Whose fault it was: nobody is woken up for clients that leave.
    for transport in ["http", "ssh"] {
        let count = |outcome| {
            let label = format!("outcome=\"{outcome}\",transport=\"{transport}\",verb=\"push\"");
            bed.bed.server.metric("codekeep_git_requests_total", &label)
        };
        ensure!(count("aborted")? >= 1.0, "{transport}: {}", bed.bed.server.log());
        for outcome in ["unavailable", "error", "invalid", "ok"] {
            ensure!(count(outcome)? < 0.5 || (transport, outcome) == ("http", "ok"), "{transport}: {outcome}");
        }
    }
    ensure!(!bed.bed.server.log().contains("a request failed"), "{}", bed.bed.server.log());
    Ok(())
}

#[test]
#[ignore = "full tier: waits for half a minute"]
fn one_user_who_fills_the_server_keeps_nobody_else_out() -> Result<()> {
    let (bed, tip) = bed()?;
    // More than work and wait for their clients at the same time on a server.
    let senders = (0..200).map(|number| push_unsent(&bed, Way::Http, number, false)).collect::<Result<Vec<_>>>()?;
    until_working(&bed, |working| working >= 199.0, Duration::from_secs(20))?;
    // Until as many have lent their turns as may.
    std::thread::sleep(Duration::from_secs(5));
    others_are_served(&bed, "one-user")?;
    let told = super::say(&bed, Way::Http, Call::fetch("team-a/hello"), &clone_of(&tip));
    drop(senders);
    let told = format!("{:?}", told.map(|answer| String::from_utf8_lossy(&answer).into_owned()));
    ensure!(told.contains("ERR") && told.contains("too many requests of yours"), "{told}");
    until_working(&bed, |working| working < 0.5, Duration::from_secs(10))?;
    bed.bed.git.ok(&bed.bed.git.path(""), &["ls-remote", &bed.bed.url()]).map(drop)
}

#[test]
#[ignore = "full tier: waits for a minute"]
fn a_client_that_stops_reading_over_http_is_given_up() -> Result<()> {
    let (bed, tip) = bed()?;
    let mut still = clone_unread(&bed, Way::Http, &tip)?;
    until_working(&bed, |working| working > 0.5, Duration::from_secs(10))?;
    until_working(&bed, |working| working < 0.5, Duration::from_mins(2))?;
    // The rest of the answer does not come, and it does not look as if it were whole.
    let Still::Http(stream) = &mut still else { unreachable!("it is over HTTP") };
    let mut read = Vec::new();
    let ended = stream.read_to_end(&mut read);
    ensure!(ended.is_err() || !read.ends_with(b"0\r\n\r\n"), "it looks whole");
    ensure!(read.len() < 24_000_000, "all of it came");
    Ok(())
}
