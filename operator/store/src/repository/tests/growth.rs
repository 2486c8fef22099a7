//! What a push, a read and a cold open cost while references and log entries become many. Measures and compares nothing:
//! `cargo test --release -p store growth -- --ignored --nocapture`.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::RefName;

use super::{Server, id, many, push};
use crate::testing::MemoryStore;
use crate::{ObjectStore as _, Push, RefEdit, Repository};

fn name(number: u32) -> RefName {
    RefName::branch(&format!("feature/branch-{number:06}")).unwrap()
}

fn of(edits: Vec<RefEdit>) -> Push {
    Push { edits, ..push(&[]) }
}

async fn fill(repository: &Arc<Repository>, references: u32) {
    for from in (0..references).step_by(20_000) {
        repository.commit(many(from, references.min(from + 20_000), 1)).await.unwrap();
    }
}

/// Moves one reference after the other; the mean time of a push.
async fn pushes(repository: &Arc<Repository>, references: u32, count: u32) -> Duration {
    let started = Instant::now();
    for step in 0..count {
        let name = name(step.wrapping_mul(7_919) % references);
        let old = repository.known().refs.get(&name);
        let edit = RefEdit { name, old, new: Some(id(1_000_000 + step)), peeled: None };
        repository.commit(of(vec![edit])).await.unwrap();
    }
    started.elapsed() / count
}

async fn bytes(store: &MemoryStore) -> u64 {
    store.list("", None, usize::MAX).await.unwrap().iter().map(|object| object.size).sum()
}

fn requests(store: &MemoryStore) -> u64 {
    store.calls().values().sum()
}

fn mean(rounds: u32, mut work: impl FnMut()) -> Duration {
    let started = Instant::now();
    (0..rounds).for_each(|_| work());
    started.elapsed() / rounds
}

async fn cold_open(store: &MemoryStore) -> (Duration, u64) {
    let server = Server::new(store.clone());
    server.repositories.learn(vec!["team-a/hello".parse().unwrap()]).await;
    let (before, started) = (requests(store), Instant::now());
    server.open().await;
    (started.elapsed(), requests(store) - before)
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; run it by hand, in a release build"]
async fn growth_of_references() {
    say("references | push | bytes written per push | cold open | requests | one prefix | all | of one object");
    for references in [10, 1_000, 10_000, 50_000, 500_000] {
        let store = MemoryStore::default();
        let server = Server::new(store.clone());
        let repository = server.open().await;
        fill(&repository, references).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        let before = bytes(&store).await;
        let push = pushes(&repository, references, 20_000).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        let written = (bytes(&store).await - before) / 20_000;
        let (open, requests) = cold_open(&store).await;
        let refs = repository.known().refs.clone();
        let prefix = mean(1_000, || assert!(refs.range(b"refs/heads/feature/branch-00000").count() <= 10));
        let all = mean(3, || assert_eq!(refs.iter().count(), refs.len()));
        let of_one = [id(1_000_003)].into_iter().collect();
        let tips = mean(1_000, || refs.leading_to(&of_one, &mut |_| ()));
        say(&format!("{references} | {push:?} | {written} | {open:?} | {requests} | {prefix:?} | {all:?} | {tips:?}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; run it by hand, in a release build"]
async fn growth_of_the_log() {
    say("entries | push | cold open | requests");
    for entries in [10, 1_000, 100_000, 1_000_000] {
        let store = MemoryStore::default();
        let server = Server::new(store.clone());
        let repository = server.open().await;
        fill(&repository, 100).await;
        let push = pushes(&repository, 100, entries).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (open, requests) = cold_open(&store).await;
        say(&format!("{entries} | {push:?} | {open:?} | {requests}"));
    }
}
