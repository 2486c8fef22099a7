//! A foreign client that runs: it reads verbs, a line each, and answers each with a line. See `tests/clients/README.md`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use tests::manifests::PASSWORD;
use tests::{Git, Server};

use super::program::Program;
use crate::bed::Bed;
use crate::ssh::SshBed;
use crate::tls::certificate;

/// How a client reaches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Http,
    /// On another server of the same store.
    Https,
    Ssh,
}

/// What a client made of a verb.
#[derive(Debug)]
pub(crate) enum Reply {
    Done(String),
    /// It failed; what its user reads.
    Refused(String),
    /// It has no function for this.
    Cannot,
}

/// A server, and a client of alice's.
pub(crate) struct Place {
    pub(crate) program: &'static Program,
    pub(crate) way: Way,
    ssh: SshBed,
    tls: Tls,
    running: Running,
}

/// A certificate for the server, which the client trusts, and the server.
struct Tls {
    folder: TempDir,
    server: Option<Server>,
}

impl Tls {
    fn new(way: Way, bed: &Bed) -> Result<Self> {
        let folder = TempDir::new()?;
        if way != Way::Https {
            return Ok(Self { folder, server: None });
        }
        certificate(folder.path())?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let options = bed.options().with(&["--tls-cert", &path("cert.pem"), "--tls-key", &path("key.pem")]);
        Ok(Self { server: Some(Server::start(options)?), folder })
    }
}

impl Place {
    pub(crate) fn new(program: &'static Program, way: Way) -> Result<Self> {
        let ssh = SshBed::new()?;
        let tls = Tls::new(way, &ssh.bed)?;
        let running = Running::start(program, way, (&ssh, &tls), ["alice", PASSWORD, "alice"])?;
        Ok(Self { program, way, ssh, tls, running })
    }

    pub(crate) fn bed(&self) -> &Bed {
        &self.ssh.bed
    }

    pub(crate) fn git(&self) -> &Git {
        &self.ssh.bed.git
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.git().path(name)
    }

    /// The URL that the client is given.
    pub(crate) fn url(&self, repository: &str) -> String {
        if self.way == Way::Ssh {
            return self.ssh.url_of(&format!("/{repository}"));
        }
        let server = self.tls.server.as_ref().unwrap_or_else(|| &self.bed().server);
        let url =
            if self.program.password_in_url { server.url("alice", repository) } else { server.bare_url(repository) };
        if self.way == Way::Https { url.replacen("http:", "https:", 1) } else { url }
    }

    /// The same client in the hands of somebody whom the server does not know.
    pub(crate) fn stranger(&self) -> Result<Running> {
        Running::start(self.program, self.way, (&self.ssh, &self.tls), ["alice", "wrong", "mallory"])
    }

    /// The URL that a stranger would use.
    pub(crate) fn url_of_stranger(&self, repository: &str) -> String {
        self.url(repository).replace(&format!(":{PASSWORD}@"), ":wrong@")
    }

    pub(crate) fn ask(&mut self, words: &[&str]) -> Result<Reply> {
        self.running.ask(words)
    }

    /// A verb that has to work; gives what it printed.
    pub(crate) fn done(&mut self, words: &[&str]) -> Result<String> {
        match self.ask(words)? {
            Reply::Done(text) => Ok(text),
            reply => bail!("{} {words:?}: {reply:?}", self.program.name),
        }
    }

    /// A verb that has to fail; gives what the user reads.
    pub(crate) fn refused(&mut self, words: &[&str]) -> Result<String> {
        match self.ask(words)? {
            Reply::Refused(text) => Ok(text),
            reply => bail!("{} {words:?}: {reply:?}", self.program.name),
        }
    }

    /// Clones a repository whole; gives the folder.
    pub(crate) fn cloned(&mut self, repository: &str, name: &str) -> Result<PathBuf> {
        let (url, folder) = (self.url(repository), self.path(name));
        let head = self.done(&["clone", &url, text(&folder)?, "0", ""])?;
        ensure!(self.git().head(&folder)? == head, "it says that it cloned {head}");
        Ok(folder)
    }

    /// Writes a file and has the client commit it; gives the commit's id.
    pub(crate) fn committed(&mut self, folder: &Path, file: &str, content: &[u8]) -> Result<String> {
        std::fs::write(folder.join(file), content)?;
        let id = self.done(&["commit", text(folder)?, &format!("Change {file}")])?;
        ensure!(self.git().head(folder)? == id, "it says that it committed {id}");
        let left = self.git().ok(folder, &["status", "--porcelain"])?;
        ensure!(left.is_empty(), "not committed: {left}");
        Ok(id)
    }
}

/// The process; ended when dropped.
pub(crate) struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn start(
        program: &Program,
        way: Way,
        (bed, tls): (&SshBed, &Tls),
        [user, password, key]: [&str; 3],
    ) -> Result<Self> {
        let home = bed.bed.git.path("");
        let mut command = (program.command)();
        // JGit looks for hosts in the home only.
        std::fs::create_dir_all(home.join(".ssh"))?;
        std::fs::copy(bed.ssh.path("known_hosts"), home.join(".ssh/known_hosts"))?;
        command.env("HOME", &home).env("NO_PROXY", "*").env("no_proxy", "*").env("GIT_CONFIG_NOSYSTEM", "1");
        command.env_remove("SSH_AUTH_SOCK").current_dir(&home);
        // Each of them has a variable of its own for this.
        for name in ["GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"] {
            command.env(name, tls.folder.path().join("cert.pem"));
        }
        match way {
            Way::Http | Way::Https => command.env("CLIENT_USER", user).env("CLIENT_PASSWORD", password),
            Way::Ssh => command
                .env("CLIENT_KEY", bed.ssh.path(key))
                .env("CLIENT_KNOWN_HOSTS", bed.ssh.path("known_hosts"))
                .env("GIT_SSH_COMMAND", bed.ssh.command_line(key)),
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().with_context(|| {
            let program = command.get_program().display();
            format!("failed to start {program}: `cargo xtask tools` installs what is needed")
        })?;
        let input = child.stdin.take().context("the client has no standard input")?;
        let output = child.stdout.take().context("the client has no standard output")?;
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    pub(crate) fn ask(&mut self, words: &[&str]) -> Result<Reply> {
        let line = words.join("\t");
        ensure!(!line.contains('\n'), "a verb is one line");
        writeln!(self.input, "{line}").with_context(|| format!("the client ended before {words:?}"))?;
        self.input.flush()?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        match answer.trim_end_matches('\n').split_once('\t') {
            Some(("ok", text)) => Ok(Reply::Done(text.to_owned())),
            Some(("no", text)) => Ok(Reply::Refused(text.to_owned())),
            Some(("cannot", _)) => Ok(Reply::Cannot),
            _ => bail!("no answer to {words:?}, see what it printed: {answer:?}"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A path in a line of verbs.
pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the path is not UTF-8")
}
