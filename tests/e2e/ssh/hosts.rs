//! How clients know the server: its keys, their rotation, and what it speaks.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::{binary, ssh, wait};

use super::{ED25519, SshBed};

#[test]
fn a_key_is_made_once_and_is_the_same_after_a_restart() -> Result<()> {
    let mut bed = SshBed::new()?;
    bed.started()?;
    bed.bed.server = bed.bed.server.restarted()?;
    // The client knows one host key and is strict about it.
    bed.ok(&bed.home(), &["ls-remote", &bed.url()])?;
    Ok(())
}

#[test]
fn a_new_key_is_made_known_before_it_counts_and_connections_go_on() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    let old = bed.host_keys.path().join("ssh_host_ed25519_key");
    let new = bed.host_keys.path().join("z_next_ed25519_key");
    ssh::make_key(&new, &ED25519)?;
    // Clients learn of both.
    bed.ssh.know(bed.address, bed.host_keys.path())?;
    std::thread::sleep(Duration::from_secs(3));
    bed.ok(&bed.home(), &["ls-remote", &bed.url()])?;
    std::fs::remove_file(&old)?;
    std::fs::remove_file(old.with_added_extension("pub"))?;
    bed.ssh.know(bed.address, bed.host_keys.path())?;
    wait::until("the new key", Duration::from_secs(10), || {
        Ok(bed.git("alice", &bed.home(), &["ls-remote", &bed.url()])?.ok.then_some(()))
    })?;
    // Damage is said, and what was there stays.
    std::fs::write(&new, "damaged")?;
    wait::until("the complaint", Duration::from_secs(10), || {
        Ok(bed.bed.server.log().contains("the new SSH host keys cannot be used").then_some(()))
    })?;
    bed.ok(&bed.home(), &["ls-remote", &bed.url()])?;
    Ok(())
}

#[test]
fn several_kinds_of_host_keys_are_offered_at_once() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    ssh::make_key(&bed.host_keys.path().join("ssh_host_ecdsa_key"), &["-t", "ecdsa", "-b", "384"])?;
    bed.ssh.know(bed.address, bed.host_keys.path())?;
    wait::until("the ECDSA key", Duration::from_secs(10), || {
        let ssh = format!("core.sshCommand={} -o HostKeyAlgorithms=ecdsa-sha2-nistp384", bed.ssh.command_line("alice"));
        Ok(bed.bed.git.run(&bed.home(), &["-c", &ssh, "ls-remote", &bed.url()])?.ok.then_some(()))
    })?;
    bed.ok(&bed.home(), &["ls-remote", &bed.url()])?;
    Ok(())
}

#[test]
fn the_audit_finds_nothing_to_complain_about() -> Result<()> {
    let bed = SshBed::new()?;
    let mut command = Command::new(binary::python());
    command.args(["-m", "ssh_audit", "--no-colors", "--skip-rate-test", "-p"]).arg(bed.address.port().to_string());
    let output = command.arg(bed.address.ip().to_string()).output().context("failed to start ssh-audit")?;
    let report = String::from_utf8_lossy(&output.stdout);
    ensure!(report.contains("mlkem768x25519-sha256") && report.contains("ssh-ed25519"), "{report}");
    let complaints: Vec<&str> =
        report.lines().filter(|line| line.contains("[fail]") || line.contains("[warn]")).collect();
    // The one that cannot be avoided as long as there are clients that know nothing newer: OpenSSH before 9.9.
    let old = |line: &&str| line.starts_with("(kex) curve25519-sha256 ") && line.contains("post-quantum");
    assert!(complaints.len() == 1 && complaints.iter().all(old), "{report}");
    Ok(())
}
