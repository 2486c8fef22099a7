//! A server on a new `file:` store, a git user, manifests.

use anyhow::Result;
use tempfile::TempDir;
use tests::{Git, Manifests, Server, ServerOptions, fixture};

/// The repository that most stories happen in.
pub(crate) const REPOSITORY: &str = "team-a/hello";

/// Everything that a story needs; gone when dropped.
pub(crate) struct Bed {
    pub(crate) git: Git,
    pub(crate) manifests: Manifests,
    pub(crate) store: TempDir,
    pub(crate) server: Server,
}

impl Bed {
    pub(crate) fn new() -> Result<Self> {
        Self::with(&[])
    }

    pub(crate) fn with(arguments: &[&str]) -> Result<Self> {
        Self::of(Manifests::standard()?, arguments)
    }

    pub(crate) fn of(manifests: Manifests, arguments: &[&str]) -> Result<Self> {
        let (git, store) = (Git::new()?, TempDir::new()?);
        let server = Server::start(options(&manifests, &store).with(arguments))?;
        Ok(Self { git, manifests, store, server })
    }

    /// URL of the repository with alice's credential.
    pub(crate) fn url(&self) -> String {
        self.server.url("alice", REPOSITORY)
    }

    /// Options of one more server on the same store.
    pub(crate) fn options(&self) -> ServerOptions {
        options(&self.manifests, &self.store)
    }

    /// A work tree with some commits, pushed.
    pub(crate) fn started(&self) -> Result<std::path::PathBuf> {
        let source = fixture::linear(&self.git, "source.git", 12)?;
        self.git.ok(&source, &["push", "--quiet", "--mirror", &self.url()])?;
        self.git.clone(&self.url(), "work")
    }

    /// The refs that a new clone has are the ones that the server shows; the clone is sound.
    pub(crate) fn clone_is_sound(&self, name: &str) -> Result<()> {
        let home = self.git.path("");
        self.git.ok(&home, &["clone", "--quiet", "--mirror", &self.url(), name])?;
        let folder = self.git.path(name);
        assert_eq!(self.git.refs(&folder)?, self.git.remote_refs(&self.url())?);
        self.git.fsck(&folder)
    }
}

fn options(manifests: &Manifests, store: &TempDir) -> ServerOptions {
    ServerOptions::new(manifests.path(), format!("file:{}", store.path().display()))
}
