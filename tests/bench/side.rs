//! A server that is measured, whoever made it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tests::cpu::Meter;
use tests::manifests::PASSWORD;
use tests::protocol::RawClient;
use tests::session::Session;
use tests::{Server, process};

use crate::jgit::JGit;
use crate::peer::Peer;

/// One side of a comparison.
pub(crate) struct Side<'a> {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    user: Option<(&'static str, &'static str)>,
    folder: &'static str,
    meter: &'a Meter,
}

impl<'a> Side<'a> {
    pub(crate) fn codekeep(server: &Server, meter: &'a Meter) -> Self {
        let user = Some(("alice", PASSWORD));
        Self { name: "Codekeep", address: server.address(), user, folder: "team-a/", meter }
    }

    pub(crate) fn jgit(jgit: &'a JGit) -> Self {
        Self { name: "JGit", address: jgit.address, user: None, folder: "", meter: jgit.meter() }
    }

    pub(crate) fn http_backend(peer: &'a Peer) -> Self {
        Self { name: "http-backend", address: peer.address, user: None, folder: "", meter: peer.meter() }
    }

    /// A client of it.
    pub(crate) fn session(&self) -> Session {
        Session::new(self.address, self.user)
    }

    /// A client that drops what it reads.
    pub(crate) fn raw(&self, name: &str) -> RawClient {
        RawClient::new(self.address, &self.repository(name), self.user)
    }

    /// The path of a repository.
    pub(crate) fn repository(&self, name: &str) -> String {
        format!("{}{name}", self.folder)
    }

    /// URL of a repository for stock git.
    pub(crate) fn url(&self, name: &str) -> String {
        let user = self.user.map(|(name, password)| format!("{name}:{password}@")).unwrap_or_default();
        format!("http://{user}{}/{}", self.address, self.repository(name))
    }

    /// CPU time of its processes so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        self.meter.time()
    }
}

/// CPU time of this process, the clients, so far.
pub(crate) fn client_cpu() -> Result<Duration> {
    process::cpu_time(std::process::id())
}
