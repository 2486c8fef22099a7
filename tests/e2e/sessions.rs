//! Session ids: from the trace of stock git to the lines of our log, and from them to the trace.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use tests::{Git, fixture};

use crate::bed::Bed;
use crate::ssh::SshBed;

/// Runs git with a trace; gives the ids that servers named, and those of its own.
fn traced(git: &Git, folder: &Path, arguments: &[&str]) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let trace = git.path("trace");
    let mut command = git.command(folder, &[&["-c", "transfer.advertiseSID=true"], arguments].concat());
    let output = command.env("GIT_TRACE2_EVENT", &trace).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (mut servers, mut own) = (BTreeSet::new(), BTreeSet::new());
    for line in std::fs::read_to_string(&trace)?.lines() {
        let event: serde_json::Value = serde_json::from_str(line)?;
        own.extend(event["sid"].as_str().map(str::to_owned));
        servers.extend(event["value"].as_str().filter(|_| event["key"] == "server-sid").map(str::to_owned));
    }
    std::fs::remove_file(trace)?;
    Ok((servers, own))
}

/// What git did is found in the log by the ids in its trace; `verb` is logged with one of git's own. Git 2.39 writes the server's into
/// its trace where it speaks with the server itself and fetches; then it is `told`.
fn is_found(log: &str, (servers, own): &(BTreeSet<String>, BTreeSet<String>), verb: &str, told: bool) -> Result<()> {
    ensure!(!told || !servers.is_empty(), "no server named a session");
    let answered = |id: &String| log.lines().any(|line| line.contains("request answered") && line.contains(id));
    ensure!(servers.iter().all(answered), "{servers:?} in:\n{log}");
    let verb = format!("verb=\"{verb}\"");
    let line = log.lines().rev().find(|line| line.contains("request answered") && line.contains(&verb));
    let line = line.with_context(|| format!("{verb} is not in:\n{log}"))?;
    ensure!(own.iter().any(|id| line.contains(&format!("client.session_id=\"{id}\""))), "{own:?} in: {line}");
    Ok(())
}

#[test]
fn traces_of_git_lead_to_lines_of_the_log_over_http() -> Result<()> {
    let bed = Bed::new()?;
    let work = bed.started()?;
    for version in ["0", "1", "2"] {
        let (setting, name) = (format!("protocol.version={version}"), format!("clone-{version}"));
        let ids = traced(&bed.git, &bed.git.path(""), &["-c", &setting, "clone", "--quiet", &bed.url(), &name])?;
        is_found(&bed.server.log(), &ids, "fetch", version == "2")?;
        bed.git.commit(&work, "file", &format!("version {version}\n"))?;
        let ids = traced(&bed.git, &work, &["-c", &setting, "push", "--quiet"])?;
        is_found(&bed.server.log(), &ids, "push", false)?;
    }
    Ok(())
}

#[test]
fn traces_of_git_lead_to_lines_of_the_log_over_ssh() -> Result<()> {
    let bed = SshBed::new()?;
    let work = bed.started()?;
    let git = &bed.bed.git;
    let ssh = format!("core.sshCommand={}", bed.ssh.command_line("alice"));
    for version in ["0", "1", "2"] {
        let (setting, name) = (format!("protocol.version={version}"), format!("clone-{version}"));
        let clone = ["-c", &ssh, "-c", &setting, "clone", "--quiet", &bed.url(), &name];
        let ids = traced(git, &git.path(""), &clone)?;
        is_found(&bed.bed.server.log(), &ids, "advertise-fetch", true)?;
        git.commit(&work, "file", &format!("version {version}\n"))?;
        let ids = traced(git, &work, &["-c", &setting, "push", "--quiet"])?;
        is_found(&bed.bed.server.log(), &ids, "advertise-push", false)?;
    }
    Ok(())
}

#[test]
fn lists_that_are_kept_have_the_session_of_each_request() -> Result<()> {
    let bed = Bed::new()?;
    let source = fixture::linear(&bed.git, "source.git", 3)?;
    let tip = bed.git.ok(&source, &["rev-parse", "main"])?;
    let refs: Vec<String> = (0..1_500).map(|n| format!("create refs/heads/topic/{n:060} {}\n", tip.trim())).collect();
    std::fs::write(bed.git.path("refs"), refs.concat())?;
    let mut command = bed.git.command(&source, &["update-ref", "--stdin"]);
    ensure!(command.stdin(std::fs::File::open(bed.git.path("refs"))?).status()?.success(), "no references");
    bed.git.ok(&source, &["push", "--quiet", "--mirror", &bed.url()])?;
    let mut lists = BTreeSet::new();
    for version in [0, 1] {
        for round in 0..3 {
            let id = format!("request-{version}-{round}");
            let authorization = tests::raw_http::basic("alice", tests::manifests::PASSWORD);
            let protocol = format!("version={version}");
            let headers = [("Authorization", &*authorization), ("x-request-id", &id), ("Git-Protocol", &protocol)];
            let target = format!("/{}/info/refs?service=git-upload-pack", crate::bed::REPOSITORY);
            let answer = tests::raw_http::send(bed.server.address(), "GET", &target, &headers, b"")?;
            ensure!(answer.header("content-length") == Some(&answer.body.len().to_string()), "{:?}", answer.headers);
            let text = answer.text();
            ensure!(text.len() > 100_000 && text.matches("session-id=").count() == 1, "{} bytes", text.len());
            ensure!(text.contains(&format!(" session-id={id}\n")), "the session of another request");
            lists.insert(text.replace(&id, "").replace("000eversion 1\n", ""));
        }
        let setting = format!("protocol.version={version}");
        let listed = bed.git.ok(&source, &["-c", &setting, "ls-remote", "--heads", &bed.url()])?;
        ensure!(listed.lines().count() == 1_501, "{} branches", listed.lines().count());
    }
    ensure!(lists.len() == 1, "the lists differ");
    Ok(())
}
