//! kill -9 at random points of pushes, the cache wiped each time: nothing acknowledged is lost, nothing is half there; and while
//! one of two servers is dead the other one takes pushes.

mod under_load;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tests::random::Sequence;
use tests::s3::S3Kind;
use tests::{Git, Manifests, Server, ServerOptions};

use crate::bed::REPOSITORY;

/// What the branches must be at: acknowledged tips, and for a push that was cut off either side of it.
#[derive(Default)]
struct Ledger {
    acknowledged: BTreeMap<String, String>,
    in_doubt: BTreeMap<String, String>,
}

impl Ledger {
    fn check(&mut self, shown: &str, note: &str) {
        let shown: BTreeMap<&str, &str> =
            shown.lines().filter_map(|line| line.split_once(' ')).map(|(id, name)| (name, id)).collect();
        for (branch, id) in &self.acknowledged {
            let found = shown.get(branch.as_str()).copied();
            let doubt = self.in_doubt.get(branch).map(String::as_str);
            assert!(
                found == Some(id) || (found.is_some() && found == doubt),
                "{note}: {branch} is {found:?}, not {id}"
            );
        }
        for (branch, id) in &self.in_doubt {
            if shown.get(branch.as_str()) == Some(&id.as_str()) {
                self.acknowledged.insert(branch.clone(), id.clone());
            }
        }
        self.in_doubt.clear();
        assert_eq!(shown.len(), self.acknowledged.len(), "{note}: branches that nobody pushed");
    }
}

fn rounds(rounds: usize, options: &ServerOptions, git: &Git, cloned_every: usize) -> Result<()> {
    let (mut random, seed) = Sequence::fresh();
    let folder = git.init("work")?;
    let mut ledger = Ledger::default();
    for round in 0..rounds {
        let note = format!("seed {seed}, round {round}");
        // No cache folder is named: each server begins with an empty one.
        let mut server = Server::start(options.clone())?;
        let url = server.url("alice", REPOSITORY);
        ledger.check(&git.remote_refs(&url)?, &note);
        let branch = format!("refs/heads/branch-{}", random.below(5));
        for push in 0..=random.below(2) {
            let size = if random.below(4) == 0 { 600_000 } else { 2_000 };
            let text: String = random.bytes(size).iter().map(|byte| char::from(b'a' + byte % 26)).collect();
            let id = git.commit(&folder, &format!("file-{}", random.below(6)), &text)?;
            git.ok(&folder, &["push", "--quiet", "--force", &url, &format!("HEAD:{branch}")])
                .with_context(|| format!("{note}, push {push}: {}", server.log()))?;
            ledger.acknowledged.insert(branch.clone(), id);
        }
        let text: String = random.bytes(300_000).iter().map(|byte| char::from(b'a' + byte % 26)).collect();
        let id = git.commit(&folder, "file-last", &text)?;
        let mut command = git.command(&folder, &["push", "--quiet", "--force", &url, &format!("HEAD:{branch}")]);
        let mut push = command.stderr(Stdio::null()).spawn()?;
        std::thread::sleep(Duration::from_micros(random.word() % 120_000));
        server.kill()?;
        if push.wait()?.success() {
            ledger.acknowledged.insert(branch.clone(), id);
        } else {
            ledger.in_doubt.insert(branch.clone(), id);
        }
        if round % cloned_every == cloned_every - 1 {
            let server = Server::start(options.clone())?;
            let (url, name) = (server.url("alice", REPOSITORY), format!("clone-{round}"));
            ledger.check(&git.remote_refs(&url)?, &note);
            git.ok(&git.path(""), &["clone", "--quiet", "--mirror", &url, &name]).with_context(|| note.clone())?;
            git.fsck(&git.path(&name)).with_context(|| note.clone())?;
        }
    }
    Ok(())
}

#[test]
fn six_kills_in_the_middle_of_pushes_lose_nothing() -> Result<()> {
    let (git, manifests, store) = (Git::new()?, Manifests::standard()?, tempfile::TempDir::new()?);
    rounds(6, &ServerOptions::new(manifests.path(), format!("file:{}", store.path().display())), &git, 3)
}

#[test]
#[ignore = "full tier: minutes"]
fn sixty_kills_in_the_middle_of_pushes_lose_nothing() -> Result<()> {
    let (git, manifests, store) = (Git::new()?, Manifests::standard()?, tempfile::TempDir::new()?);
    rounds(60, &ServerOptions::new(manifests.path(), format!("file:{}", store.path().display())), &git, 10)
}

#[test]
#[ignore = "peers tier: minutes, needs MinIO"]
fn fifty_kills_of_one_of_two_servers_under_load_lose_nothing_on_minio() -> Result<()> {
    under_load::kills(S3Kind::MinIo, 50)
}

#[test]
#[ignore = "full tier: minutes on a bucket where losers wait"]
fn ten_kills_of_one_of_two_servers_under_load_lose_nothing_on_seaweedfs() -> Result<()> {
    under_load::kills(S3Kind::SeaweedFs, 10)
}
