//! Three buckets on S3 servers of their own and two servers of Codekeep, each with ways of its own to them; and what all of them
//! must hold in the end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use bytes::Bytes;
use prometheus::Registry;
use store::{ObjectStore as _, S3Store, StoreMetrics, StoreUrl};
use tests::manifests::PASSWORD;
use tests::protocol::RawClient;
use tests::s3::{S3Kind, S3Server, SeaweedFs, store_url};
use tests::way::{Traffic, Way};
use tests::{Git, Manifests, Server, ServerOptions, binary, fixture, wait};

use super::log::Log;
use crate::bed::REPOSITORY;
use crate::disk::SmallDisk;

/// Names of the stores; the first one is the primary one in the beginning.
pub(crate) const STORES: [&str; 3] = ["default", "far", "third"];
/// Servers of Codekeep.
pub(crate) const SERVERS: usize = 2;
/// Whose ways are those of `codekeep store promote`.
const OPERATOR: usize = SERVERS;
const BUCKET: &str = "kept";
const CREDENTIAL: (&str, &str) = ("testkey", "testsecret");
/// Replicas have everything within this time once nothing is in their way: servers look each half minute.
const CATCHING_UP: Duration = Duration::from_mins(2);

/// A bucket on a server of its own.
pub(crate) struct Place {
    s3: Mutex<S3Server>,
    address: SocketAddr,
    /// From each server of Codekeep, and from the operator.
    ways: Vec<Way>,
    /// Where its data is, when that can get full.
    pub(crate) disk: Option<SmallDisk>,
}

impl Place {
    fn new(s3: S3Server, disk: Option<SmallDisk>) -> Result<Self> {
        s3.bucket(BUCKET)?;
        let address = s3.address();
        let ways = (0..=OPERATOR).map(|_| Way::to(address)).collect::<Result<_>>()?;
        Ok(Self { s3: Mutex::new(s3), address, ways, disk })
    }

    pub(crate) fn start(kind: S3Kind) -> Result<Self> {
        Self::new(S3Server::start(kind)?, None)
    }

    /// On a disk of so many megabytes.
    pub(crate) fn on_small_disk(megabytes: usize) -> Result<Self> {
        let disk = SmallDisk::mount(megabytes)?;
        let s3 = S3Server::SeaweedFs(SeaweedFs::start_in(disk.path())?);
        Self::new(s3, Some(disk))
    }

    /// The server itself.
    pub(crate) fn s3(&self) -> MutexGuard<'_, S3Server> {
        self.s3.lock().expect("no thread panics while it holds this")
    }

    /// What becomes of all ways to it.
    pub(crate) fn set(&self, traffic: Traffic) {
        self.ways.iter().for_each(|way| way.set(traffic));
    }

    /// What becomes of the way from one server.
    pub(crate) fn set_from(&self, server: usize, traffic: Traffic) {
        self.ways[server].set(traffic);
    }

    /// A client of its bucket by no way that is disturbed.
    async fn bucket(&self) -> Result<S3Store> {
        let StoreUrl::S3(url) = store_url(BUCKET, self.address).parse()? else { bail!("not an S3 URL") };
        Ok(S3Store::open_as(&url, CREDENTIAL, StoreMetrics::new(&Registry::new())?).await?)
    }

    /// Keys and sizes of everything in its bucket, but for what servers write to prove it.
    async fn listing(&self) -> Result<BTreeMap<String, u64>> {
        let (bucket, mut listed, mut last) = (self.bucket().await?, BTreeMap::new(), None::<String>);
        loop {
            let page = bucket.list("", last.as_deref(), 1_000).await?;
            let Some(end) = page.last() else { return Ok(listed) };
            last = Some(end.key.clone());
            listed.extend(page.into_iter().map(|object| (object.key, object.size)));
        }
    }

    /// Its log.
    pub(crate) fn log(&self) -> Result<Log> {
        Log::of(&block_on(self.listing())?, |key| Ok(self.read(key)?.to_vec()))
    }

    /// Keys of packs.
    pub(crate) fn packs(&self) -> Result<Vec<String>> {
        Ok(block_on(self.listing())?
            .into_keys()
            .filter(|key| key.contains("/packs/") && key.rsplit('.').next() == Some("pack"))
            .collect())
    }

    pub(crate) fn read(&self, key: &str) -> Result<Bytes> {
        let read = block_on(async { Ok(self.bucket().await?.get(key).await?) })?;
        read.with_context(|| format!("{key} is not there"))
    }

    pub(crate) fn write(&self, key: &str, bytes: Bytes) -> Result<()> {
        block_on(async { Ok(self.bucket().await?.put(key, bytes).await?) })
    }
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// All of them.
pub(crate) struct Site {
    pub(crate) git: Git,
    pub(crate) places: Vec<Place>,
    pub(crate) running: Vec<Server>,
    /// The commit that `main` is at in the beginning.
    pub(crate) tip: String,
    pub(crate) manifests: Manifests,
}

impl Site {
    /// Starts servers on these places and pushes a small history; `replication` is that of the repository.
    pub(crate) fn start(places: Vec<Place>, replication: &str) -> Result<Self> {
        let (git, manifests) = (Git::new()?, Manifests::standard()?);
        let mut site = Self { git, places, running: Vec::new(), tip: String::new(), manifests };
        site.replicate(replication)?;
        site.running = site.servers()?;
        let source = fixture::linear(&site.git, "source.git", 12)?;
        site.git.ok(&source, &["push", "--quiet", "--mirror", &site.url(0)])?;
        site.git.ok(&source, &["rev-parse", "main"])?.trim().clone_into(&mut site.tip);
        Ok(site)
    }

    /// Starts servers, all at once: each proves all stores.
    pub(crate) fn servers(&self) -> Result<Vec<Server>> {
        std::thread::scope(|scope| {
            let started = (0..SERVERS).map(|number| scope.spawn(move || Server::start(self.options(number))));
            let started: Vec<_> = started.collect();
            started.into_iter().map(|server| server.join().map_err(|_| anyhow!("a start panicked"))?).collect()
        })
    }

    /// Writes the manifest of the repository.
    pub(crate) fn replicate(&self, replication: &str) -> Result<()> {
        let text = format!(
            "apiVersion: codekeep.dev/v1alpha1\nkind: Repository\nmetadata: {{name: hello, namespace: team-a}}\n\
             spec:\n  defaultBranch: main\n  replication: {replication}\n"
        );
        self.manifests.write("repository-team-a-hello.yaml", &text)
    }

    /// `NAME=URL` of each store, by the ways of a server or of the operator.
    fn stores(&self, from: usize) -> Vec<String> {
        let named = self.places.iter().zip(STORES);
        named.map(|(place, name)| format!("{name}={}", store_url(BUCKET, place.ways[from].address()))).collect()
    }

    /// Options of a server of Codekeep.
    pub(crate) fn options(&self, number: usize) -> ServerOptions {
        let stores = self.stores(number);
        let further = stores[1..].iter().flat_map(|store| ["--store", store.as_str()]);
        let mut options = ServerOptions::new(self.manifests.path(), &*stores[0]).with(&further.collect::<Vec<_>>());
        options.environment = S3Server::credentials();
        options
    }

    /// URL of the repository at a server.
    pub(crate) fn url(&self, number: usize) -> String {
        self.running[number].url("alice", REPOSITORY)
    }

    /// A client that speaks the protocol by hand, at a server.
    pub(crate) fn raw(&self, number: usize) -> RawClient {
        RawClient::new(self.running[number].address(), REPOSITORY, Some(("alice", PASSWORD)))
    }

    /// `codekeep fsck` of one store alone.
    pub(crate) fn fsck(&self, at: usize) -> Result<Output> {
        let mut fsck = Command::new(binary::codekeep()?);
        fsck.args(["fsck", "--store", &store_url(BUCKET, self.places[at].address), "--cache"]);
        fsck.arg(self.git.path("fsck-cache")).envs(S3Server::credentials());
        fsck.output().context("failed to start codekeep fsck")
    }

    /// Options of a server that knows of one store only.
    pub(crate) fn alone(&self, manifests: &Manifests, at: usize) -> ServerOptions {
        let mut options = ServerOptions::new(manifests.path(), &*store_url(BUCKET, self.places[at].address));
        options.environment = S3Server::credentials();
        options
    }

    /// `codekeep store verify` of all stores.
    pub(crate) fn verify(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(binary::codekeep()?);
        command.args(["store", "verify", "--cache"]).arg(self.git.path("verify-cache"));
        command.args(self.stores(OPERATOR).iter().flat_map(|store| ["--store", store.as_str()]));
        command.arg("--manifests").arg(self.manifests.path()).args(arguments).envs(S3Server::credentials());
        command.output().context("failed to start codekeep store verify")
    }

    /// `codekeep store promote`.
    pub(crate) fn promote(&self, to: &str, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(binary::codekeep()?);
        command.args(["store", "promote", "--to", to, "--cache"]).arg(self.git.path("promote-cache"));
        command.args(self.stores(OPERATOR).iter().flat_map(|store| ["--store", store.as_str()]));
        command
            .arg("--manifests")
            .arg(self.manifests.path())
            .args(arguments)
            .arg(REPOSITORY)
            .envs(S3Server::credentials());
        command.output().context("failed to start codekeep store promote")
    }

    /// The same, which must work.
    pub(crate) fn promoted(&self, to: &str, arguments: &[&str]) -> Result<String> {
        let output = self.promote(to, arguments)?;
        ensure!(output.status.success(), "codekeep store promote --to {to}: {}", told(&output));
        Ok(told(&output))
    }

    /// The largest sample of a metric of a store at any server.
    pub(crate) fn most(&self, metric: &str, store: &str) -> Result<f64> {
        let label = format!("store=\"{store}\"");
        let found = self.running.iter().map(|server| server.metric(metric, &label)).collect::<Result<Vec<f64>>>()?;
        Ok(found.into_iter().fold(0.0, f64::max))
    }

    /// Waits until these stores have the same log, by key and size.
    pub(crate) fn in_step(&self, stores: &[usize]) -> Result<()> {
        let mut difference = String::new();
        let waited = wait::until("replicas in step", CATCHING_UP, || {
            let logs = stores.iter().map(|at| self.places[*at].log()).collect::<Result<Vec<_>>>()?;
            difference = logs.windows(2).map(|pair| pair[0].differs(&pair[1])).collect();
            Ok(difference.is_empty().then_some(()))
        });
        waited.with_context(|| format!("{difference}\n{}", self.logs()))
    }

    /// These stores have the same log to the byte, are sound each by itself, and no server says that one is behind.
    pub(crate) fn same_and_sound(&self, stores: &[usize]) -> Result<()> {
        self.in_step(stores)?;
        let (first, others) = stores.split_first().context("no store")?;
        let others = others.iter().map(|at| Ok((*at, self.places[*at].log()?))).collect::<Result<Vec<_>>>()?;
        let log = self.places[*first].log()?;
        ensure!(!log.entries.is_empty(), "'{}' has no log", STORES[*first]);
        for (number, (key, _)) in log.entries {
            let wanted = self.places[*first].read(&key)?;
            for (at, other) in &others {
                let found = self.places[*at].read(&other.entries.get(&number).context("it is gone")?.0)?;
                ensure!(found == wanted, "entry {number} is another one in '{}'", STORES[*at]);
            }
        }
        for at in stores {
            let checked = self.fsck(*at)?;
            ensure!(checked.status.success(), "codekeep fsck of '{}': {}", STORES[*at], told(&checked));
        }
        wait::until("servers that call the replicas in step", CATCHING_UP, || {
            let behind = stores.iter().map(|at| self.most("codekeep_replication_behind", STORES[*at]));
            Ok((behind.collect::<Result<Vec<f64>>>()?.iter().all(|behind| *behind == 0.0)).then_some(()))
        })
        .with_context(|| self.logs())
    }

    /// All servers show the same, clones from each are sound, none panicked; gives what is shown.
    pub(crate) fn agree(&self) -> Result<BTreeMap<String, String>> {
        let mut all = Vec::new();
        for (number, server) in self.running.iter().enumerate() {
            let shown = self.raw(number).ls_refs(&["refs/"])?;
            all.push(shown.into_iter().map(|(id, name)| (name, id)).collect::<BTreeMap<_, _>>());
            let name = format!("agreed-{number}.git");
            self.git.ok(&self.git.path(""), &["clone", "--quiet", "--mirror", &self.url(number), &name])?;
            self.git.fsck(&self.git.path(&name))?;
            std::fs::remove_dir_all(self.git.path(&name))?;
            ensure!(!server.log().contains("panicked"), "{}", server.log());
        }
        ensure!(all.windows(2).all(|pair| pair[0] == pair[1]), "the servers show other references");
        all.pop().context("no server")
    }

    /// The end of what the servers logged, for whoever reads a failure.
    pub(crate) fn logs(&self) -> String {
        let end = |server: &Server| {
            let log = server.log();
            let routine = |line: &&str| line.contains(" audit:") || line.contains("request answered");
            let lines: Vec<&str> = log.lines().filter(|line| !routine(line)).rev().take(30).collect();
            lines.into_iter().rev().collect::<Vec<_>>().join("\n")
        };
        self.running.iter().map(end).collect::<Vec<_>>().join("\n--- log of the next server:\n")
    }
}

/// What a command said.
pub(crate) fn told(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat()
}
