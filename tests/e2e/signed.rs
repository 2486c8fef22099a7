//! Signed pushes: what stock git signs is in the log and can be verified, and what does not fit is refused.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tests::git_cli::object_format;
use tests::manifests::PASSWORD;
use tests::protocol::{FLUSH, RawClient, line};

use crate::bed::REPOSITORY;
use crate::ssh::SshBed;

const SIGNATURE: &str = "-----BEGIN SSH SIGNATURE-----";

/// A server, a work tree that was pushed, and options of git with which alice signs.
struct Place {
    bed: SshBed,
    work: PathBuf,
    signing: Vec<String>,
}

impl Place {
    fn new() -> Result<Self> {
        let bed = SshBed::new()?;
        let work = bed.started()?;
        bed.ssh.key("signer", &["-t", "ed25519"])?;
        let key = format!("user.signingKey={}", bed.ssh.path("signer").display());
        let signing = ["-c", "gpg.format=ssh", "-c", &key].map(str::to_owned).to_vec();
        Ok(Self { bed, work, signing })
    }

    /// Pushes with a signature.
    fn push(&self, arguments: &[&str]) -> Result<tests::answer::Answer> {
        let signing: Vec<&str> = self.signing.iter().map(String::as_str).collect();
        self.bed.bed.git.run(&self.work, &[&*signing, &["push", "--signed"], arguments].concat())
    }

    /// What `codekeep fsck` prints of the certificates.
    fn printed(&self, cache: &str) -> Result<String> {
        let mut command = Command::new(tests::binary::codekeep()?);
        command.args(["fsck", "--certificates", "--store", &format!("file:{}", self.bed.bed.store.path().display())]);
        let output = command.arg("--cache").arg(self.bed.bed.git.path(cache)).arg(REPOSITORY).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    fn raw(&self) -> RawClient {
        RawClient::new(self.bed.bed.server.address(), REPOSITORY, Some(("alice", PASSWORD)))
    }

    /// A nonce for a repository.
    fn nonce(&self, repository: &str) -> Result<String> {
        let raw = RawClient::new(self.bed.bed.server.address(), repository, Some(("alice", PASSWORD)));
        let text = raw.advertisement("git-receive-pack", 0)?.text();
        let nonce = text.split([' ', '\n']).find_map(|word| word.strip_prefix("push-cert="));
        Ok(nonce.context("no nonce is given")?.to_owned())
    }

    /// Sends a certificate by hand, with lines after it; gives what the server says.
    fn send(&self, certificate: &str, more: &[&str]) -> Result<String> {
        let mut body = line(format!("push-cert\0report-status atomic object-format={}", object_format()));
        body.extend(certificate.split_inclusive('\n').flat_map(line));
        body.extend(line("push-cert-end\n"));
        body.extend(more.iter().flat_map(line));
        body.extend_from_slice(FLUSH);
        let empty =
            b"PACK\0\0\0\x02\0\0\0\0\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e";
        body.extend_from_slice(empty);
        Ok(self.raw().post("git-receive-pack", 0, &[], &body)?.text())
    }
}

/// Asks OpenSSH whether somebody whose key we have signed this.
fn verify(folder: &Path, key: &str, certificate: &str) -> Result<bool> {
    let (text, _) = certificate.split_once(SIGNATURE).context("no signature")?;
    let signers = format!("alice@example.com {key}");
    std::fs::write(folder.join("signers"), signers)?;
    std::fs::write(folder.join("signature"), &certificate[text.len()..])?;
    std::fs::write(folder.join("text"), text)?;
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "verify", "-f", "signers", "-I", "alice@example.com", "-n", "git", "-s", "signature"]);
    command.current_dir(folder).stdin(std::fs::File::open(folder.join("text"))?).stdout(Stdio::null());
    Ok(command.stderr(Stdio::null()).status()?.success())
}

#[test]
fn certificates_of_stock_git_are_in_the_log_and_can_be_verified() -> Result<()> {
    let place = Place::new()?;
    let (git, bed) = (&place.bed.bed.git, &place.bed);
    git.commit(&place.work, "file", "over SSH\n")?;
    place.push(&["--push-option=ci.skip", "origin", "main"])?.accepted()?;
    let over_ssh = git.head(&place.work)?;
    git.commit(&place.work, "file", "over HTTP\n")?;
    place
        .push(&["--atomic", "--push-option=one", "--push-option=two", &bed.bed.url(), "main", "main:topic"])?
        .accepted()?;
    let over_http = git.head(&place.work)?;
    place.push(&[&bed.bed.url(), ":topic"])?.accepted()?;
    let printed = place.printed("cache")?;
    let certificates: Vec<&str> = printed.split("certificate version 0.1\n").skip(1).collect();
    ensure!(certificates.len() == 3, "{printed}");
    let key = std::fs::read_to_string(bed.ssh.path("signer.pub"))?;
    for (rest, lines) in certificates.into_iter().zip([
        vec![format!("{over_ssh} refs/heads/main\n"), "push-option ci.skip\n".to_owned()],
        vec![format!("{over_http} refs/heads/topic\n"), "push-option one\npush-option two\n".to_owned()],
        vec![format!("{over_http} {} refs/heads/topic\n", tests::git_cli::null_id())],
    ]) {
        let end = rest.find("-----END SSH SIGNATURE-----\n").context("no end")? + "-----END SSH SIGNATURE-----\n".len();
        let certificate = format!("certificate version 0.1\n{}", &rest[..end]);
        ensure!(lines.iter().all(|line| certificate.contains(line)), "{lines:?} in {certificate}");
        ensure!(verify(&bed.ssh.path(""), &key, &certificate)?, "the signature does not fit: {certificate}");
        ensure!(
            !verify(&bed.ssh.path(""), &key, &certificate.replace("refs/heads/", "refs/tags/"))?,
            "it fits anything"
        );
    }
    let log = bed.bed.server.log();
    let audited = log.lines().filter(|line| line.contains("push certificate received")).collect::<Vec<_>>();
    ensure!(audited.len() == 3, "{audited:?}");
    for field in
        ["certificate.nonce=\"OK\"", "certificate.verified=false", "certificate.format=\"ssh\"", "certificate.sha256="]
    {
        ensure!(audited.iter().all(|line| line.contains(field)), "{field}: {audited:?}");
    }
    bed.bed.clone_is_sound("clone")
}

#[test]
fn signed_pushes_that_do_not_fit_are_refused_in_one_line() -> Result<()> {
    let place = Place::new()?;
    let bed = &place.bed.bed;
    let tip = bed.git.head(&place.work)?;
    let zero = tests::git_cli::null_id();
    let create = |name: &str| format!("{zero} {tip} refs/heads/{name}\n");
    let certificate = |nonce: &str, commands: &str| {
        format!(
            "certificate version 0.1\npusher key 1700000000 +0000\nnonce {nonce}\n\n{commands}{SIGNATURE}\nx\n-----END SSH SIGNATURE-----\n"
        )
    };
    let nonce = place.nonce(REPOSITORY)?;
    let refs = bed.git.remote_refs(&bed.url())?;
    let (seconds, seal) = nonce.split_once('-').context("a nonce has two parts")?;
    let older = format!("{}-{seal}", seconds.parse::<u64>()? - 60);
    for (certificate, more, words) in [
        (certificate(&older, &create("a")), vec![], "was not given by this server for this repository"),
        (
            certificate(&place.nonce("team-a/other")?, &create("a")),
            vec![],
            "was not given by this server for this repository",
        ),
        (certificate("17-00", &create("a")), vec![], "was not given by this server"),
        (certificate(&nonce, &create("a")), vec![create("b")], "the commands differ"),
        (certificate(&nonce, &create("a")), vec![create("a")], "the commands differ"),
        (certificate(&nonce, ""), vec![], "no commands"),
        (certificate(&nonce, &create("a")).replace(SIGNATURE, "-----"), vec![], "no signature"),
        (certificate(&nonce, &create("a")).replace("nonce ", "nonsense "), vec![], "no nonce"),
        (
            certificate(&nonce, &format!("{}{}", create("a"), create("x").repeat(700))),
            vec![],
            "larger than 65536 bytes",
        ),
    ] {
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let said = place.send(&certificate, &more)?;
        ensure!(said.contains("ERR ") && said.contains(words) && said.lines().count() == 1, "{words}: {said}");
    }
    ensure!(bed.git.remote_refs(&bed.url())? == refs, "something was pushed");
    let good = certificate(&nonce, &create("a"));
    ensure!(place.send(&good, &[])?.contains("ok refs/heads/a"), "a good one is refused");
    // The same once more: its nonce is still good, but what it says is not true any more.
    let again = place.send(&good, &[])?;
    ensure!(again.contains("ng refs/heads/a"), "{again}");
    let log = bed.server.log();
    ensure!(
        log.lines()
            .any(|line| line.contains("push certificate received") && line.contains("certificate.nonce=\"BAD\"")),
        "no audit"
    );
    Ok(())
}

#[test]
fn a_nonce_of_http_is_not_good_over_ssh() -> Result<()> {
    let place = Place::new()?;
    let bed = &place.bed;
    let tip = bed.bed.git.head(&place.work)?;
    let nonce = place.nonce(REPOSITORY)?;
    // Two that are given in one second are the same.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let mut child = bed
        .ssh
        .command("alice", bed.address(), &[&format!("git-receive-pack '/{REPOSITORY}'")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let text = format!(
        "certificate version 0.1\npusher key 1700000000 +0000\nnonce {nonce}\n\n{} {tip} refs/heads/a\n{SIGNATURE}\n",
        tests::git_cli::null_id()
    );
    let mut body = line(format!("push-cert\0report-status object-format={}", object_format()));
    body.extend(text.split_inclusive('\n').flat_map(line));
    body.extend(line("push-cert-end\n"));
    body.extend_from_slice(FLUSH);
    std::io::Write::write_all(&mut child.stdin.take().context("no input")?, &body)?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(said.contains("is not the one that was given in this connection"), "{said}");
    ensure!(!bed.bed.git.remote_refs(&bed.bed.url())?.contains("refs/heads/a\n"), "it was taken");
    Ok(())
}

#[test]
fn servers_without_host_keys_do_not_announce_it() -> Result<()> {
    let bed = crate::bed::Bed::new()?;
    let work = bed.started()?;
    bed.git.commit(&work, "file", "signed\n")?;
    let refused = bed.git.run(&work, &["push", "--signed"])?;
    ensure!(
        !refused.ok && refused.stderr.contains("the receiving end does not support --signed push"),
        "{}",
        refused.stderr
    );
    let pushed = bed.git.run(&work, &["push", "--signed=if-asked"])?;
    ensure!(pushed.ok, "{}", pushed.stderr);
    Ok(())
}
