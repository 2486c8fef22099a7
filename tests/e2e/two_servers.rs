//! Many writers through two servers on one store: every acknowledged push is there, both show the same, nothing is broken.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use tests::s3::SeaweedFs;
use tests::{Git, Manifests, Server, ServerOptions, fixture};

use crate::bed::{Bed, REPOSITORY};

const PUSHERS: usize = 32;

/// Each pusher pushes to a branch of its own and to one that all share; gives the tips that must be there.
fn pushers(git: &Git, servers: &[&Server], rounds: usize, source: &Path) -> Result<Vec<(String, String)>> {
    let acknowledged = AtomicUsize::new(0);
    let tips = std::thread::scope(|scope| -> Result<Vec<(String, String)>> {
        let threads: Vec<_> = (0..PUSHERS)
            .map(|number| {
                let acknowledged = &acknowledged;
                scope.spawn(move || -> Result<(String, String)> {
                    let (branch, name) = (format!("refs/heads/pusher-{number}"), format!("pusher-{number}"));
                    let source = source.to_str().context("path")?;
                    git.ok(&git.path(""), &["clone", "--quiet", "--shared", source, &name])?;
                    let folder = git.path(&name);
                    let mut tip = git.head(&folder)?;
                    for round in 0..rounds {
                        let text = format!("pusher {number} round {round}\n");
                        let id = git.commit(&folder, &format!("file-{number}"), &text)?;
                        let url = servers[(number + round) % servers.len()].url("alice", REPOSITORY);
                        git.ok(&folder, &["push", "--quiet", &url, &format!("HEAD:{branch}")])?;
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                        tip = id;
                    }
                    Ok((tip, branch))
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a pusher panicked"))?).collect()
    })?;
    ensure!(acknowledged.load(Ordering::Relaxed) == PUSHERS * rounds, "some pushes were not acknowledged");
    Ok(tips)
}

fn all_is_there(git: &Git, servers: &[&Server], tips: &[(String, String)]) -> Result<()> {
    let shown = git.remote_refs(&servers[0].url("alice", REPOSITORY))?;
    for (id, branch) in tips {
        assert!(shown.contains(&format!("{id} {branch}\n")), "{branch} is not at {id}:\n{shown}");
    }
    for (number, server) in servers.iter().enumerate() {
        let url = server.url("alice", REPOSITORY);
        assert_eq!(git.remote_refs(&url)?, shown, "the servers differ");
        let name = format!("clone-{number}.git");
        git.ok(&git.path(""), &["clone", "--quiet", "--mirror", &url, &name])?;
        assert_eq!(git.refs(&git.path(&name))?, shown);
        git.fsck(&git.path(&name))?;
    }
    Ok(())
}

fn story(git: &Git, servers: &[&Server], rounds: usize) -> Result<()> {
    let source = fixture::linear(git, "source.git", 30)?;
    git.ok(&source, &["push", "--quiet", "--mirror", &servers[0].url("alice", REPOSITORY)])?;
    let tips = pushers(git, servers, rounds, &source)?;
    all_is_there(git, servers, &tips)
}

#[test]
fn thirty_two_pushers_through_two_servers_on_one_folder_lose_nothing() -> Result<()> {
    let bed = Bed::new()?;
    let second = Server::start(bed.options())?;
    story(&bed.git, &[&bed.server, &second], 3)
}

#[test]
#[ignore = "full tier: minutes on a slow bucket"]
fn thirty_two_pushers_through_two_servers_on_one_bucket_lose_nothing() -> Result<()> {
    let (git, manifests, s3) = (Git::new()?, Manifests::standard()?, SeaweedFs::start()?);
    let mut options = ServerOptions::new(manifests.path(), s3.bucket("pushers")?);
    options.environment = SeaweedFs::credentials();
    let (first, second) = (Server::start(options.clone())?, Server::start(options)?);
    story(&git, &[&first, &second], 2)
}

#[test]
fn a_push_through_one_server_is_fetched_through_the_other_at_once() -> Result<()> {
    let bed = Bed::new()?;
    let second = Server::start(bed.options())?;
    let work = bed.started()?;
    let other = bed.git.clone(&second.url("alice", REPOSITORY), "other")?;
    for round in 0..10 {
        let id = bed.git.commit(&work, "file", &format!("round {round}\n"))?;
        bed.git.ok(&work, &["push", "--quiet"])?;
        bed.git.ok(&other, &["pull", "--quiet"])?;
        assert_eq!(bed.git.head(&other)?, id);
    }
    Ok(())
}

#[test]
fn writers_who_race_for_one_branch_through_two_servers_keep_every_acknowledged_commit() -> Result<()> {
    let bed = Bed::new()?;
    let second = Server::start(bed.options())?;
    bed.started()?;
    let (git, urls) = (&bed.git, [bed.url(), second.url("alice", REPOSITORY)]);
    let kept = std::thread::scope(|scope| -> Result<Vec<String>> {
        let racers: Vec<_> = (0..6)
            .map(|number: usize| (number, &urls[number % 2]))
            .map(|(number, url)| scope.spawn(move || race(git, url, number)))
            .collect();
        let all: Result<Vec<Vec<String>>> =
            racers.into_iter().map(|racer| racer.join().map_err(|_| anyhow::anyhow!("a racer panicked"))?).collect();
        Ok(all?.concat())
    })?;
    assert!(kept.len() >= 12, "only {} pushes got through", kept.len());
    let clone = bed.git.clone(&bed.url(), "clone")?;
    let history = bed.git.ok(&clone, &["rev-list", "origin/main"])?;
    for id in kept {
        assert!(history.contains(&id), "{id} was acknowledged and is gone");
    }
    bed.clone_is_sound("whole")
}

/// Pushes to the branch that all share until four pushes were acknowledged; gives these commits.
fn race(git: &Git, url: &str, number: usize) -> Result<Vec<String>> {
    let folder = git.clone(url, &format!("racer-{number}"))?;
    let mut kept = Vec::new();
    for round in 0..40 {
        let id = git.commit(&folder, &format!("racer-{number}"), &format!("{round}\n"))?;
        if git.run(&folder, &["push", "--quiet"])?.ok {
            kept.push(id);
        } else {
            git.ok(&folder, &["fetch", "--quiet"])?;
            git.ok(&folder, &["reset", "--quiet", "--hard", "origin/main"])?;
        }
        if kept.len() == 4 {
            break;
        }
    }
    Ok(kept)
}
