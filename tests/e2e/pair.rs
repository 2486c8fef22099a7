//! Servers on one bucket, each by a way of its own that can be disturbed; and what all of them must show in the end.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tests::fault_proxy::FaultProxy;
use tests::protocol::RawClient;
use tests::s3::{S3Kind, S3Server, store_url};
use tests::{Git, Manifests, Server, ServerOptions, binary, fixture, manifests};

use crate::bed::REPOSITORY;

const BUCKET: &str = "shared";

/// Servers with a proxy each, on one bucket.
pub(crate) struct Servers {
    pub(crate) git: Git,
    pub(crate) proxies: Vec<FaultProxy>,
    pub(crate) running: Vec<Server>,
    /// The commit that `main` is at in the beginning.
    pub(crate) tip: String,
    manifests: Manifests,
    s3: S3Server,
}

impl Servers {
    /// Starts so many, and pushes a small history.
    pub(crate) fn start(kind: S3Kind, count: usize) -> Result<Self> {
        let (git, manifests, s3) = (Git::new()?, Manifests::standard()?, S3Server::start(kind)?);
        s3.bucket(BUCKET)?;
        let proxies: Vec<FaultProxy> = (0..count).map(|_| FaultProxy::start(s3.address())).collect::<Result<_>>()?;
        let mut started = Self { git, proxies, running: Vec::new(), tip: String::new(), manifests, s3 };
        for number in 0..count {
            let server = Server::start(started.options(number))?;
            started.running.push(server);
        }
        let source = fixture::linear(&started.git, "source.git", 12)?;
        started.git.ok(&source, &["push", "--quiet", "--mirror", &started.url(0)])?;
        started.git.ok(&source, &["rev-parse", "main"])?.trim().clone_into(&mut started.tip);
        Ok(started)
    }

    fn options(&self, number: usize) -> ServerOptions {
        let mut options = ServerOptions::new(self.manifests.path(), store_url(BUCKET, self.proxies[number].address()));
        options.environment = S3Server::credentials();
        options
    }

    /// URL of the repository at a server.
    pub(crate) fn url(&self, number: usize) -> String {
        self.running[number].url("alice", REPOSITORY)
    }

    /// A client that speaks the protocol by hand, at a server.
    pub(crate) fn raw(&self, number: usize) -> RawClient {
        raw(&self.running[number])
    }

    /// Ways without faults from now on.
    pub(crate) fn calm(&self) {
        self.proxies.iter().for_each(|proxy| proxy.set([]));
    }

    /// All servers show the same, clones from each are sound, the bucket is sound, nothing panicked; gives what is shown.
    pub(crate) fn agree(&self) -> Result<Vec<(String, String)>> {
        self.calm();
        let shown = self.raw(0).ls_refs(&["refs/"])?;
        for (number, server) in self.running.iter().enumerate() {
            ensure!(self.raw(number).ls_refs(&["refs/"])? == shown, "server {number} shows other references");
            let name = format!("clone-{number}.git");
            self.git.ok(&self.git.path(""), &["clone", "--quiet", "--mirror", &self.url(number), &name])?;
            self.git.fsck(&self.git.path(&name))?;
            ensure!(!server.log().contains("panicked"), "{}", server.log());
        }
        let cache = self.git.path("fsck-cache");
        let mut fsck = Command::new(binary::codekeep()?);
        fsck.args(["fsck", "--store", &store_url(BUCKET, self.s3.address()), "--cache"]).arg(cache);
        let output = fsck.envs(S3Server::credentials()).output().context("failed to start codekeep fsck")?;
        ensure!(output.status.success(), "codekeep fsck: {}", String::from_utf8_lossy(&output.stdout));
        Ok(shown)
    }
}

/// A client that speaks the protocol by hand.
pub(crate) fn raw(server: &Server) -> RawClient {
    RawClient::new(server.address(), REPOSITORY, Some(("alice", manifests::PASSWORD)))
}

/// What a reference is at.
pub(crate) fn at<'a>(shown: &'a [(String, String)], name: &str) -> Option<&'a str> {
    shown.iter().find(|(_, found)| found == name).map(|(id, _)| id.as_str())
}
