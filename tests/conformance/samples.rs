//! The samples of the repository are what the server serves without a word of complaint.

use anyhow::{Context as _, Result};
use tests::binary::workspace;
use tests::{Git, Manifests, Server, ServerOptions};

#[test]
fn the_samples_serve_and_the_printed_line_clones_and_pushes() -> Result<()> {
    let (git, store) = (Git::new()?, tempfile::TempDir::new()?);
    let samples = workspace().join("config/samples");
    let server = Server::start(ServerOptions::new(&samples, format!("file:{}", store.path().display())))?;
    let log = server.log();
    assert!(!log.contains("ERROR") && only_tokens_warn(&log), "{log}");
    let line = log.lines().find(|line| line.trim().starts_with("git clone ")).context("no line to paste")?;
    let url = line.split_whitespace().nth(2).context("the line has no URL")?;
    let clone = git.clone(url, "clone")?;
    git.commit(&clone, "README", "hello\n")?;
    git.ok(&clone, &["push", "--quiet", "origin", "HEAD"])?;
    Ok(())
}

#[test]
fn the_manifests_of_the_design_are_valid_as_they_stand() -> Result<()> {
    let (manifests, store) = (Manifests::empty()?, tempfile::TempDir::new()?);
    manifests.write("design.yaml", include_str!("../golden/design_samples.yaml"))?;
    let server = Server::start(ServerOptions::new(manifests.path(), format!("file:{}", store.path().display())))?;
    let log = server.log();
    assert!(log.contains("team-a/hello") && !log.contains("ERROR") && only_tokens_warn(&log), "{log}");
    Ok(())
}

/// Tokens of service accounts need a cluster, and the server says so; nothing else may be worth a warning.
fn only_tokens_warn(log: &str) -> bool {
    let mut warnings = log.lines().filter(|line| line.contains("WARN"));
    warnings.all(|line| line.contains("never matches without a cluster"))
}

#[test]
fn a_broken_manifest_is_reported_with_file_line_and_field_and_the_good_ones_serve() -> Result<()> {
    let (git, manifests, store) = (Git::new()?, Manifests::standard()?, tempfile::TempDir::new()?);
    manifests.write(
        "broken.yaml",
        "apiVersion: codekeep.dev/v1alpha1\nkind: Repository\nmetadata: {name: broken, namespace: team-a}\nspec:\n  \
         repositoryName: 'a//b'\n---\nthis: [is not yaml\n",
    )?;
    let server = Server::start(ServerOptions::new(manifests.path(), format!("file:{}", store.path().display())))?;
    let log = server.log();
    assert!(log.contains("broken.yaml") && log.contains("repositoryName"), "{log}");
    git.ok(&git.path(""), &["ls-remote", &server.url("alice", "team-a/hello")])?;
    Ok(())
}
