//! Replication set up by flags and manifests, without a cluster: keys for each bucket, a start without one, promotion by the manifest.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tests::s3::SeaweedFs;
use tests::{Git, Manifests, Server, ServerOptions, wait};

use crate::bed::REPOSITORY;

const SOON: Duration = Duration::from_mins(2);

/// Two buckets, and a server whose Repositories are in both.
struct Two {
    near: SeaweedFs,
    _far: SeaweedFs,
    _keys: TempDir,
    git: Git,
    manifests: Manifests,
    server: Server,
}

impl Two {
    fn start(mode: &str) -> Result<Self> {
        let (near, far, keys, manifests) =
            (SeaweedFs::start()?, SeaweedFs::start()?, TempDir::new()?, Manifests::standard()?);
        for store in ["default", "far"] {
            let folder = keys.path().join(store);
            std::fs::create_dir(&folder)?;
            SeaweedFs::credentials()
                .into_iter()
                .try_for_each(|(name, value)| std::fs::write(folder.join(name), value))?;
        }
        let (store, keys_at) = (format!("far={}", far.bucket("far")?), keys.path().display().to_string());
        let replication = format!("default={mode}:far");
        let options = ServerOptions::new(manifests.path(), near.bucket("near")?).with(&[
            "--store",
            &store,
            "--store-credentials",
            &keys_at,
            "--store-replication",
            &replication,
        ]);
        let server = Server::start(options)?;
        Ok(Self { near, _far: far, _keys: keys, git: Git::new()?, manifests, server })
    }

    fn url(&self) -> String {
        self.server.url("alice", REPOSITORY)
    }

    /// Writes the Repository with the store `far` as its primary one.
    fn promote(&self, mode: &str, annotations: &str) -> Result<()> {
        let text = format!(
            "apiVersion: codekeep.dev/v1alpha1\nkind: Repository\n\
             metadata: {{name: hello, namespace: team-a, annotations: {{{annotations}}}}}\n\
             spec:\n  replication: {{mode: {mode}, stores: [far], primary: far}}\n"
        );
        self.manifests.write("repository-team-a-hello.yaml", &text)
    }

    /// Makes a clone and pushes twice.
    fn work(&self) -> Result<PathBuf> {
        let work = self.git.clone(&self.url(), "work")?;
        for file in ["one", "two"] {
            self.git.commit(&work, file, "before\n")?;
            self.git.ok(&work, &["push", "--quiet", "origin", "HEAD:main"])?;
        }
        Ok(work)
    }

    /// Pushes until it is taken.
    fn push_at_last(&self, work: &Path) -> Result<()> {
        wait::until("a push that is taken", SOON, || {
            let pushed = self.git.run(work, &["push", "--quiet", &self.url(), "HEAD:main"])?;
            Ok(pushed.ok.then_some(()))
        })?;
        let check = self.git.clone(&self.url(), "check")?;
        ensure!(self.git.head(&check)? == self.git.head(work)?, "the push is not there");
        self.git.fsck(&check)
    }
}

#[test]
fn a_server_starts_without_a_bucket_and_another_one_is_promoted_by_the_manifest() -> Result<()> {
    let mut two = Two::start("Synchronous")?;
    let work = two.work()?;
    two.near.kill()?;
    two.server = two.server.restarted()?;
    ensure!(two.server.log().contains("a store does not answer: it is tried again"), "{}", two.server.log());
    // Only the primary store knows whether the last entry of a replica was acknowledged.
    let clone = two.git.clone(&two.url(), "clone").with_context(|| two.server.log())?;
    ensure!(clone.join("one").exists(), "reads come from the replica");
    two.git.commit(&work, "after", "after\n")?;
    let refused = two.git.run(&work, &["push", "--quiet", &two.url(), "HEAD:main"])?;
    ensure!(!refused.ok, "nobody has said that the primary bucket is lost");
    two.promote("Synchronous", "")?;
    two.push_at_last(&work)?;
    ensure!(two.server.log().contains("promoted, as the manifest says"), "{}", two.server.log());
    Ok(())
}

#[test]
fn a_promotion_that_could_lose_pushes_waits_for_the_annotation() -> Result<()> {
    let mut two = Two::start("Asynchronous")?;
    let work = two.work()?;
    wait::until("a copy of everything", SOON, || {
        let behind = two.server.metric("codekeep_replication_behind", "far")?;
        Ok((behind == 0.0).then_some(()))
    })?;
    two.near.kill()?;
    two.git.commit(&work, "after", "after\n")?;
    two.promote("Asynchronous", "")?;
    wait::until("the refusal", SOON, || {
        Ok(two.server.log().contains("codekeep.dev/accept-loss: hello").then_some(()))
    })?;
    ensure!(!two.git.run(&work, &["push", "--quiet", &two.url(), "HEAD:main"])?.ok);
    two.promote("Asynchronous", "codekeep.dev/accept-loss: hello")?;
    two.push_at_last(&work)
}
