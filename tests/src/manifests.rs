//! A folder of manifests for a server under test.
//!
//! Namespace `team-a`: `alice` may do everything but push to `refs/heads/release/*`, `bob` may read, `carol` nothing.
//! Namespace `team-b`: `dave`, who has nothing to do with `team-a`.

use std::path::Path;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::git_cli::object_format;

/// The password of every user of [`Manifests::standard`].
pub const PASSWORD: &str = "a-long-random-one";

/// The key of repositories that are encrypted.
const KEY: &str = "q83vEjRWeJq83vASNFZ4mrze8BI0VniavN7wEjRWeJo=";

const POLICIES: &str = r#"apiVersion: codekeep.dev/v1alpha1
kind: AccessPolicy
metadata: {name: developers, namespace: team-a}
spec:
  subjects:
    - {kind: LocalUser, name: alice}
  statements:
    - sid: work
      effect: Allow
      actions: ["codecommit:GitPull", "codecommit:GitPush"]
      repositories: {names: ["*"]}
    - sid: releases-are-closed
      effect: Deny
      actions: ["codecommit:GitPush"]
      repositories: {names: ["*"]}
      conditions: {references: ["refs/heads/release/*"]}
---
apiVersion: codekeep.dev/v1alpha1
kind: AccessPolicy
metadata: {name: readers, namespace: team-a}
spec:
  subjects:
    - {kind: LocalUser, name: bob}
  statements:
    - sid: read
      effect: Allow
      actions: ["codecommit:GitPull"]
      repositories: {names: ["*"]}
---
apiVersion: codekeep.dev/v1alpha1
kind: AccessPolicy
metadata: {name: others, namespace: team-b}
spec:
  subjects:
    - {kind: LocalUser, name: dave}
  statements:
    - sid: work
      effect: Allow
      actions: ["codecommit:GitPull", "codecommit:GitPush"]
      repositories: {names: ["*"]}
"#;

/// A folder of manifests, gone when dropped.
#[derive(Debug)]
pub struct Manifests {
    folder: TempDir,
}

impl Manifests {
    /// A folder without manifests.
    pub fn empty() -> Result<Self> {
        Ok(Self { folder: TempDir::new().context("failed to make a folder for manifests")? })
    }

    /// Repositories `team-a/hello`, `team-a/other`, `team-a/nested/name` and `team-b/theirs` with users and policies.
    pub fn standard() -> Result<Self> {
        let manifests = Self::empty()?;
        for (namespace, name) in [("team-a", "hello"), ("team-a", "other"), ("team-b", "theirs")] {
            manifests.repository(namespace, name)?;
        }
        let nested = format!(
            "apiVersion: codekeep.dev/v1alpha1\nkind: Repository\nmetadata: {{name: nested-name, namespace: team-a}}\n\
             spec:\n  repositoryName: nested/name\n  objectFormat: {}\n",
            object_format()
        );
        manifests.write("nested.yaml", &nested)?;
        manifests.write("policies.yaml", POLICIES)?;
        for (namespace, user) in [("team-a", "alice"), ("team-a", "bob"), ("team-a", "carol"), ("team-b", "dave")] {
            manifests.user(namespace, user)?;
        }
        Ok(manifests)
    }

    /// Adds a repository whose default branch is `main`.
    pub fn repository(&self, namespace: &str, name: &str) -> Result<()> {
        let text = format!(
            "apiVersion: codekeep.dev/v1alpha1\nkind: Repository\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
             spec:\n  description: A repository of the tests\n  defaultBranch: main\n  objectFormat: {}\n",
            object_format()
        );
        self.write(&format!("repository-{namespace}-{name}.yaml"), &text)
    }

    /// Adds a repository that is encrypted with a key in a Secret of its own.
    pub fn encrypted_repository(&self, namespace: &str, name: &str) -> Result<()> {
        let text = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}-keys, namespace: {namespace}}}\n\
             stringData: {{\"1\": \"{KEY}\"}}\n---\n\
             apiVersion: codekeep.dev/v1alpha1\nkind: Repository\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
             spec:\n  objectFormat: {}\n  encryption: {{envelope: {{secretKeyRef: {{name: {name}-keys, key: \"1\"}}}}}}\n",
            object_format()
        );
        self.write(&format!("repository-{namespace}-{name}.yaml"), &text)
    }

    /// Adds a credential with [`PASSWORD`].
    pub fn user(&self, namespace: &str, user: &str) -> Result<()> {
        let text = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {user}-git, namespace: {namespace}}}\n\
             type: codekeep.dev/git-credential\nstringData: {{user: {user}, password: {PASSWORD}}}\n"
        );
        self.write(&format!("user-{namespace}-{user}.yaml"), &text)
    }

    /// Adds an SSH public key of a user.
    pub fn ssh_key(&self, namespace: &str, user: &str, name: &str, public_key: &str) -> Result<()> {
        let text = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: {namespace}}}\ntype: codekeep.dev/ssh-key\n\
             stringData:\n  user: {user}\n  publicKey: {public_key}\n"
        );
        self.write(&format!("ssh-key-{namespace}-{name}.yaml"), &text)
    }

    /// Writes a manifest file, whole: a reader sees the old one or the new one.
    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        let temporary = self.folder.path().join(format!(".{file}.new"));
        std::fs::write(&temporary, text)?;
        std::fs::rename(temporary, self.folder.path().join(file)).context("failed to write a manifest")
    }

    /// The text of the standard policies, to write changed ones.
    #[must_use]
    pub fn policies() -> &'static str {
        POLICIES
    }

    /// Removes a manifest file.
    pub fn remove(&self, file: &str) -> Result<()> {
        std::fs::remove_file(self.folder.path().join(file)).context("failed to remove a manifest")
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}
