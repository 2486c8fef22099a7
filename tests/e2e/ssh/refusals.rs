//! What is not git: shells, terminals, forwarding, files, other commands; and tricks with commands.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Result;

use super::SshBed;

/// Whether a refusal says in one line what this server is for.
fn says_why(text: &str) -> bool {
    text.contains("this server runs git commands only")
}

#[test]
fn there_is_no_shell_no_terminal_and_no_file_transfer() -> Result<()> {
    let bed = SshBed::new()?;
    for arguments in [&[][..], &["-tt"], &["-N", "-T", "-W", "127.0.0.1:22"]] {
        let (status, answer) = bed.ssh.run("alice", bed.address, arguments)?;
        assert_ne!(status, Some(0), "{arguments:?}");
        assert!(answer.stdout.is_empty(), "{arguments:?}: {}", answer.stdout);
    }
    let (status, answer) = bed.ssh.run("alice", bed.address, &[])?;
    assert_eq!(status, Some(128));
    assert!(says_why(&answer.stderr), "{}", answer.stderr);
    // A subsystem: with -s the command is the subsystem's name.
    let (status, answer) = bed.ssh.run("alice", bed.address, &["-s", "sftp"])?;
    assert_ne!(status, Some(0));
    assert!(says_why(&answer.stderr), "{}", answer.stderr);
    Ok(())
}

#[test]
fn nothing_is_forwarded() -> Result<()> {
    let bed = SshBed::new()?;
    let port = tests::server::free_address()?.port();
    let strict = ["-o", "ExitOnForwardFailure=yes", "-N"];
    let (status, answer) =
        bed.ssh.run("alice", bed.address, &[&strict[..], &["-R", &format!("{port}:127.0.0.1:1")]].concat())?;
    assert_ne!(status, Some(0));
    assert!(answer.stderr.contains("remote port forwarding failed"), "{}", answer.stderr);
    let (_, answer) = bed.ssh.run("alice", bed.address, &["-W", &bed.bed.server.address().to_string()])?;
    assert!(answer.stderr.contains("administratively prohibited"), "{}", answer.stderr);
    let (status, answer) = bed.ssh.run("alice", bed.address, &["-A", "git-upload-pack '/team-a/absent'"])?;
    assert_eq!(status, Some(128));
    assert!(answer.stderr.contains("was not found"), "{}", answer.stderr);
    Ok(())
}

#[test]
fn other_commands_and_tricks_are_refused_in_one_line() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    for (command, said) in [
        ("id", "runs git-upload-pack and git-receive-pack only"),
        ("git-shell", "runs git-upload-pack and git-receive-pack only"),
        ("git-upload-pack --help", "takes no options"),
        ("git-upload-pack '/team-a/hello'; id", "cannot be read"),
        ("git-upload-pack '/team-a/hello' && id", "cannot be read"),
        ("git-upload-pack $(id)", "cannot be read"),
        ("git-upload-pack '/team-a/../team-b/theirs'", "there is no such repository"),
        ("git-upload-pack '/../../etc'", "there is no such repository"),
        ("git-upload-pack '~/hello'", "there is no such repository"),
        ("git-upload-pack '/team-a/hello' 'x'", "takes no options"),
        ("git-lfs-authenticate '/team-a/hello'", "takes no options"),
        ("git-lfs-transfer '/team-a/hello' download", "runs git-upload-pack and git-receive-pack only"),
        ("git-receive-pack '/team-b/theirs'", "was not found, or no AccessPolicy allows"),
    ] {
        let (status, answer) = bed.ssh.run("alice", bed.address, &[command])?;
        assert_eq!(status, Some(128), "{command}");
        assert_eq!(answer.stdout, "", "{command}");
        assert_eq!(answer.stderr.lines().count(), 1, "{command}: {}", answer.stderr);
        assert!(answer.stderr.contains(said) && answer.stderr.contains("(request "), "{command}: {}", answer.stderr);
    }
    Ok(())
}

#[test]
fn passwords_are_not_asked_for() -> Result<()> {
    let bed = SshBed::new()?;
    let arguments = [
        "-o",
        "PreferredAuthentications=none,password,keyboard-interactive,hostbased",
        "git-upload-pack '/team-a/hello'",
    ];
    let (status, answer) = bed.ssh.run("alice", bed.address, &arguments)?;
    assert_eq!(status, Some(255));
    assert!(answer.stderr.contains("Permission denied (publickey)"), "{}", answer.stderr);
    Ok(())
}

#[test]
fn variables_other_than_git_protocol_are_not_taken() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    let mut arguments = Vec::new();
    let settings: Vec<String> = (0..300).map(|number| format!("SetEnv=GIT_TRACE{number}=1")).collect();
    for setting in &settings {
        arguments.extend(["-o", setting]);
    }
    arguments.push("git-upload-pack '/team-a/hello'");
    let mut child = bed.ssh.command("alice", bed.address, &arguments).stdout(Stdio::piped()).spawn()?;
    let status = tests::wait::until("the end", Duration::from_secs(30), || Ok(child.try_wait()?))?;
    assert!(status.success(), "its input ended, so that there was nothing to do");
    Ok(())
}
