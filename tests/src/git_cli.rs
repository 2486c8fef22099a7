//! Stock git, isolated from the machine: a home of its own, no system configuration, no prompts.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::answer::Answer;

const CONFIG: &str = "[user]\n\tname = Test User\n\temail = test@example.com\n[init]\n\tdefaultBranch = main\n[gc]\n\tauto = 0\n\
    [maintenance]\n\tauto = false\n[advice]\n\tdetachedHead = false\n[core]\n\tfsync = none\n[push]\n\tautoSetupRemote = true\n";

/// What tells git, and these tests, which hash function names objects in new repositories.
const OBJECT_FORMAT: &str = "GIT_DEFAULT_HASH";

/// The hash function that names objects: whole suites are run with each.
#[must_use]
pub fn object_format() -> String {
    std::env::var(OBJECT_FORMAT).unwrap_or_else(|_| "sha1".to_owned())
}

/// The id that stands for no object.
#[must_use]
pub fn null_id() -> String {
    "0".repeat(if object_format() == "sha256" { 64 } else { 40 })
}

/// A git user with a home and a folder for clones.
#[derive(Debug)]
pub struct Git {
    home: TempDir,
}

impl Git {
    /// A user who has never done anything.
    pub fn new() -> Result<Self> {
        let home = TempDir::new().context("failed to make a home")?;
        std::fs::write(home.path().join(".gitconfig"), CONFIG)?;
        Ok(Self { home })
    }

    /// A path in the user's home.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// git in a folder, ready to be started.
    #[must_use]
    pub fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(folder).env_clear().stdin(Stdio::null());
        for name in ["PATH", "LD_LIBRARY_PATH", "TMPDIR", OBJECT_FORMAT] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("HOME", self.home.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .env("NO_PROXY", "*");
        command
    }

    /// Runs git to its end.
    pub fn run(&self, folder: &Path, arguments: &[&str]) -> Result<Answer> {
        let output = self.command(folder, arguments).output().context("failed to start git")?;
        Ok(Answer::new(format!("git {}", arguments.join(" ")), &output))
    }

    /// Runs git, which must succeed; gives its standard output.
    pub fn ok(&self, folder: &Path, arguments: &[&str]) -> Result<String> {
        self.run(folder, arguments)?.accepted()
    }

    /// A new repository with a work tree.
    pub fn init(&self, name: &str) -> Result<PathBuf> {
        self.ok(self.home.path(), &["init", "--quiet", name])?;
        Ok(self.path(name))
    }

    /// Clones to a folder of this name.
    pub fn clone(&self, url: &str, name: &str) -> Result<PathBuf> {
        self.ok(self.home.path(), &["clone", "--quiet", url, name])?;
        Ok(self.path(name))
    }

    /// Writes a file and commits it; gives the commit's id.
    pub fn commit(&self, folder: &Path, file: &str, content: &str) -> Result<String> {
        let path = folder.join(file);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, content)?;
        self.ok(folder, &["add", "--all"])?;
        self.ok(folder, &["commit", "--quiet", "--message", &format!("Change {file}")])?;
        self.head(folder)
    }

    /// The commit that is checked out.
    pub fn head(&self, folder: &Path) -> Result<String> {
        Ok(self.ok(folder, &["rev-parse", "HEAD"])?.trim().to_owned())
    }

    /// All refs of a repository on disk, one `<id> <name>` per line, sorted by name.
    pub fn refs(&self, folder: &Path) -> Result<String> {
        self.ok(folder, &["for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags"])
    }

    /// All refs that a server shows, in the same form, peeled lines left out.
    pub fn remote_refs(&self, url: &str) -> Result<String> {
        let text = self.ok(self.home.path(), &["ls-remote", "--heads", "--tags", "--refs", url])?;
        let mut lines: Vec<String> = text.lines().map(|line| line.replacen('\t', " ", 1)).collect();
        lines.sort_by(|a, b| a.split_once(' ').map(|pair| pair.1).cmp(&b.split_once(' ').map(|pair| pair.1)));
        Ok(lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect())
    }

    /// Full check of a repository on disk.
    pub fn fsck(&self, folder: &Path) -> Result<()> {
        let answer = self.run(folder, &["fsck", "--full", "--strict"])?;
        anyhow::ensure!(answer.ok, "git fsck found: {}{}", answer.stdout, answer.stderr);
        Ok(())
    }
}
