//! A server: incarnations of the real store with a cache folder, one after the other.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::RepositoryPath;
use model::encryption::{Encryption, Envelope, WrappingKey};
use store::{Cache, Context, KeySources, Maintained, Manifests, Policy, Repositories, StoreMetrics};
use tokio::task::AbortHandle;

use crate::bucket::handle::Handle;
use crate::bucket::{Bucket, wrapping_key};
use crate::dice::Dice;
use crate::git::tools::Tools;
use crate::life::{CrashPoint, Life};
use crate::world::{SimulatedClock, SimulatedRandom, World};

/// No server stands still for longer.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_hours(4);
/// After this time a client gives up on a server.
const PATIENCE: Duration = Duration::from_mins(3);
/// Requests in which a server may be made to die; it dies in the first that it comes to.
const CRASH_POINTS: usize = 3;

/// How often the manifest asks for a new data key, and for how many.
const NEW_DATA_KEY: Duration = Duration::from_secs(20);
const DATA_KEYS: u64 = 4;

/// A manifest that asks for a new data key now and then.
struct Encrypted(Arc<World>);

impl Manifests for Encrypted {
    fn encryption(&self, _: &RepositoryPath) -> Option<Encryption> {
        let key = wrapping_key();
        let number = 1 + (self.0.now().as_secs() / NEW_DATA_KEY.as_secs()).min(DATA_KEYS - 1);
        let envelope = Envelope {
            wrap_with: WrappingKey::Secret { fingerprint: key.fingerprint() },
            data_key: u32::try_from(number).unwrap_or(1),
            secrets: [(key.fingerprint(), key)].into(),
        };
        Some(Encryption { kms_key_id: None, envelope: Some(Arc::new(envelope)) })
    }
}

fn key_sources(world: &Arc<World>, encrypted: bool) -> KeySources {
    if !encrypted {
        return KeySources::default();
    }
    world.count("server that encrypts");
    KeySources { manifests: Arc::new(Encrypted(Arc::clone(world))), ..KeySources::default() }
}

tokio::task_local! {
    /// Set while a client waits for a repository that is open.
    static REQUEST: ();
}

/// Does what a client waits for.
pub(crate) async fn request<F: Future>(work: F) -> F::Output {
    REQUEST.scope((), work).await
}

/// Whether a client waits for what is being done.
pub(crate) fn on_request_path() -> bool {
    REQUEST.try_with(|()| ()).is_ok()
}

/// How servers fare.
#[derive(Debug, Clone)]
pub(crate) struct Habits {
    /// Incarnations, in a thousand, that end in a request.
    pub(crate) crash: u32,
    /// Times, at most, that a server stops for no reason.
    pub(crate) kills: u32,
    /// Times, at most, that a server stands still.
    pub(crate) pauses: u32,
    /// Bytes of the cache.
    pub(crate) cache: u64,
    /// Two servers that fold the same packs get the same bytes.
    pub(crate) same_folds: bool,
    /// Repositories are encrypted.
    pub(crate) encrypted: bool,
    /// Most milliseconds by which its clock is wrong.
    pub(crate) clock_error_ms: u64,
    /// Its policy of maintenance, and how often it looks whether something is due.
    pub(crate) policy: Policy,
    pub(crate) maintenance: Duration,
}

/// A server of the run.
pub(crate) struct Server {
    pub(crate) name: String,
    world: Arc<World>,
    bucket: Arc<Bucket>,
    habits: Habits,
    metrics: StoreMetrics,
    root: PathBuf,
    dice: Mutex<Dice>,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    incarnation: u32,
    cache: Option<PathBuf>,
    now: Option<Incarnation>,
    /// Nothing ends it any more.
    spared: bool,
}

struct Incarnation {
    life: Arc<Life>,
    repositories: Arc<Repositories>,
    tasks: Vec<AbortHandle>,
}

impl Server {
    /// A server that runs, with its caches below `root`.
    pub(crate) fn start(
        number: usize,
        bucket: &Arc<Bucket>,
        habits: &Habits,
        metrics: &StoreMetrics,
        root: &Path,
    ) -> std::io::Result<Arc<Self>> {
        let world = Arc::clone(&bucket.world);
        let name = format!("s{number}");
        let dice = Mutex::new(world.dice(&name));
        let server = Self {
            name,
            world,
            bucket: Arc::clone(bucket),
            habits: habits.clone(),
            metrics: metrics.clone(),
            root: root.to_owned(),
            dice,
            running: Mutex::default(),
        };
        server.begin()?;
        Ok(Arc::new(server))
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dice(&self) -> MutexGuard<'_, Dice> {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the next incarnation, with the cache folder of the one before or a new one.
    fn begin(&self) -> std::io::Result<()> {
        let mut running = self.running();
        running.incarnation += 1;
        let name = format!("{}.{}", self.name, running.incarnation);
        let folder = self.root.join(&name);
        let mut dice = self.dice();
        if let Some(before) = running.cache.take()
            && dice.chance(600)
        {
            // What the dead one still has open is out of its reach under the new name.
            std::fs::rename(&before, &folder)?;
            std::fs::remove_file(folder.join("lock"))?;
            if dice.chance(200) {
                damage(&folder, &mut dice)?;
                self.world.count("cache damaged by a crash");
            }
            self.world.count("restart with its cache");
        }
        let crashes = if !running.spared && dice.chance(self.habits.crash) { CRASH_POINTS } else { 0 };
        let crashes: Vec<CrashPoint> = (0..crashes).map(|_| CrashPoint::of(&mut dice)).collect();
        let most = self.habits.clock_error_ms;
        let error = i64::try_from(dice.between(0, 2 * most)).unwrap_or(0) - i64::try_from(most).unwrap_or(0);
        let nonces = (!self.habits.same_folds).then(|| self.world.dice(&format!("folds of {name}")));
        self.world.trace(format_args!("{name} starts, {crashes:?}"));
        let life = Arc::new(Life::new(Arc::clone(&self.world), name.clone(), crashes));
        let repositories = Repositories::new(
            Arc::new(Handle::new(Arc::clone(&self.bucket), Arc::clone(&life))),
            Context {
                cache: Arc::new(Cache::open(&folder, self.habits.cache, &self.metrics)?),
                tools: Arc::new(Tools::new(Arc::clone(&self.bucket.ledger.universe), nonces)),
                clock: Arc::new(SimulatedClock::new(&self.world, error)),
                random: Arc::new(SimulatedRandom::new(self.world.dice(&format!("random of {name}")))),
                policy: self.habits.policy,
                metrics: self.metrics.clone(),
                keys: key_sources(&self.world, self.habits.encrypted),
            },
        );
        running.cache = Some(folder);
        running.now = Some(Incarnation { life, repositories: Arc::new(repositories), tasks: vec![] });
        Ok(())
    }

    /// Takes what is left of a dead incarnation away.
    fn bury(&self) {
        if let Some(incarnation) = self.running().now.take() {
            incarnation.tasks.iter().for_each(AbortHandle::abort);
        }
    }

    /// Whether it takes requests, as far as others know.
    pub(crate) fn is_up(&self) -> bool {
        self.life().is_some_and(|life| life.is_well())
    }

    fn life(&self) -> Option<Arc<Life>> {
        self.running().now.as_ref().map(|incarnation| Arc::clone(&incarnation.life))
    }

    /// Runs for ever: starts the next incarnation after each.
    pub(crate) async fn supervise(self: Arc<Self>) {
        loop {
            if let Some(life) = self.life() {
                life.ended().await;
            }
            self.bury();
            let down = {
                let mut dice = self.dice();
                if dice.chance(100) { dice.millis(10_000, 1_200_000) } else { dice.millis(0, 5_000) }
            };
            tokio::time::sleep(down).await;
            if let Err(error) = self.begin() {
                self.world.violation(format!("{} cannot start again: {error}", self.name));
                return;
            }
        }
    }

    /// Runs for ever: does what maintenance finds due.
    pub(crate) async fn maintain(self: Arc<Self>, paths: Vec<RepositoryPath>) {
        let mut idle = 1;
        loop {
            let time = self.dice().time(self.habits.maintenance / 2, self.habits.maintenance);
            tokio::time::sleep(time * idle).await;
            // Where nothing is due, it looks less often: a simulated day costs real time.
            idle = (idle * 2).min(4);
            for path in &paths {
                if self.maintain_one(path).await.is_none_or(|done| done != Maintained::default()) {
                    idle = 1;
                }
            }
        }
    }

    /// A round of maintenance; `None` when it failed.
    pub(crate) async fn maintain_one(&self, path: &RepositoryPath) -> Option<Maintained> {
        let path = path.clone();
        // The weather may clear up while a scrub is under way.
        let may_be_damaged = self.bucket.may_damage();
        let done = self.serve(|repositories| async move { repositories.maintain(&path).await }).await?;
        let done =
            done.inspect_err(|error| self.world.trace(format_args!("{} maintenance: {error}", self.name))).ok()?;
        let Maintained { packs: _, pruned: _, lfs: _, mended: _, tables, deleted, truncated, orphans, damaged } = done;
        for (what, count) in [("tables", tables), ("deleted", deleted), ("truncated", truncated), ("orphans", orphans)]
        {
            if count > 0 {
                self.world.trace(format_args!("{} maintenance: {count} {what}", self.name));
                self.world.count(&format!("maintenance {what}"));
            }
        }
        if damaged > 0 && !may_be_damaged {
            self.world.violation(format!("{} found damage where there is none", self.name));
        }
        Some(done)
    }

    /// Stops the server or lets it stand still, now and then.
    pub(crate) async fn trouble(self: Arc<Self>) {
        let (mut kills, mut pauses) = (self.habits.kills, self.habits.pauses);
        while kills + pauses > 0 {
            let time = {
                let mut dice = self.dice();
                let most = 50 << dice.below(12);
                dice.millis(10, most)
            };
            tokio::time::sleep(time).await;
            let Some(life) = self.life() else { continue };
            let mut dice = self.dice();
            if dice.below((kills + pauses) as usize) < kills as usize {
                kills -= 1;
                self.world.trace(format_args!("{} is killed", life.name));
                self.world.count("kill");
                life.end();
            } else {
                pauses -= 1;
                let longest = if dice.chance(300) { LONGEST_PAUSE } else { Duration::from_secs(90) };
                let time = dice.time(Duration::from_millis(500), longest);
                self.world.trace(format_args!("{} stands still for {time:?}", life.name));
                self.world.count("pause");
                life.sleep(time);
            }
        }
    }

    /// Ends it; the next incarnation has no cache.
    pub(crate) fn lose(&self) {
        self.running().cache = None;
        if let Some(life) = self.life() {
            life.end();
        }
    }

    /// From now on it runs.
    pub(crate) fn spare(&self) {
        let mut running = self.running();
        running.spared = true;
        if let Some(incarnation) = &running.now {
            incarnation.life.spare();
        }
    }

    /// Has work done for a client, in a task that dies with the server. `None`: the connection broke, or there was none.
    pub(crate) async fn serve<T, F>(&self, work: impl FnOnce(Arc<Repositories>) -> F) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (answer, answered) = tokio::sync::oneshot::channel();
        {
            let mut running = self.running();
            let Incarnation { life, repositories, tasks } = running.now.as_mut()?;
            let (life, work) = (Arc::clone(life), work(Arc::clone(repositories)));
            let task = tokio::spawn(async move {
                life.awake().await;
                let done = work.await;
                life.awake().await;
                let _ = answer.send(done);
            });
            tasks.retain(|task| !task.is_finished());
            tasks.push(task.abort_handle());
        }
        tokio::time::timeout(PATIENCE, answered).await.ok()?.ok()
    }
}

/// The machine went down: some of what the cache had written never reached the disk.
fn damage(cache: &Path, dice: &mut Dice) -> std::io::Result<()> {
    let mut files = Vec::new();
    for folder in std::fs::read_dir(cache.join("packs"))? {
        for file in std::fs::read_dir(folder?.path())? {
            files.push(file?.path());
        }
    }
    files.sort();
    for file in files {
        if dice.chance(300) {
            let bytes = std::fs::read(&file)?;
            std::fs::write(&file, &bytes[..dice.below(bytes.len().max(1))])?;
        }
    }
    Ok(())
}
