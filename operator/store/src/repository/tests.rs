mod arrivals;
mod bundles;
mod growth;
mod history;
mod lfs;
mod lfs_adopt;
mod lfs_lives;
mod lfs_scrub;
mod locks;
mod maintenance;
mod old_news;
mod tables;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::clock::{Clock, SystemClock, SystemRandom};
use model::lfs::Oid;
use model::{Content, ObjectId, RefName, RepositoryPath};
use prometheus::Registry;

use super::hint::Hint;
use crate::keys;
use crate::testing::{Fault, FaultyStore, MemoryStore};
use crate::{
    Cache, CommitError, Context, KeySources, LocalPack, ObjectStore, PackTools, Peers, Policy, Push, ReceivedPack,
    RefEdit, Repositories, Repository, StoreMetrics,
};

fn read(pack: &LocalPack) -> Result<Vec<u8>, String> {
    match &pack.pack {
        Content::File(path) => std::fs::read(path).map_err(|error| error.to_string()),
        Content::Memory(bytes) => Ok(bytes.to_vec()),
    }
}

/// Concatenates bytes: enough to see that packs are replaced.
struct Concatenate;

impl PackTools for Concatenate {
    fn fold(&self, packs: &[LocalPack], folder: &std::path::Path) -> Result<ReceivedPack, String> {
        let bytes = packs.iter().map(read).collect::<Result<Vec<_>, _>>()?.concat();
        let (pack, index) = (folder.join("folded.pack"), folder.join("folded.idx"));
        std::fs::write(&pack, &bytes).unwrap();
        std::fs::write(&index, b"index").unwrap();
        let (pack, index) = (Content::File(pack), Content::File(index));
        Ok(ReceivedPack { pack, index, objects: packs.iter().map(|pack| pack.objects).sum(), exact: true })
    }

    fn prune(
        &self,
        packs: &[LocalPack],
        _: &[ObjectId],
        folder: &std::path::Path,
    ) -> Result<Option<ReceivedPack>, String> {
        self.fold(packs, folder).map(Some)
    }

    fn covers(&self, _: &[LocalPack], _: bool, _: &[ObjectId]) -> Result<bool, String> {
        Ok(true)
    }

    fn tabulate(&self, packs: &[LocalPack], at: usize, out: &std::path::Path) -> Result<bool, String> {
        let table = format!("the table of {}, {} before", packs[at].id, at);
        std::fs::write(out, table).map(|()| true).map_err(|error| error.to_string())
    }

    fn bundle(
        &self,
        packs: &[LocalPack],
        tables: &[Option<std::path::PathBuf>],
        (branch, tip): (&RefName, ObjectId),
        out: &std::path::Path,
    ) -> Result<u64, String> {
        let packs = packs.iter().map(read).collect::<Result<Vec<_>, _>>()?.concat();
        let tables = tables.iter().flatten().count();
        let bundle = format!("{tip} {branch}, {tables} tables, {} bytes", packs.len());
        std::fs::write(out, &bundle).map_err(|error| error.to_string())?;
        Ok(bundle.len() as u64)
    }

    /// Commits of tests have numbers, and later ones follow from earlier ones.
    fn is_behind(&self, _: &[LocalPack], old: ObjectId, new: ObjectId) -> Result<bool, String> {
        Ok(old <= new)
    }

    fn verify(&self, _: &[LocalPack], _: &[ObjectId], _: usize) -> Result<Vec<String>, String> {
        Ok(vec![])
    }

    /// Packs of tests name objects in plain text.
    fn lfs_unnamed(&self, packs: &[LocalPack], mut oids: HashSet<Oid>) -> Result<HashSet<Oid>, String> {
        for pack in packs {
            let text = String::from_utf8_lossy(&read(pack)?).into_owned();
            oids.retain(|oid| !text.contains(&oid.to_string()));
        }
        Ok(oids)
    }
}

pub(crate) struct Server {
    _cache: tempfile::TempDir,
    pub(crate) repositories: Repositories,
}

impl Server {
    pub(crate) fn new(store: impl ObjectStore) -> Self {
        Self::with(store, Arc::new(SystemClock::new()), Policy::default())
    }

    fn with(store: impl ObjectStore, clock: Arc<dyn Clock>, policy: Policy) -> Self {
        Self::made(store, clock, policy, KeySources::default())
    }

    pub(crate) fn of(store: impl ObjectStore, policy: Policy) -> Self {
        Self::with(store, Arc::new(SystemClock::new()), policy)
    }

    pub(crate) fn with_keys(store: impl ObjectStore, keys: KeySources) -> Self {
        Self::made(store, Arc::new(SystemClock::new()), Policy::default(), keys)
    }

    fn made(store: impl ObjectStore, clock: Arc<dyn Clock>, policy: Policy, keys: KeySources) -> Self {
        let peers = Peers::new([("default".to_owned(), Arc::new(store) as Arc<dyn ObjectStore>)].into());
        Self::among(&peers, clock, policy, keys)
    }

    /// A server of several stores.
    pub(crate) fn among(peers: &Peers, clock: Arc<dyn Clock>, policy: Policy, keys: KeySources) -> Self {
        // Thousands of small files: in memory where there is such a folder.
        let memory = std::path::Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let metrics = StoreMetrics::new(&Registry::new()).unwrap();
        let cache = Arc::new(Cache::open(folder.path(), 1 << 30, &metrics).unwrap());
        let (tools, random) = (Arc::new(Concatenate), Arc::new(SystemRandom));
        let context = Context { cache, tools, clock, random, policy, metrics, keys };
        let repositories = Repositories::among(peers, "default", None, context).unwrap();
        Self { _cache: folder, repositories }
    }

    pub(crate) async fn open(&self) -> Arc<Repository> {
        let path: RepositoryPath = "team-a/hello".parse().unwrap();
        let id = self.repositories.find_or_create(&path).await.unwrap();
        self.repositories.open(&id).await.unwrap()
    }
}

pub(super) fn id(number: u32) -> ObjectId {
    let mut bytes = [1; 20];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    ObjectId::Sha1(bytes)
}

pub(crate) fn push(edits: &[(&str, Option<u32>, Option<u32>)]) -> Push {
    let edits = edits
        .iter()
        .map(|(name, old, new)| RefEdit {
            name: RefName::branch(name).unwrap(),
            old: old.map(id),
            new: new.map(id),
            peeled: None,
        })
        .collect();
    Push {
        actor: "alice".to_owned(),
        request_id: "r".to_owned(),
        options: vec![],
        certificate: None,
        atomic: false,
        edits,
        pack: None,
        checked_at: u64::MAX,
        dropped: vec![],
        default_branch: None,
    }
}

pub(crate) fn with_pack(mut push: Push, content: &[u8]) -> Push {
    let memory = |bytes: &[u8]| Content::Memory(Bytes::copy_from_slice(bytes));
    let (pack, index) = (memory(content), memory(b"index"));
    push.pack = Some(ReceivedPack { pack, index, objects: 1, exact: true }.into());
    push
}

/// One push of many references.
pub(super) fn many(from: u32, to: u32, value: u32) -> Push {
    let edit = |number: u32| RefEdit {
        name: RefName::branch(&format!("feature/branch-{number:06}")).unwrap(),
        old: None,
        new: Some(id(value)),
        peeled: None,
    };
    Push { edits: (from..to).map(edit).collect(), ..push(&[]) }
}

/// Waits until the hint is of the newest entry.
pub(super) async fn settled(store: &MemoryStore, repository: &Repository) -> Hint {
    let key = keys::hint(repository.id());
    let started = Instant::now();
    loop {
        let hint = store.get(&key).await.unwrap().and_then(|hint| Hint::decode(&hint, repository.id()));
        if let Some(hint) = hint.filter(|hint| hint.generation == repository.known().generation) {
            return hint;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "no hint comes");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_push_is_seen_by_another_server_at_once() {
    let store = MemoryStore::default();
    let (one, two) = (Server::new(store.clone()), Server::new(store));
    let (writer, reader) = (one.open().await, two.open().await);
    assert!(reader.snapshot().await.unwrap().refs.is_empty());
    writer.commit(push(&[("main", None, Some(1))])).await.unwrap();
    assert_eq!(reader.snapshot().await.unwrap().refs.get(&RefName::branch("main").unwrap()), Some(id(1)));
}

#[tokio::test]
async fn a_small_push_costs_one_round_and_a_large_one_two() {
    let store = MemoryStore::default();
    let server = Server::new(store.clone());
    let repository = server.open().await;
    let before = store.calls();
    let small = with_pack(push(&[("main", None, Some(1))]), b"pack");
    repository.commit(small).await.unwrap();
    let calls = |name: &str| store.calls().get(name).copied().unwrap_or(0) - before.get(name).copied().unwrap_or(0);
    assert_eq!((calls("create"), calls("get"), calls("upload"), calls("list")), (1, 0, 0, 0));
    let large = with_pack(push(&[("main", Some(1), Some(2))]), &vec![7; 300 << 10]);
    repository.commit(large).await.unwrap();
    assert_eq!((calls("create"), calls("get"), calls("upload"), calls("list")), (2, 0, 2, 0));
}

#[tokio::test]
async fn doubtful_answers_are_settled_by_reading() {
    for fault in [Fault::AnswerLost, Fault::RequestLost, Fault::OwnRetry] {
        let store = MemoryStore::default();
        // The first create is the catalog's.
        let server = Server::new(FaultyStore::new(store.clone(), [Fault::None, fault, fault]));
        let repository = server.open().await;
        repository.commit(push(&[("main", None, Some(1))])).await.unwrap();
        let snapshot = Server::new(store).open().await.snapshot().await.unwrap();
        assert_eq!((snapshot.generation, snapshot.pushes), (1, 1), "{fault:?}");
    }
}

#[tokio::test]
async fn a_refusal_changes_nothing() {
    let store = MemoryStore::default();
    let server = Server::new(FaultyStore::new(store, [Fault::None, Fault::Refused]));
    let repository = server.open().await;
    assert!(matches!(repository.commit(push(&[("main", None, Some(1))])).await, Err(CommitError::Failed(_))));
    assert_eq!(repository.snapshot().await.unwrap().generation, 0);
    repository.commit(push(&[("main", None, Some(1))])).await.unwrap();
}

#[tokio::test]
async fn of_two_who_move_the_same_reference_one_is_told() {
    let store = MemoryStore::default();
    let (one, two) = (Server::new(store.clone()), Server::new(store));
    let (first, second) = (one.open().await, two.open().await);
    first.commit(push(&[("main", None, Some(1))])).await.unwrap();
    let lost = second.commit(push(&[("main", None, Some(2))])).await;
    assert!(
        matches!(lost, Err(CommitError::Moved(moved)) if moved == [(RefName::branch("main").unwrap(), Some(id(1)))])
    );
    let partly = second.commit(push(&[("main", None, Some(2)), ("topic", None, Some(3))])).await.unwrap();
    assert_eq!(partly.results, [Err(Some(id(1))), Ok(())]);
    let atomic = Push { atomic: true, ..push(&[("main", None, Some(2)), ("other", None, Some(3))]) };
    assert!(matches!(second.commit(atomic).await, Err(CommitError::Moved(_))));
    assert_eq!(first.snapshot().await.unwrap().refs.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_on_two_servers_lose_nothing() {
    let store = MemoryStore::default();
    let (one, two) = (Server::new(store.clone()), Server::new(store.clone()));
    let servers = [one.open().await, two.open().await];
    let writers = (0..32_u32).map(|writer| {
        let repository = Arc::clone(&servers[usize::from(writer % 2 == 1)]);
        tokio::spawn(async move {
            let branch = format!("w{writer}");
            for step in 0..10_u32 {
                let number = |step| writer * 100 + step;
                let old = step.checked_sub(1).map(number);
                repository.commit(push(&[(&branch, old, Some(number(step)))])).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let fresh = Server::new(store).open().await.snapshot().await.unwrap();
    assert_eq!((fresh.refs.len(), fresh.pushes), (32, 320));
    for server in servers {
        let snapshot = server.snapshot().await.unwrap();
        assert_eq!((snapshot.digest, snapshot.generation), (fresh.digest, fresh.generation));
        assert!(fresh.refs.iter().eq(snapshot.refs.iter()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packs_are_folded_and_a_cold_server_reads_hint_and_checkpoint() {
    let store = MemoryStore::default();
    let server = Server::new(store.clone());
    let repository = server.open().await;
    for step in 0..80_u32 {
        let old = step.checked_sub(1);
        let push = with_pack(push(&[("main", old, Some(step))]), format!("pack {step}").as_bytes());
        repository.commit(push).await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let snapshot = repository.snapshot().await.unwrap();
    assert!(snapshot.packs.len() < 60, "{} packs", snapshot.packs.len());
    assert_eq!(snapshot.objects(), 80);
    assert!(store.keys().iter().any(|key| key.contains("/checkpoint/")));
    let before = store.calls();
    let cold = Server::new(store.clone());
    let reopened = cold.open().await;
    assert_eq!(reopened.known().digest, snapshot.digest);
    assert_eq!(store.calls().get("list"), before.get("list"));
    assert_eq!(reopened.local_packs(&snapshot).await.unwrap().packs.len(), snapshot.packs.len());
}

#[tokio::test]
async fn damage_is_reported_and_never_served() {
    let store = MemoryStore::default();
    let server = Server::new(store.clone());
    let repository = server.open().await;
    let small = with_pack(push(&[("main", None, Some(1))]), b"small");
    repository.commit(small).await.unwrap();
    let large = with_pack(push(&[("main", Some(1), Some(2))]), &vec![7; 300 << 10]);
    repository.commit(large).await.unwrap();
    let snapshot = repository.snapshot().await.unwrap();
    for key in store.keys().into_iter().filter(|key| key.contains("/log/") || key.contains("/packs/")) {
        store.tamper(&key, |bytes| bytes[2] ^= 1);
        let cold = Server::new(store.clone());
        let id = cold.repositories.find(&"team-a/hello".parse().unwrap()).await.unwrap().unwrap();
        let failed = match cold.repositories.open(&id).await {
            Err(_) => true,
            Ok(opened) => opened.local_packs(&snapshot).await.is_err(),
        };
        assert!(failed, "{key}");
        store.tamper(&key, |bytes| bytes[2] ^= 1);
    }
}

#[tokio::test]
async fn a_deleted_repository_comes_back_empty() {
    let store = MemoryStore::default();
    let server = Server::new(store.clone());
    server.open().await.commit(push(&[("main", None, Some(1))])).await.unwrap();
    let path = "team-a/hello".parse().unwrap();
    server.repositories.delete(&path).await.unwrap();
    assert!(store.keys().iter().all(|key| key.ends_with("/hint")), "{:?}", store.keys());
    assert!(server.open().await.snapshot().await.unwrap().refs.is_empty());
}

#[tokio::test]
async fn a_check_names_whatever_was_damaged() {
    let store = MemoryStore::default();
    let server = Server::new(store.clone());
    let repository = server.open().await;
    let path = "team-a/hello".parse().unwrap();
    let small = with_pack(push(&[("main", None, Some(1))]), b"small");
    repository.commit(small).await.unwrap();
    let large = with_pack(push(&[("main", Some(1), Some(2))]), &vec![7; 300 << 10]);
    repository.commit(large).await.unwrap();
    let body = crate::checkpoint::encode(repository.id(), &repository.known());
    store.create(&keys::checkpoint(repository.id(), 2), body).await.unwrap();
    let check = async || Server::new(store.clone()).repositories.check(&path).await.unwrap().unwrap();
    let sound = check().await;
    assert_eq!((sound.entries, sound.references, sound.packs, sound.problems.len()), (2, 1, 2, 0), "{sound:?}");
    let parts = ["/log/", "/packs/", "/checkpoint/"];
    let keys: Vec<String> =
        store.keys().into_iter().filter(|key| parts.iter().any(|part| key.contains(part))).collect();
    assert_eq!(keys.len(), 5, "{keys:?}");
    for key in keys {
        store.tamper(&key, |bytes| bytes[2] ^= 1);
        // A pack and its index are one.
        let stem = key.split('.').next().unwrap();
        assert!(check().await.problems.iter().any(|problem| problem.contains(stem)), "{key}");
        store.tamper(&key, |bytes| bytes[2] ^= 1);
        let kept = store.get(&key).await.unwrap().unwrap();
        store.delete(&key).await.unwrap();
        let missed = check().await.problems.iter().any(|problem| problem.contains(&key) && problem.contains("missing"));
        // A checkpoint only saves time: one that is gone is no damage.
        assert!(missed || key.contains("/checkpoint/"), "{key}");
        store.create(&key, kept).await.unwrap();
    }
    assert!(check().await.problems.is_empty());
    assert!(server.repositories.check(&"team-a/none".parse().unwrap()).await.unwrap().is_none());
}
