//! TLS, HTTP/2, and certificates that change while the server runs.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rcgen::{CertificateParams, KeyPair};
use tests::manifests::PASSWORD;
use tests::{Git, Manifests, Server, ServerOptions, fixture};

/// Writes a self-signed certificate for 127.0.0.1; the key goes first, as a careful operator would do it.
pub(crate) fn certificate(folder: &Path) -> Result<()> {
    let key = KeyPair::generate()?;
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?.self_signed(&key)?;
    for (name, text) in [("key.pem", key.serialize_pem()), ("cert.pem", certificate.pem())] {
        std::fs::write(folder.join(format!("{name}.new")), text)?;
        std::fs::rename(folder.join(format!("{name}.new")), folder.join(name))?;
    }
    Ok(())
}

struct Bed {
    git: Git,
    folder: tempfile::TempDir,
    server: Server,
    _manifests: Manifests,
}

impl Bed {
    fn new() -> Result<Self> {
        let (git, manifests, folder) = (Git::new()?, Manifests::standard()?, tempfile::TempDir::new()?);
        certificate(folder.path())?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let options = ServerOptions::new(manifests.path(), format!("file:{}", path("store")));
        let options = options.with(&["--tls-cert", &path("cert.pem"), "--tls-key", &path("key.pem")]);
        Ok(Self { git, server: Server::start(options)?, folder, _manifests: manifests })
    }

    fn url(&self) -> String {
        format!("https://alice:{PASSWORD}@{}/team-a/hello", self.server.address())
    }

    /// git that trusts a certificate file.
    fn trusting(&self, file: &Path, arguments: &[&str]) -> Result<tests::answer::Answer> {
        let setting = format!("http.sslCAInfo={}", file.display());
        let all: Vec<&str> = ["-c", &setting].iter().copied().chain(arguments.iter().copied()).collect();
        self.git.run(&self.git.path(""), &all)
    }
}

#[test]
fn git_clones_and_pushes_over_tls_and_speaks_http_2() -> Result<()> {
    let bed = Bed::new()?;
    let trusted = bed.folder.path().join("cert.pem");
    let source = fixture::linear(&bed.git, "source.git", 20)?;
    let source = source.to_str().context("path")?;
    bed.trusting(&trusted, &["-C", source, "push", "--quiet", "--mirror", &bed.url()])?.accepted()?;
    let setting = format!("http.sslCAInfo={}", trusted.display());
    let mut command = bed.git.command(&bed.git.path(""), &["-c", &setting, "clone", &bed.url(), "clone"]);
    let output = command.env("GIT_CURL_VERBOSE", "1").output()?;
    let trace = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{trace}");
    assert!(trace.contains("HTTP/2 200"), "{trace}");
    bed.git.fsck(&bed.git.path("clone"))?;
    let refusal = bed.git.run(&bed.git.path(""), &["ls-remote", &bed.url()])?.refused()?;
    assert!(refusal.to_lowercase().contains("certificate"), "{refusal}");
    Ok(())
}

#[test]
fn a_new_certificate_is_used_without_a_restart_and_a_broken_one_is_not() -> Result<()> {
    let bed = Bed::new()?;
    let old = bed.folder.path().join("old.pem");
    let current = bed.folder.path().join("cert.pem");
    std::fs::copy(&current, &old)?;
    bed.trusting(&old, &["ls-remote", &bed.url()])?.accepted()?;
    certificate(bed.folder.path())?;
    tests::wait::until("the new certificate", Duration::from_secs(30), || {
        Ok(bed.trusting(&current, &["ls-remote", &bed.url()])?.ok.then_some(()))
    })?;
    let good = bed.folder.path().join("good.pem");
    std::fs::copy(&current, &good)?;
    std::fs::write(&current, "this is no certificate\n")?;
    std::thread::sleep(Duration::from_secs(3));
    bed.trusting(&good, &["ls-remote", &bed.url()])?.accepted()?;
    Ok(())
}

#[test]
fn a_server_with_a_key_that_does_not_fit_refuses_to_start_and_names_the_file() -> Result<()> {
    let (manifests, folder) = (Manifests::standard()?, tempfile::TempDir::new()?);
    certificate(folder.path())?;
    std::fs::write(folder.path().join("key.pem"), KeyPair::generate()?.serialize_pem())?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let options = ServerOptions::new(manifests.path(), format!("file:{}", path("store")));
    let options = options.with(&["--tls-cert", &path("cert.pem"), "--tls-key", &path("key.pem")]);
    let log = Server::start_in_vain(options, Duration::from_secs(30))?;
    assert!(log.contains("cert.pem") || log.contains("key.pem"), "{log}");
    Ok(())
}
