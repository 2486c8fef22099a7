//! How many bytes of LFS objects a repository may have.

use anyhow::{Result, ensure};
use tests::manifests::PASSWORD;
use tests::raw_http::{basic, send};
use tests::{Manifests, Server};

use super::{Bed, REPOSITORY, install, random, stored, tracked};

fn bed(limit: &str) -> Result<Bed> {
    let manifests = Manifests::standard()?;
    manifests.write(
        "repository-team-a-hello.yaml",
        &format!(
            "apiVersion: codekeep.dev/v1alpha1\nkind: Repository\nmetadata: {{name: hello, namespace: team-a}}\n\
             spec: {{limits: {{lfsStorage: {limit}}}}}\n"
        ),
    )?;
    let bed = Bed::of(manifests, &[])?;
    install(&bed.git)?;
    Ok(bed)
}

#[test]
fn what_does_not_fit_is_refused_in_words_and_the_rest_is_taken() -> Result<()> {
    let bed = bed("1M")?;
    let work = tracked(&bed.git, &bed.url(), "work", &[("a.bin", &random(1, 600_000))])?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "main"])?;
    // The same object does not count twice.
    let other =
        tracked(&bed.git, &bed.url(), "other", &[("again.bin", &random(1, 600_000)), ("b.bin", &random(2, 300_000))])?;
    bed.git.ok(&other, &["push", "--quiet", "origin", "HEAD:refs/heads/other"])?;
    ensure!(stored(bed.store.path())?.len() == 2);

    std::fs::write(work.join("c.bin"), random(3, 200_000))?;
    bed.git.ok(&work, &["add", "--all"])?;
    bed.git.ok(&work, &["commit", "--quiet", "--message", "too much"])?;
    let refusal = bed.git.run(&work, &["push", "origin", "main"])?.refused()?;
    ensure!(refusal.contains("lfsStorage") && refusal.contains("900000 bytes"), "{refusal}");
    // Another server, which has taken nothing, knows as much, and so does one that has just started.
    let second = Server::start(bed.options())?;
    let refusal = bed.git.run(&work, &["lfs", "push", &second.url("alice", REPOSITORY), "main"])?.refused()?;
    ensure!(refusal.contains("lfsStorage"), "{refusal}");
    ensure!(stored(bed.store.path())?.len() == 2);

    // Of a batch that does not fit as a whole, what fits.
    let small =
        tracked(&bed.git, &bed.url(), "small", &[("d.bin", &random(4, 60_000)), ("e.bin", &random(5, 60_000))])?;
    let refusal = bed.git.run(&small, &["lfs", "push", "origin", "main"])?.refused()?;
    ensure!(refusal.contains("lfsStorage"), "{refusal}");
    ensure!(stored(bed.store.path())?.len() == 3, "{:?}", stored(bed.store.path())?);
    Ok(())
}

#[test]
fn an_upload_that_no_batch_let_in_is_refused_as_well() -> Result<()> {
    let bed = bed("1k")?;
    let authorization = basic("alice", PASSWORD);
    let target = format!("/{REPOSITORY}/info/lfs/objects/{}?size=1001", "0".repeat(64));
    let headers = [("Authorization", authorization.as_str())];
    let refused = send(bed.server.address(), "PUT", &target, &headers, &[7; 1_001])?;
    ensure!(refused.status == 507 && refused.text().contains("lfsStorage"), "{} {}", refused.status, refused.text());
    Ok(())
}
