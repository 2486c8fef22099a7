//! Servers that are stopped for a minute (SIGSTOP) in the middle of a commit while another one works on the same repository:
//! each of their pushes is committed once or refused in words, and what they show afterwards is fresh.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::fault_proxy::{Fault, Rule};
use tests::s3::S3Kind;
use tests::{process, wait};

use crate::pair::{Servers, at};

/// How long they are stopped: longer than any attempt of a request to the bucket may take.
const STOPPED: Duration = Duration::from_mins(1);
const CONTESTED: &str = "refs/heads/contested";
/// The server that works.
const WORKER: usize = 3;

/// A push whose server was stopped when its commit had left for the bucket.
struct Caught {
    server: usize,
    push: Child,
    id: String,
    branch: &'static str,
    /// Commits that had left for the bucket before this one.
    before: usize,
}

/// Pushes through a server, and stops it as soon as the commit is on its way, which the fault then befalls.
fn catch(servers: &Servers, server: usize, branch: &'static str, fault: Fault) -> Result<Caught> {
    let git = &servers.git;
    let folder = git.clone(&servers.url(server), &format!("work-{server}"))?;
    if let Some(name) = branch.strip_prefix("refs/heads/").filter(|_| branch == CONTESTED) {
        git.ok(&folder, &["checkout", "--quiet", name])?;
    }
    let id = git.commit(&folder, "caught", &format!("by server {server}\n"))?;
    let proxy = &servers.proxies[server];
    let before = proxy.count("PUT", "/log/");
    proxy.set([Rule::new("PUT", "/log/", fault).times(1)]);
    let mut command = git.command(&folder, &["push", &servers.url(server), &format!("HEAD:{branch}")]);
    let push = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    wait::until("the commit", Duration::from_secs(30), || Ok((proxy.count("PUT", "/log/") > before).then_some(())))?;
    process::signal(servers.running[server].pid(), "STOP")?;
    Ok(Caught { server, push, id, branch, before })
}

/// The other server works: it takes the number that a stopped one wants, and moves the branch that another one wants.
fn work(servers: &Servers, until: Instant) -> Result<(Vec<String>, Duration, String)> {
    let git = &servers.git;
    let folder = git.clone(&servers.url(WORKER), "work")?;
    git.ok(&folder, &["checkout", "--quiet", "contested"])?;
    let id = git.commit(&folder, "contested", "by the one that works\n")?;
    git.ok(&folder, &["push", "--quiet", &servers.url(WORKER), &format!("HEAD:{CONTESTED}")])?;
    let (mut created, mut slowest) = (Vec::new(), Duration::ZERO);
    while Instant::now() < until {
        let name = format!("refs/heads/worked/{}", created.len());
        let start = Instant::now();
        servers
            .raw(WORKER)
            .create_refs(&servers.tip, std::slice::from_ref(&name))
            .context("the working server failed")?;
        slowest = slowest.max(start.elapsed());
        created.push(name);
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok((created, slowest, id))
}

fn story(kind: S3Kind) -> Result<()> {
    let servers = Servers::start(kind, WORKER + 1)?;
    servers.raw(WORKER).create_refs(&servers.tip, &[CONTESTED.to_owned()])?;
    // The bucket has its entry when it is stopped; the answer comes when it does not listen.
    let done = catch(&servers, 0, "refs/heads/done", Fault::AnswerLate(Duration::from_secs(5)))?;
    // Their entries reach the bucket when others have taken the number.
    let late = catch(&servers, 1, "refs/heads/late", Fault::Delay(Duration::from_secs(30)))?;
    let contested = catch(&servers, 2, CONTESTED, Fault::Delay(Duration::from_secs(35)))?;
    let (created, slowest, moved) = work(&servers, Instant::now() + STOPPED)?;
    for caught in [&done, &late, &contested] {
        process::signal(servers.running[caught.server].pid(), "CONT")?;
    }
    // Before anything else: what they show is what was committed while they were stopped.
    for server in 0..WORKER {
        let shown = servers.raw(server).ls_refs(&["refs/heads/worked/", CONTESTED])?;
        ensure!(created.iter().all(|name| at(&shown, name).is_some()), "server {server} shows what it knew before");
        ensure!(at(&shown, CONTESTED) == Some(&moved), "server {server} shows the branch as it was");
    }
    let mut outcomes = Vec::new();
    for Caught { server, push, id, branch, before } in [done, late, contested] {
        let output = push.wait_with_output()?;
        let sent = servers.proxies[server].count("PUT", "/log/") - before;
        // The one whose number was taken has to send another; the others know by reading what became of theirs.
        ensure!(
            if branch.ends_with("late") { sent > 1 } else { sent == 1 },
            "server {server} sent its commit {sent} times"
        );
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        outcomes.push((server, branch, id, output.status.success(), text));
    }
    let shown = servers.agree()?;
    for (server, branch, id, accepted, text) in &outcomes {
        let found = at(&shown, branch);
        if *branch == CONTESTED {
            ensure!(!accepted && found == Some(&moved), "server {server}: two pushes of one branch won: {text}");
            ensure!(text.contains("rejected"), "server {server} does not say why: {text}");
        } else {
            ensure!(*accepted && found == Some(id), "server {server}: {branch} is at {found:?}, not at {id}: {text}");
        }
    }
    ensure!(created.len() > 50, "only {} pushes through the working server", created.len());
    tell(&format!("{kind:?}: {} pushes through the other server, the slowest {slowest:?}", created.len()));
    Ok(())
}

/// For whoever reads the log of a run.
#[expect(clippy::print_stderr, reason = "figures of the test run")]
fn tell(text: &str) {
    eprintln!("{text}");
}

#[test]
#[ignore = "full tier: more than a minute"]
fn servers_that_were_stopped_in_mid_commit_do_no_harm_on_seaweedfs() -> Result<()> {
    story(S3Kind::SeaweedFs)
}

#[test]
#[ignore = "peers tier: more than a minute, needs MinIO"]
fn servers_that_were_stopped_in_mid_commit_do_no_harm_on_minio() -> Result<()> {
    story(S3Kind::MinIo)
}
