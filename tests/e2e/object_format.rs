//! Repositories whose objects are named by SHA-256, and clients and manifests that take them for others. What else people do with them is
//! in the other stories, which `cargo xtask test` runs with SHA-256 as well.

use anyhow::{Result, ensure};
use tests::{Manifests, Server, raw_http};

use crate::bed::{Bed, REPOSITORY};

fn repository(manifests: &Manifests, spec: &str) -> Result<()> {
    let head = "apiVersion: codekeep.dev/v1alpha1\nkind: Repository\nmetadata: {name: hello, namespace: team-a}\n";
    manifests.write("repository-team-a-hello.yaml", &format!("{head}spec: {{{spec}}}\n"))
}

/// A repository of SHA-256 with one commit, and the clone that it came from.
fn started() -> Result<(Bed, std::path::PathBuf)> {
    let manifests = Manifests::standard()?;
    repository(&manifests, "objectFormat: sha256")?;
    let bed = Bed::of(manifests, &[])?;
    // A clone of an empty repository takes over the format from git 2.41 on only.
    let work = bed.git.path("work");
    bed.git.ok(&bed.git.path(""), &["init", "--quiet", "--object-format=sha256", "work"])?;
    bed.git.commit(&work, "file", "one\n")?;
    bed.git.ok(&work, &["push", "--quiet", &bed.url(), "HEAD:refs/heads/main"])?;
    Ok((bed, work))
}

#[test]
fn clients_of_sha256_work_and_others_are_refused_and_told_why() -> Result<()> {
    let (bed, work) = started()?;
    let tip = bed.git.head(&work)?;
    ensure!(tip.len() == 64 && bed.git.remote_refs(&bed.url())?.contains(&format!("{tip} refs/heads/main")), "{tip}");
    bed.clone_is_sound("sound.git")?;
    let other = bed.git.path("sha1");
    bed.git.ok(&bed.git.path(""), &["init", "--quiet", "--object-format=sha1", "sha1"])?;
    bed.git.commit(&other, "file", "two\n")?;
    for arguments in [vec!["fetch", &*bed.url()], vec!["push", &*bed.url(), "HEAD:refs/heads/other"]] {
        ensure!(!bed.git.run(&other, &arguments)?.ok, "git {arguments:?} in a repository of SHA-1");
    }
    let (address, authorization) = (bed.server.address(), raw_http::basic("alice", tests::manifests::PASSWORD));
    let body = [tests::protocol::line("command=ls-refs\n"), tests::protocol::FLUSH.to_vec()].concat();
    let headers = [
        ("Authorization", &*authorization),
        ("Content-Type", "application/x-git-upload-pack-request"),
        ("Git-Protocol", "version=2"),
    ];
    let answer = raw_http::send(address, "POST", "/team-a/hello/git-upload-pack", &headers, &body)?;
    let said = String::from_utf8_lossy(&answer.body).into_owned();
    ensure!(said.contains("ERR upload-pack: this repository has object-format sha256, not sha1"), "{said}");
    ensure!(bed.git.remote_refs(&bed.url())?.lines().count() == 1, "nothing came of it");
    Ok(())
}

#[test]
fn a_manifest_that_says_another_format_is_refused_and_nothing_is_lost() -> Result<()> {
    let (mut bed, work) = started()?;
    ensure!(bed.server.terminate(std::time::Duration::from_secs(20))?, "the server did not end");
    // The manifest was lost, and written again from memory.
    for (spec, good) in [("defaultBranch: main", false), ("objectFormat: sha256", true)] {
        repository(&bed.manifests, spec)?;
        let server = Server::start(bed.options())?;
        let url = server.url("alice", REPOSITORY);
        let listed = bed.git.run(&work, &["ls-remote", &url])?;
        ensure!(listed.ok == good, "{spec}: {}", listed.stderr);
        bed.git.commit(&work, "file", spec)?;
        let pushed = bed.git.run(&work, &["push", &url, "HEAD:refs/heads/main"])?;
        ensure!(pushed.ok == good, "{spec}: {}", pushed.stderr);
        if !good {
            let words = "the repository holds objects of sha256, and spec.objectFormat says sha1; write sha256 there";
            ensure!(listed.stderr.contains(words) || server.log().contains(words), "{}", listed.stderr);
        }
    }
    Ok(())
}
