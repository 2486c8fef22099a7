//! A real bucket: pushes and clones, and buckets that are away, read-only, missing or not what they seem.

use std::time::Duration;

use anyhow::Result;
use tests::s3::SeaweedFs;
use tests::{Git, Manifests, Server, ServerOptions, fixture};

use crate::bed::REPOSITORY;

fn options(manifests: &Manifests, url: String) -> ServerOptions {
    let mut options = ServerOptions::new(manifests.path(), url);
    options.environment = SeaweedFs::credentials();
    options
}

#[test]
fn a_bucket_alone_brings_everything_back_and_answers_in_words_when_it_is_away() -> Result<()> {
    let (git, manifests, mut s3) = (Git::new()?, Manifests::standard()?, SeaweedFs::start()?);
    let server = Server::start(options(&manifests, s3.bucket("stories")?))?;
    let source = fixture::linear(&git, "source.git", 60)?;
    git.ok(&source, &["push", "--quiet", "--mirror", &server.url("alice", REPOSITORY)])?;
    let server = server.restarted()?;
    let url = server.url("alice", REPOSITORY);
    git.ok(&git.path(""), &["clone", "--quiet", "--mirror", &url, "clone.git"])?;
    assert_eq!(git.refs(&git.path("clone.git"))?, git.refs(&source)?);
    git.fsck(&git.path("clone.git"))?;

    s3.kill()?;
    let refusal = git.run(&git.path(""), &["ls-remote", &url])?.refused()?;
    assert!(refusal.contains("the storage of this server is not available"), "{refusal}");
    let work = git.clone(source.to_str().unwrap_or_default(), "work")?;
    git.commit(&work, "file", "text\n")?;
    git.run(&work, &["push", &url, "HEAD:main"])?.refused()?;
    assert!(!server.log().contains("panicked"), "{}", server.log());
    Ok(())
}

#[test]
fn a_server_refuses_to_start_on_a_bucket_that_is_away_missing_or_read_only() -> Result<()> {
    let (manifests, s3) = (Manifests::standard()?, SeaweedFs::start()?);
    let bucket = s3.bucket("refused")?;

    let mut read_only = options(&manifests, bucket.clone());
    read_only.environment = SeaweedFs::read_only_credentials();
    let log = Server::start_in_vain(read_only, Duration::from_secs(100))?;
    assert!(log.contains("refused to serve") && log.contains("refused"), "{log}");

    let mut stranger = options(&manifests, bucket);
    stranger.environment[1].1 = "a-wrong-secret".to_owned();
    let log = Server::start_in_vain(stranger, Duration::from_secs(100))?;
    assert!(log.contains("SignatureDoesNotMatch") || log.contains("credential") || log.contains("403"), "{log}");

    let nobody = tests::server::free_address()?;
    let away = format!("s3://away?region=us-east-1&endpoint=http://{nobody}&path-style=true");
    let log = Server::start_in_vain(options(&manifests, away), Duration::from_secs(150))?;
    assert!(log.contains("away"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    Ok(())
}
