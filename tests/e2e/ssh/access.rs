//! Who may: by key, by namespace, by policy, and when it is taken back.

use std::time::Duration;

use anyhow::Result;
use tests::wait;

use super::{ED25519, SshBed};

#[test]
fn a_key_that_nobody_has_is_refused() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    for repository in ["/team-a/hello", "/team-a/absent", "/no-such-team/x"] {
        let refusal = bed.git("mallory", &bed.home(), &["ls-remote", &bed.url_of(repository)])?.refused()?;
        assert!(refusal.contains("Permission denied (publickey)"), "{refusal}");
    }
    Ok(())
}

#[test]
fn who_may_not_read_learns_nothing_and_who_may_not_push_learns_why() -> Result<()> {
    let bed = SshBed::new()?;
    let work = bed.started()?;
    let told = |key: &str, path: &str| -> Result<String> {
        let text = bed.git(key, &bed.home(), &["ls-remote", &bed.url_of(path)])?.refused()?;
        let line = text.lines().find(|line| line.starts_with("codekeep: ")).unwrap_or_default();
        Ok(line.split(" (request ").next().unwrap_or_default().to_owned())
    };
    // carol is known here but no policy names her; dave is of another namespace.
    for key in ["carol", "dave"] {
        let there = told(key, "/team-a/hello")?;
        assert!(there.contains("was not found, or no AccessPolicy allows"), "{there}");
        let absent = told(key, "/team-a/absent")?;
        assert_eq!(there.replace("hello", "absent"), absent, "missing and forbidden look the same");
    }
    assert!(told("dave", "/team-a/hello")?.contains("team-b/dave"));
    let refusal = bed.git("bob", &work, &["push", &bed.url(), "HEAD:refs/heads/bobs"])?.refused()?;
    assert!(refusal.contains("no AccessPolicy allows codecommit:GitPush"), "{refusal}");
    bed.git("bob", &bed.home(), &["clone", "--quiet", &bed.url(), "bobs"])?.accepted()?;
    let refusal = bed.git("alice", &work, &["push", &bed.url(), "HEAD:refs/heads/release/1"])?.refused()?;
    assert!(refusal.contains("denied by AccessPolicy") && refusal.contains("releases-are-closed"), "{refusal}");
    Ok(())
}

#[test]
fn a_key_of_two_namespaces_is_each_of_its_users() -> Result<()> {
    let bed = SshBed::new()?;
    let key = std::fs::read_to_string(bed.ssh.path("alice.pub"))?;
    bed.bed.manifests.ssh_key("team-b", "dave", "alice-too", key.trim())?;
    wait::until("the key", Duration::from_secs(10), || {
        Ok(bed.git("alice", &bed.home(), &["ls-remote", &bed.url_of("/team-b/theirs")])?.ok.then_some(()))
    })?;
    bed.ok(&bed.home(), &["ls-remote", &bed.url()])?;
    let refusal = bed.git("alice", &bed.home(), &["ls-remote", &bed.url_of("/v1/repos/hello")])?.refused()?;
    assert!(refusal.contains("users of several namespaces"), "{refusal}");
    Ok(())
}

#[test]
fn every_modern_kind_of_key_is_accepted_and_weak_ones_are_not() -> Result<()> {
    let bed = SshBed::new()?;
    let kinds: [(&str, &[&str]); 5] = [
        ("p256", &["-t", "ecdsa", "-b", "256"]),
        ("p384", &["-t", "ecdsa", "-b", "384"]),
        ("p521", &["-t", "ecdsa", "-b", "521"]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
        ("large-rsa", &["-t", "rsa", "-b", "4096"]),
    ];
    for (name, kind) in kinds {
        bed.bed.manifests.ssh_key("team-a", "alice", name, &bed.ssh.key(name, kind)?)?;
    }
    for (name, _) in kinds {
        wait::until(name, Duration::from_secs(10), || {
            Ok(bed.git(name, &bed.home(), &["ls-remote", &bed.url()])?.ok.then_some(()))
        })?;
    }
    // The same RSA key with a signature by SHA-1.
    let ssh = format!("core.sshCommand={} -o PubkeyAcceptedAlgorithms=ssh-rsa", bed.ssh.command_line("rsa"));
    let refusal = bed.bed.git.run(&bed.home(), &["-c", &ssh, "ls-remote", &bed.url()])?.refused()?;
    assert!(refusal.contains("denied") || refusal.contains("no mutual signature"), "{refusal}");
    bed.bed.manifests.ssh_key("team-a", "alice", "weak", &bed.ssh.key("weak", &["-t", "rsa", "-b", "1024"])?)?;
    wait::until("the complaint", Duration::from_secs(10), || {
        Ok(bed.bed.server.log().contains("RSA key of 1024 bits").then_some(()))
    })?;
    bed.git("weak", &bed.home(), &["ls-remote", &bed.url()])?.refused()?;
    Ok(())
}

#[test]
fn a_key_that_is_taken_back_counts_no_more_even_on_an_open_connection() -> Result<()> {
    let bed = SshBed::new()?;
    bed.bed.manifests.ssh_key("team-a", "alice", "second", &bed.ssh.key("second", &ED25519)?)?;
    let socket = bed.ssh.path("control").display().to_string();
    let shared = format!(
        "{} -o ControlMaster=auto -o ControlPersist=60 -o ControlPath={socket}",
        bed.ssh.command_line("second")
    );
    let setting = format!("core.sshCommand={shared}");
    let list = || bed.bed.git.run(&bed.home(), &["-c", &setting, "ls-remote", &bed.url()]);
    wait::until("the key", Duration::from_secs(10), || Ok(list()?.ok.then_some(())))?;
    assert!(list()?.ok, "a second command on the same connection");
    bed.bed.manifests.remove("ssh-key-team-a-second.yaml")?;
    let refusal = wait::until("the end of the key", Duration::from_secs(10), || {
        let answer = list()?;
        Ok((!answer.ok).then_some(answer.stderr))
    })?;
    assert!(refusal.contains("not accepted any more"), "{refusal}");
    let end = format!("ControlPath={socket}");
    bed.ssh.command("second", bed.address, &["-o", &end, "-O", "exit"]).output()?;
    Ok(())
}

#[test]
fn a_suspended_repository_is_refused_in_words() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    let manifest = "apiVersion: codekeep.dev/v1alpha1\nkind: Repository\nmetadata: {name: hello, namespace: team-a}\n";
    bed.bed.manifests.write("repository-team-a-hello.yaml", &format!("{manifest}spec: {{suspend: true}}\n"))?;
    let refusal = wait::until("the suspension", Duration::from_secs(10), || {
        let answer = bed.git("alice", &bed.home(), &["ls-remote", &bed.url()])?;
        Ok((!answer.ok).then_some(answer.stderr))
    })?;
    assert!(refusal.contains("is suspended"), "{refusal}");
    Ok(())
}
