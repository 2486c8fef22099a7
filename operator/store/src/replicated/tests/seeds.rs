//! Servers, stores and promotions that get in each other's way, as a seed decides: what was acknowledged is there at the end, once, for everybody.

use std::sync::atomic::{AtomicU32, AtomicU64};

use super::*;
use crate::testing::{Sabotage, sabotage};
use crate::{Loss, PromoteError};

/// Seeds of each run of the tests, and those within which a deliberate fault has to be caught.
const SEEDS: u64 = 150;
/// Pushes that each server tries.
const PUSHES: u32 = 25;
const NAMES: [&str; 3] = ["default", "far", "third"];

/// Random numbers of a seed (`SplitMix64`).
#[derive(Clone)]
struct Dice(Arc<Mutex<u64>>);

impl Dice {
    fn below(&self, most: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    }

    fn index(&self, most: u64) -> usize {
        usize::try_from(self.below(most)).unwrap()
    }

    fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The way of one server to one store: slow, and it loses requests and answers.
struct Line {
    site: Site,
    dice: Dice,
    /// Percent of requests that go wrong.
    bad: Arc<AtomicU64>,
    cut: Arc<AtomicBool>,
}

impl Line {
    fn bad(&self) -> u64 {
        self.bad.load(Ordering::SeqCst)
    }

    async fn wait(&self) {
        let most = if self.dice.chance(5) { 3_000 } else { 40 };
        tokio::time::sleep(Duration::from_millis(1 + self.dice.below(most))).await;
    }

    fn unknown(operation: &'static str, key: &str) -> StoreError {
        StoreError::Unknown { operation, key: key.to_owned(), reason: "lost".to_owned() }
    }

    /// The request arrives, or not.
    async fn sent(&self, operation: &'static str, key: &str) -> Result<(), StoreError> {
        self.wait().await;
        let is_lost = self.dice.chance(self.bad()) || self.cut.load(Ordering::SeqCst);
        if is_lost { Err(Self::unknown(operation, key)) } else { Ok(()) }
    }

    /// The answer arrives, or not; what is lost may have been done, and late.
    async fn answered<T: Send>(
        &self,
        operation: &'static str,
        key: &str,
        answer: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.sent(operation, key).await?;
        answer
    }
}

#[async_trait]
impl ObjectStore for Line {
    async fn create(&self, key: &str, body: Bytes) -> Result<Create, StoreError> {
        self.sent("create", key).await?;
        if self.dice.chance(self.bad()) {
            // It is on its way for a while, and whoever sent it has given up.
            let (site, key, body, late) = (self.site.clone(), key.to_owned(), body, self.dice.below(8_000));
            let told = Self::unknown("create", &key);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(late)).await;
                site.create(&key, body).await
            });
            return Err(told);
        }
        let answer = self.site.create(key, body).await;
        self.answered("create", key, answer).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        self.sent("put", key).await?;
        let answer = self.site.put(key, body).await;
        self.answered("put", key, answer).await
    }

    async fn upload(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        self.sent("upload", key).await?;
        let answer = self.site.upload(key, file).await;
        self.answered("upload", key, answer).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.sent("get", key).await?;
        let answer = self.site.get(key).await;
        self.answered("get", key, answer).await
    }

    async fn download(&self, key: &str, file: &Path, size: u64) -> Result<bool, StoreError> {
        self.sent("download", key).await?;
        self.site.download(key, file, size).await
    }

    async fn download_range(&self, key: &str, file: &Path, range: Range<u64>, size: u64) -> Result<bool, StoreError> {
        self.sent("download", key).await?;
        self.site.download_range(key, file, range, size).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.sent("delete", key).await?;
        self.site.delete(key).await
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        self.sent("list", prefix).await?;
        let answer = self.site.list(prefix, start_after, limit).await;
        self.answered("list", prefix, answer).await
    }
}

/// A run.
struct Run {
    dice: Dice,
    sites: [Site; 3],
    servers: Vec<Server>,
    bad: Arc<AtomicU64>,
    /// For each server, whether its way to each store is cut.
    cuts: Vec<[Arc<AtomicBool>; 3]>,
    next: AtomicU32,
}

impl Run {
    fn new(seed: u64) -> Self {
        let dice = Dice(Arc::new(Mutex::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))));
        let sites: [Site; 3] = std::array::from_fn(|_| Site::default());
        let quorum = dice.chance(30).then_some(2);
        let replicas: Vec<String> = NAMES[1..2 + usize::from(quorum.is_some() || dice.chance(50))]
            .iter()
            .map(|name| (*name).to_owned())
            .collect();
        let wanted = Replication { mode: ReplicationMode::Synchronous, stores: replicas, quorum, primary: None };
        let bad = Arc::new(AtomicU64::new(dice.below(8)));
        let (mut servers, mut cuts) = (vec![], vec![]);
        for _ in 0..2 {
            let cut: [Arc<AtomicBool>; 3] = std::array::from_fn(|_| Arc::default());
            let line = |at: usize| {
                let (site, dice, cut, bad) = (sites[at].clone(), dice.clone(), Arc::clone(&cut[at]), Arc::clone(&bad));
                Arc::new(Line { site, dice, bad, cut }) as Arc<dyn ObjectStore>
            };
            let peers = NAMES.iter().enumerate().map(|(at, name)| ((*name).to_owned(), line(at)));
            let keys = KeySources { manifests: Arc::new(Says::replicated(wanted.clone())), ..KeySources::default() };
            servers.push(Server::among(
                &Arc::new(peers.collect()),
                Arc::new(SystemClock::new()),
                Policy::default(),
                keys,
            ));
            cuts.push(cut);
        }
        Self { dice, sites, servers, bad, cuts, next: AtomicU32::new(1) }
    }

    /// Pushes until it has pushed enough; gives what was acknowledged.
    async fn push(&self, server: &Server) -> Vec<u32> {
        let mut acknowledged = vec![];
        for _ in 0..PUSHES {
            tokio::time::sleep(Duration::from_millis(self.dice.below(400))).await;
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let Ok(id) = server.repositories.find_or_create(&path()).await else { continue };
            let Ok(repository) = server.repositories.open(&id).await else { continue };
            let push = next(&repository, number, 20);
            if repository.commit(push).await.is_ok() {
                acknowledged.push(number);
            }
        }
        acknowledged
    }

    /// Cuts lines and stores, and promotes what is left.
    async fn trouble(&self) {
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_millis(self.dice.below(3_000))).await;
            match self.dice.below(4) {
                0 => {
                    let cut = &self.cuts[self.dice.index(2)][self.dice.index(3)];
                    cut.store(true, Ordering::SeqCst);
                }
                1 => self.sites[self.dice.index(3)].cut_off(true),
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(self.dice.below(2_000))).await;
            let server = &self.servers[self.dice.index(2)];
            let to = NAMES[self.dice.index(3)];
            match server.repositories.promote(&path(), to, Loss::Refuse).await {
                Ok(_) | Err(PromoteError::Failed(_) | PromoteError::Unsafe(_) | PromoteError::Unknown(_)) => {}
            }
            tokio::time::sleep(Duration::from_millis(self.dice.below(20_000))).await;
            self.calm();
        }
    }

    /// Servers look after the replicas from time to time.
    async fn look(&self, times: usize) {
        for server in self.servers.iter().cycle().take(times) {
            tokio::time::sleep(Duration::from_secs(15)).await;
            // What fails is tried again.
            let _ = server.repositories.replicate(&path()).await;
        }
    }

    /// Whatever was left half way, servers end it: nobody has to ask for a promotion again.
    async fn goes_on(&self) -> Result<(), String> {
        let server = &self.servers[1];
        let mut told = String::new();
        for _ in 0..10 {
            let push = async {
                let id = server.repositories.find_or_create(&path()).await.map_err(|error| error.to_string())?;
                let repository = server.repositories.open(&id).await.map_err(|error| error.to_string())?;
                let push = next(&repository, self.next.fetch_add(1, Ordering::SeqCst), 20);
                repository.commit(push).await.map_err(|error| error.to_string())
            };
            match push.await {
                Ok(_) => return Ok(()),
                Err(error) => told = error,
            }
            // A log that was closed while it was empty is noticed by the first who pushes.
            self.look(2).await;
        }
        Err(format!("no push when all is calm: {told}"))
    }

    fn calm(&self) {
        self.sites.iter().for_each(|site| site.cut_off(false));
        self.cuts.iter().flatten().for_each(|cut| cut.store(false, Ordering::SeqCst));
    }
}

/// Runs a seed; says what was wrong.
async fn run(seed: u64) -> Result<usize, String> {
    let run = Run::new(seed);
    let pushes = join_all(run.servers.iter().map(|server| run.push(server)));
    let (acknowledged, (), ()) = tokio::join!(pushes, run.trouble(), run.look(12));
    run.calm();
    run.bad.store(0, Ordering::SeqCst);
    // What is on its way arrives.
    tokio::time::sleep(Duration::from_mins(2)).await;
    run.goes_on().await?;
    let mut promoted = Err("nobody tried".to_owned());
    // In a short run nobody may have come so far as to make it.
    run.servers[0].repositories.find_or_create(&path()).await.map_err(|error| format!("when all is calm: {error}"))?;
    for _ in 0..40 {
        let done = run.servers[0].repositories.promote(&path(), "far", Loss::Refuse).await;
        promoted = done.map(drop).map_err(|error| format!("no promotion when all is calm: {error}"));
        if promoted.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    promoted?;
    let mut opened = vec![];
    for server in &run.servers {
        let mut told = Err("nobody asked".to_owned());
        for _ in 0..40 {
            let opening = async {
                let id = server.repositories.find_or_create(&path()).await?;
                let repository = server.repositories.open(&id).await?;
                repository.snapshot().await.map(|known| (known, repository))
            };
            told = opening.await.map_err(|error| format!("no answer when all is calm: {error}"));
            if told.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let (_, repository) = told?;
        for number in acknowledged.iter().flatten() {
            if !has(&repository, *number) {
                return Err(format!("{number} was acknowledged and is lost"));
            }
        }
        opened.push(repository);
    }
    // Maintenance may have the last word.
    for _ in 0..20 {
        let known = join_all(opened.iter().map(|repository| repository.snapshot())).await;
        let known: Vec<_> = known.into_iter().map(|known| known.map(|known| known.digest).ok()).collect();
        if known[0].is_some() && known[0] == known[1] {
            return Ok(acknowledged.iter().flatten().count());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Err("two servers tell different histories".to_owned())
}

fn run_alone(seed: u64) -> Result<usize, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime
        .block_on(async { tokio::time::timeout(Duration::from_hours(24), run(seed)).await })
        .unwrap_or_else(|_| Err("it does not come to an end".to_owned()))
}

#[test]
fn whatever_gets_in_the_way_nothing_acknowledged_is_lost() {
    let number = |name: &str| std::env::var(name).ok().map(|number| number.parse::<u64>().unwrap());
    let from = number("CODEKEEP_SIMULATION_FROM").unwrap_or(0);
    let seeds = from..from + number("CODEKEEP_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let mut acknowledged = 0;
    for seed in seeds.clone() {
        acknowledged += run_alone(seed).unwrap_or_else(|error| {
            panic!("seed {seed}: {error}; replay: CODEKEEP_SIMULATION_FROM={seed} CODEKEEP_SIMULATION_SEEDS=1")
        });
    }
    let tried = (seeds.end - seeds.start) * u64::from(PUSHES) * 2;
    assert!(acknowledged as u64 * 3 > tried, "only {acknowledged} of {tried} pushes came through");
}

#[test]
fn a_deliberate_fault_of_replication_is_caught() {
    for fault in [Sabotage::AcknowledgeBeforeQuorum, Sabotage::PromoteUnfenced] {
        sabotage(Some(fault));
        let caught = (0..SEEDS).any(|seed| run_alone(seed).is_err());
        sabotage(None);
        assert!(caught, "{fault:?} goes unnoticed in {SEEDS} seeds");
    }
}
