//! Clients that are slow, silent, many or gone; and a server that stops.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::{process, wait};

use super::SshBed;

/// `git-upload-pack` in version 0 with a request for everything, of which nothing was read yet.
fn clone_unread(bed: &SshBed) -> Result<Child> {
    let listed = bed.ok(&bed.home(), &["ls-remote", &bed.url(), "refs/heads/main"])?;
    let id = listed.split_whitespace().next().context("there is no main")?;
    let mut command = bed.ssh.command("alice", bed.address, &["git-upload-pack '/team-a/hello'"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let stdin = child.stdin.as_mut().context("no input")?;
    stdin.write_all(format!("003cwant {id} ofs-delta\n00000009done\n").as_bytes())?;
    Ok(child)
}

fn no_requests_left(bed: &SshBed, limit: Duration) -> Result<()> {
    wait::until("the end of the request", limit, || {
        let open = bed.bed.server.metric("codekeep_ssh_connections_open", "")?;
        let flying = bed.bed.server.metric("codekeep_git_requests_in_flight", "")?;
        Ok((open + flying == 0.0).then_some(()))
    })
}

/// A repository of 40 MB.
fn large(bed: &SshBed) -> Result<()> {
    let source = crate::memory::large(&bed.bed, 40)?;
    bed.ok(&source, &["push", "--quiet", "--mirror", &bed.url()])?;
    Ok(())
}

#[test]
fn a_client_that_vanishes_is_noticed_and_its_work_ends() -> Result<()> {
    let bed = SshBed::new()?;
    large(&bed)?;
    let mut child = clone_unread(&bed)?;
    wait::until("the request", Duration::from_secs(10), || {
        Ok((bed.bed.server.metric("codekeep_git_requests_in_flight", "")? > 0.0).then_some(()))
    })?;
    // Others are served meanwhile.
    bed.ok(&bed.home(), &["clone", "--quiet", &bed.url(), "other"])?;
    child.kill()?;
    child.wait()?;
    no_requests_left(&bed, Duration::from_secs(3))?;
    assert!(bed.bed.server.metric("codekeep_git_requests_total", "outcome=\"aborted\",transport=\"ssh\"")? >= 1.0);
    Ok(())
}

#[test]
#[ignore = "full tier: waits for a minute"]
fn a_client_that_stops_reading_is_given_up() -> Result<()> {
    let bed = SshBed::new()?;
    large(&bed)?;
    let before = process::memory(bed.bed.server.pid(), "VmRSS")?;
    let mut child = clone_unread(&bed)?;
    process::signal(child.id(), "STOP")?;
    std::thread::sleep(Duration::from_secs(5));
    let held = process::memory(bed.bed.server.pid(), "VmRSS")?.saturating_sub(before);
    assert!(held < 64 << 20, "{held} bytes are held for a client that does not read");
    no_requests_left(&bed, Duration::from_mins(2))?;
    process::signal(child.id(), "CONT")?;
    child.kill()?;
    child.wait()?;
    Ok(())
}

#[test]
fn a_push_whose_client_vanishes_changes_nothing() -> Result<()> {
    let bed = SshBed::new()?;
    let before = bed.bed.git.remote_refs(&bed.bed.url())?;
    let mut command = bed.ssh.command("alice", bed.address, &["git-receive-pack '/team-a/hello'"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let stdin = child.stdin.as_mut().context("no input")?;
    let (zero, id) = ("0".repeat(40), "1".repeat(40));
    let line = format!("{zero} {id} refs/heads/x\0report-status\n");
    stdin.write_all(format!("{:04x}{line}0000PACK", line.len() + 4).as_bytes())?;
    stdin.flush()?;
    std::thread::sleep(Duration::from_millis(500));
    child.kill()?;
    child.wait()?;
    no_requests_left(&bed, Duration::from_secs(3))?;
    assert_eq!(bed.bed.git.remote_refs(&bed.bed.url())?, before);
    Ok(())
}

#[test]
fn silent_connections_are_bounded_and_end_and_do_not_keep_others_out() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    let started = Instant::now();
    let mut silent = Vec::new();
    let mut turned_away = 0;
    for _ in 0..60 {
        let mut stream = TcpStream::connect(bed.address)?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        let mut greeting = [0; 8];
        stream.read_exact(&mut greeting)?;
        match &greeting {
            b"SSH-2.0-" => silent.push(stream),
            b"Codekeep" => turned_away += 1,
            other => anyhow::bail!("{}", String::from_utf8_lossy(other)),
        }
    }
    ensure!(silent.len() == 32 && turned_away == 28, "{} were taken", silent.len());
    // One address took all its places; another one has its own.
    let other = format!("core.sshCommand={} -b 127.0.0.2", bed.ssh.command_line("alice"));
    bed.bed.git.ok(&bed.home(), &["-c", &other, "ls-remote", &bed.url()])?;
    bed.git("alice", &bed.home(), &["ls-remote", &bed.url()])?.refused()?;
    // One of them says a little now and then, which does not help it.
    let mut dripping = silent.pop().context("no connection")?;
    while started.elapsed() < Duration::from_secs(35) {
        let _ = dripping.write_all(b"x");
        std::thread::sleep(Duration::from_millis(500));
    }
    for stream in &mut silent {
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        let mut rest = Vec::new();
        ensure!(stream.read_to_end(&mut rest).is_ok(), "a silent connection is still open");
    }
    bed.ok(&bed.home(), &["ls-remote", &bed.url()])?;
    Ok(())
}

#[test]
fn garbage_instead_of_ssh_ends_the_connection() -> Result<()> {
    let bed = SshBed::new()?;
    let floods: [Vec<u8>; 4] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"x\r\n".repeat(100_000),
        [b"SSH-2.0-x\r\n".to_vec(), vec![0xff; 100_000]].concat(),
        [b"SSH-2.0-".to_vec(), vec![b'a'; 1_000_000]].concat(),
    ];
    for flood in floods {
        let mut stream = TcpStream::connect(bed.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        // It may be cut while it is being sent.
        let _ = stream.write_all(&flood);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        ensure!(rest.len() < 4_096, "{} bytes came back", rest.len());
    }
    bed.ok(&bed.home(), &["ls-remote", &bed.url()])?;
    no_requests_left(&bed, Duration::from_secs(5))?;
    Ok(())
}

#[test]
fn many_clients_at_once_are_all_served() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..24)
            .map(|number| {
                let bed = &bed;
                scope.spawn(move || bed.ok(&bed.home(), &["clone", "--quiet", &bed.url(), &format!("clone-{number}")]))
            })
            .collect();
        clients.into_iter().try_for_each(|client| client.join().expect("because it does not panic").map(drop))
    })?;
    no_requests_left(&bed, Duration::from_secs(5))
}

/// A push that is open on a connection that stands, with its greeting read.
fn open_push(bed: &SshBed, socket: &str) -> Result<Child> {
    // Without the other connection it makes none of its own.
    let arguments = ["-o", socket, "-o", "ProxyCommand=false", "git-receive-pack '/team-a/hello'"];
    let mut command = bed.ssh.command("alice", bed.address, &arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut greeting = [0; 4];
    let read = child.stdout.as_mut().context("no output")?.read(&mut greeting)?;
    if read == 0 {
        child.wait()?;
        anyhow::bail!("no greeting");
    }
    Ok(child)
}

#[test]
fn one_connection_runs_ten_commands_at_once_and_no_more() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    let socket = format!("ControlPath={}", bed.ssh.path("control").display());
    let master = bed.ssh.command("alice", bed.address, &["-o", &socket, "-M", "-N", "-f"]).status()?;
    ensure!(master.success(), "no connection");
    let mut children = (0..10).map(|_| open_push(&bed, &socket)).collect::<Result<Vec<Child>>>()?;
    assert!(open_push(&bed, &socket).is_err(), "the eleventh was taken");
    for child in &mut children {
        child.kill()?;
        child.wait()?;
    }
    let mut child = wait::until("room", Duration::from_secs(10), || Ok(open_push(&bed, &socket).ok()))?;
    child.kill()?;
    child.wait()?;
    bed.ssh.command("alice", bed.address, &["-o", &socket, "-O", "exit"]).output()?;
    Ok(())
}

#[test]
fn a_connection_that_is_kept_serves_one_command_after_the_other() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    let socket = bed.ssh.path("control").display().to_string();
    let shared =
        ["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", &format!("ControlPath={socket}")].join(" ");
    let setting = format!("core.sshCommand={} {shared}", bed.ssh.command_line("alice"));
    // More than are served on one connection: the client makes a new one, and nobody notices.
    for _ in 0..270 {
        bed.bed.git.ok(&bed.home(), &["-c", &setting, "ls-remote", &bed.url()])?;
    }
    let end = format!("ControlPath={socket}");
    bed.ssh.command("alice", bed.address, &["-o", &end, "-O", "exit"]).output()?;
    Ok(())
}

#[test]
fn a_stop_lets_a_clone_end_and_sends_idle_connections_away() -> Result<()> {
    let mut bed = SshBed::new()?;
    large(&bed)?;
    let mut child = clone_unread(&bed)?;
    let mut answer = vec![0; 1 << 20];
    child.stdout.as_mut().context("no output")?.read_exact(&mut answer)?;
    process::signal(bed.bed.server.pid(), "TERM")?;
    std::thread::sleep(Duration::from_secs(1));
    assert!(TcpStream::connect(bed.address).is_err(), "it still listens");
    child.stdout.as_mut().context("no output")?.read_to_end(&mut answer)?;
    assert!(child.wait()?.success());
    let begin = answer.windows(4).position(|four| four == b"PACK").context("no pack")?;
    std::fs::write(bed.bed.git.path("whole.pack"), &answer[begin..])?;
    bed.bed.git.init("check")?;
    bed.bed.git.ok(&bed.bed.git.path("check"), &["index-pack", "--strict", "../whole.pack"])?;
    assert!(bed.bed.server.terminate(Duration::from_secs(10))?, "{}", bed.bed.server.log());
    Ok(())
}
