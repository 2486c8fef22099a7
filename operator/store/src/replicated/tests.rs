//! Servers of one repository in three stores, which fail one after the other.

mod promotion;
mod seeds;
mod verify;

use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use model::RefName;
use model::clock::SystemClock;
use model::encryption::{Encryption, Envelope};
use model::replication::ReplicationMode;

use super::*;
use crate::repository::tests::{Server, push, with_pack};
use crate::testing::MemoryStore;
use crate::{CommitError, KeySources, Manifests, Policy, Push, RefEdit, Repository, keys};

/// A store that can be cut off.
#[derive(Clone, Default)]
pub(super) struct Site {
    pub(super) objects: MemoryStore,
    away: Arc<AtomicBool>,
    /// Takes nothing new, but answers.
    full: Arc<AtomicBool>,
}

impl Site {
    pub(super) fn cut_off(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    pub(super) fn fill(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    fn reach(&self) -> Result<&MemoryStore, StoreError> {
        let away = || StoreError::Unavailable { operation: "test", key: String::new(), reason: "cut off".to_owned() };
        if self.away.load(Ordering::SeqCst) { Err(away()) } else { Ok(&self.objects) }
    }

    fn write(&self) -> Result<&MemoryStore, StoreError> {
        let full = || StoreError::Full { operation: "test", key: String::new() };
        if self.full.load(Ordering::SeqCst) { Err(full()) } else { self.reach() }
    }

    /// The entries of a log, in order, and nothing else that is there.
    pub(super) async fn log(&self, id: &RepositoryId, epoch: u64) -> Vec<Bytes> {
        let mut found = vec![];
        while let Some(body) = self.objects.get(&keys::log_entry_of(id, epoch, found.len() as u64 + 1)).await.unwrap() {
            found.push(body);
        }
        found
    }
}

#[async_trait]
impl ObjectStore for Site {
    async fn create(&self, key: &str, body: Bytes) -> Result<Create, StoreError> {
        self.write()?.create(key, body).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        self.write()?.put(key, body).await
    }

    async fn upload(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        self.write()?.upload(key, file).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.reach()?.get(key).await
    }

    async fn download(&self, key: &str, file: &Path, size: u64) -> Result<bool, StoreError> {
        self.reach()?.download(key, file, size).await
    }

    async fn download_range(&self, key: &str, file: &Path, range: Range<u64>, size: u64) -> Result<bool, StoreError> {
        self.reach()?.download_range(key, file, range, size).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.reach()?.delete(key).await
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        self.reach()?.list(prefix, start_after, limit).await
    }
}

/// What the manifest of the repository says.
struct Says {
    replication: Option<Replication>,
    envelope: Option<Envelope>,
}

impl Says {
    fn replicated(replication: Replication) -> Self {
        Self { replication: Some(replication), envelope: None }
    }
}

impl Manifests for Says {
    fn encryption(&self, _: &RepositoryPath) -> Option<Encryption> {
        Some(Encryption { kms_key_id: None, envelope: self.envelope.clone().map(Arc::new) })
    }

    fn replication(&self, _: &RepositoryPath) -> Option<Arc<Replication>> {
        self.replication.clone().map(Arc::new)
    }
}

/// Three stores, of which some hold the repository.
pub(super) struct Bed {
    pub(super) sites: BTreeMap<&'static str, Site>,
    wanted: Replication,
    envelope: Option<Envelope>,
}

impl Bed {
    pub(super) fn new(mode: ReplicationMode, replicas: &[&str], quorum: Option<u32>) -> Self {
        let stores = replicas.iter().map(|name| (*name).to_owned()).collect();
        let sites = ["default", "far", "third"].map(|name| (name, Site::default()));
        let wanted = Replication { mode, stores, quorum, primary: None };
        Self { sites: sites.into(), wanted, envelope: None }
    }

    pub(super) fn encrypted(self, envelope: Option<Envelope>) -> Self {
        Self { envelope, ..self }
    }

    pub(super) fn server(&self) -> Server {
        self.server_with(Policy::default())
    }

    pub(super) fn server_with(&self, policy: Policy) -> Server {
        let peers =
            self.sites.iter().map(|(name, site)| ((*name).to_owned(), Arc::new(site.clone()) as Arc<dyn ObjectStore>));
        let says = Says { envelope: self.envelope.clone(), ..Says::replicated(self.wanted.clone()) };
        let keys = KeySources { manifests: Arc::new(says), ..KeySources::default() };
        Server::among(&Arc::new(peers.collect()), Arc::new(SystemClock::new()), policy, keys)
    }

    /// A server that knows of this store only.
    pub(super) fn alone(&self, name: &str) -> Server {
        let says = Says { replication: None, envelope: self.envelope.clone() };
        let keys = KeySources { manifests: Arc::new(says), ..KeySources::default() };
        Server::with_keys(self.site(name).objects.clone(), keys)
    }

    pub(super) fn site(&self, name: &str) -> &Site {
        &self.sites[name]
    }
}

pub(super) fn path() -> RepositoryPath {
    "team-a/hello".parse().unwrap()
}

/// What moves a branch on, with a pack of this size.
pub(super) fn next(repository: &Arc<Repository>, number: u32, bytes: usize) -> Push {
    let name = format!("branch-{number}");
    let mut push = with_pack(push(&[(&name, None, Some(number))]), &vec![u8::try_from(number % 251).unwrap(); bytes]);
    let RefEdit { name, old, .. } = &mut push.edits[0];
    *old = repository.known().refs.get(name);
    push
}

pub(super) async fn pushed(server: &Server, number: u32, bytes: usize) -> Result<u64, CommitError> {
    let repository = server.open().await;
    let push = next(&repository, number, bytes);
    Ok(repository.commit(push).await?.generation)
}

pub(super) fn has(repository: &Arc<Repository>, number: u32) -> bool {
    repository.known().refs.get(&RefName::branch(&format!("branch-{number}")).unwrap()).is_some()
}

/// Waits until all replicas have everything.
pub(super) async fn in_step(repository: &Arc<Repository>) -> ReplicationStatus {
    for _ in 0..400 {
        let status = repository.replication().unwrap();
        if status.members.iter().all(|member| member.behind_entries == 0 && member.behind.is_zero()) {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("replicas stay behind: {:?}", repository.replication());
}

#[tokio::test]
async fn a_copy_made_later_is_a_store_that_can_be_served() {
    let bed = Bed::new(ReplicationMode::Asynchronous, &["far", "third"], None);
    let server = bed.server();
    for number in 1..20 {
        pushed(&server, number, if number == 7 { 300 << 10 } else { 50 }).await.unwrap();
    }
    let repository = server.open().await;
    let status = in_step(&repository).await;
    assert_eq!((status.primary.as_str(), status.epoch, status.members.len()), ("default", 0, 2));
    for name in ["far", "third"] {
        let other = Server::new(bed.site(name).objects.clone());
        let copy = other.open().await;
        assert_eq!(copy.snapshot().await.unwrap().digest, repository.known().digest, "{name}");
        copy.local_packs(&copy.known()).await.unwrap();
    }
}

#[tokio::test]
async fn a_replica_that_is_away_holds_up_nothing_but_what_has_to_be_there() {
    let bed = Bed::new(ReplicationMode::Asynchronous, &["far"], None);
    let server = bed.server();
    pushed(&server, 1, 50).await.unwrap();
    in_step(&server.open().await).await;
    bed.site("far").cut_off(true);
    pushed(&server, 2, 50).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let status = server.open().await.replication().unwrap();
    let far = &status.members[0];
    assert!(far.behind_entries == 1 && far.behind > Duration::ZERO, "{far:?}");
    assert!(
        matches!(&far.problem, Some(ReplicationProblem::Unavailable(reason)) if reason.contains("cut off")),
        "{far:?}"
    );
    bed.site("far").cut_off(false);
    let status = in_step(&server.open().await).await;
    assert_eq!(status.members[0].problem, None);
}

#[tokio::test]
async fn what_is_acknowledged_is_in_both_stores() {
    let bed = Bed::new(ReplicationMode::Synchronous, &["far"], None);
    let server = bed.server();
    for number in 1..12 {
        let generation = pushed(&server, number, if number == 5 { 300 << 10 } else { 50 }).await.unwrap();
        let id = server.open().await.id().clone();
        let (here, there) = (bed.site("default").log(&id, 0).await, bed.site("far").log(&id, 0).await);
        assert_eq!(here.len() as u64, generation);
        assert!(here == there, "entry {generation} is not in both");
    }
    let alone = Server::new(bed.site("far").objects.clone());
    let copy = alone.open().await;
    assert_eq!(copy.snapshot().await.unwrap().generation, 11);
    copy.local_packs(&copy.known()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_acknowledged_that_only_the_primary_store_has() {
    let bed = Bed::new(ReplicationMode::Synchronous, &["far"], None);
    let server = bed.server();
    pushed(&server, 1, 50).await.unwrap();
    bed.site("far").fill(true);
    let error = pushed(&server, 2, 50).await.unwrap_err();
    assert!(matches!(error, CommitError::Unknown(_)), "{error}");
    let error = pushed(&server, 3, 50).await.unwrap_err();
    assert!(error.to_string().contains("0 of the 1 replicas"), "{error}");
    bed.site("far").fill(false);
    pushed(&server, 4, 50).await.unwrap();
    let repository = server.open().await;
    // The one that was in doubt turned out to be there.
    assert!(has(&repository, 1) && has(&repository, 2) && !has(&repository, 3) && has(&repository, 4));
    let id = repository.id().clone();
    assert!(bed.site("default").log(&id, 0).await == bed.site("far").log(&id, 0).await);
}

#[tokio::test(start_paused = true)]
async fn a_quorum_goes_on_without_the_store_that_is_away() {
    let bed = Bed::new(ReplicationMode::Synchronous, &["far", "third"], Some(2));
    let server = bed.server();
    pushed(&server, 1, 50).await.unwrap();
    bed.site("far").cut_off(true);
    for number in 2..8 {
        pushed(&server, number, if number == 4 { 300 << 10 } else { 50 }).await.unwrap();
    }
    bed.site("far").cut_off(false);
    let repository = server.open().await;
    in_step(&repository).await;
    let id = repository.id().clone();
    assert!(bed.site("default").log(&id, 0).await == bed.site("far").log(&id, 0).await);
    let alone = Server::new(bed.site("far").objects.clone());
    let copy = alone.open().await;
    copy.snapshot().await.unwrap();
    copy.local_packs(&copy.known()).await.unwrap();
}

#[tokio::test]
async fn two_servers_that_push_at_the_same_time_leave_the_same_log_everywhere() {
    let bed = Bed::new(ReplicationMode::Synchronous, &["far", "third"], None);
    let servers = [bed.server(), bed.server(), bed.server()];
    servers[0].open().await;
    let work = servers.iter().zip(0..).map(async |(server, lane): (_, u32)| {
        for number in 0..25 {
            pushed(server, 1 + lane * 100 + number, 20).await.unwrap();
        }
    });
    join_all(work).await;
    let repository = servers[0].open().await;
    repository.snapshot().await.unwrap();
    for (lane, number) in (0..3).flat_map(|lane| (0..25).map(move |number| (lane, number))) {
        assert!(has(&repository, 1 + lane * 100 + number));
    }
    let id = repository.id().clone();
    let here = bed.site("default").log(&id, 0).await;
    assert_eq!(here.len() as u64, repository.known().generation);
    for name in ["far", "third"] {
        assert!(here == bed.site(name).log(&id, 0).await, "{name}");
    }
}

#[tokio::test]
async fn reads_go_on_while_the_primary_store_is_away() {
    for mode in [ReplicationMode::Asynchronous, ReplicationMode::Synchronous] {
        let bed = Bed::new(mode, &["far"], None);
        let server = bed.server();
        for number in 1..6 {
            pushed(&server, number, if number == 3 { 300 << 10 } else { 50 }).await.unwrap();
        }
        in_step(&server.open().await).await;
        bed.site("default").cut_off(true);
        let known = server.open().await.snapshot().await.unwrap();
        assert_eq!(known.generation, 5, "{mode}: a server that runs");
        let cold = bed.server();
        let repository = cold.open().await;
        let known = repository.snapshot().await.unwrap();
        // Of what is written at once, the last may be there in vain.
        assert!(known.generation >= 4, "{mode}: {}", known.generation);
        repository.local_packs(&known).await.unwrap();
        let refused = pushed(&cold, 9, 50).await.unwrap_err();
        assert_eq!(refused.kind(), model::error::Kind::Unavailable, "{mode}");
        bed.site("default").cut_off(false);
        tokio::time::sleep(AWAY).await;
        assert_eq!(repository.snapshot().await.unwrap().generation, 5);
        pushed(&cold, 9, 50).await.unwrap();
    }
}

#[tokio::test]
async fn what_holds_something_else_is_not_touched() {
    let bed = Bed::new(ReplicationMode::Asynchronous, &["far"], None);
    let other = Server::new(bed.site("far").objects.clone());
    pushed(&other, 77, 50).await.unwrap();
    let before = bed.site("far").objects.keys();
    let server = bed.server();
    pushed(&server, 1, 50).await.unwrap();
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let status = server.open().await.replication().unwrap();
        if let Some(ReplicationProblem::Diverged(reason)) = &status.members[0].problem {
            assert!(reason.contains("'far'"), "{reason}");
            assert_eq!(bed.site("far").objects.keys(), before);
            return;
        }
    }
    panic!("nobody noticed");
}
