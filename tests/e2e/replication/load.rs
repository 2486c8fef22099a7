//! Steady pushes and clones through all servers while something goes wrong, and a record of what was acknowledged when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use tests::random::Sequence;
use tests::wait;

use super::site::{SERVERS, Site};

/// Clients that create references, one after the other.
const CREATORS: usize = 6;
/// Clients that push commits by stock git.
const PACKERS: usize = 2;
/// Loads so far: each has names of its own.
static RUNS: AtomicUsize = AtomicUsize::new(0);
const PAUSE: Duration = Duration::from_millis(60);
/// What is waited for under load comes within this time, or something is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// A push that was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Push {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) through: usize,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
}

/// What is known so far.
#[derive(Default)]
struct Book {
    pushes: Vec<Push>,
    /// Names and ids that may be there or not: nobody said.
    in_doubt: BTreeSet<(String, String)>,
    refusals: Vec<String>,
    /// When listings and clones that succeeded began and through which server.
    reads: Vec<(Instant, usize)>,
    clones: Vec<(Instant, usize)>,
    /// Listings that lacked what was acknowledged before they were asked for, or shown before.
    stale: Vec<String>,
}

/// Clients at work.
pub(crate) struct Load<'a> {
    site: &'a Site,
    run: usize,
    ended: AtomicBool,
    book: Mutex<Book>,
}

/// What is known when they have stopped.
pub(crate) struct Record {
    run: usize,
    pub(crate) pushes: Vec<Push>,
    pub(crate) stale: Vec<String>,
    pub(crate) clones: usize,
    in_doubt: BTreeSet<(String, String)>,
}

/// Below this are the references that a load creates.
fn references(run: usize) -> String {
    format!("refs/heads/load/{run}/")
}

/// Below this are the branches that its commits go to.
fn branches(run: usize) -> String {
    format!("refs/heads/packs/{run}/")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while it holds this")
}

/// Lets clients work while `story` happens.
pub(crate) fn during<T>(site: &Site, story: impl FnOnce(&Load<'_>) -> Result<T>) -> Result<(T, Record)> {
    let run = RUNS.fetch_add(1, Ordering::SeqCst);
    let load = Load { site, run, ended: AtomicBool::new(false), book: Mutex::default() };
    let told = std::thread::scope(|scope| -> Result<T> {
        let load = &load;
        let mut clients = vec![scope.spawn(|| load.clone_again())];
        clients.extend((0..PACKERS).map(|number| scope.spawn(move || load.pack(number))));
        let mut others = vec![scope.spawn(|| load.read())];
        others.extend((0..CREATORS).map(|number| scope.spawn(move || load.create(number))));
        let told = load.pushes_go_on(Instant::now(), PATIENCE).and_then(|_| story(load));
        load.ended.store(true, Ordering::SeqCst);
        for client in others {
            client.join().map_err(|_| anyhow!("a client panicked"))?;
        }
        for client in clients {
            let ended = client.join().map_err(|_| anyhow!("a client panicked"))?;
            // What went wrong in the story explains what a client met, not the other way round.
            if told.is_ok() {
                ended?;
            }
        }
        told
    });
    let book = load.book.into_inner().expect("no thread panics while it holds this");
    let refusals = book.refusals.iter().rev().take(5).cloned().collect::<Vec<_>>().join("\n");
    let told = told.with_context(|| format!("the last refusals:\n{refusals}\n{}", site.logs()))?;
    let Book { pushes, in_doubt, stale, clones, .. } = book;
    Ok((told, Record { run, pushes, stale, clones: clones.len(), in_doubt }))
}

impl Load<'_> {
    fn goes_on(&self) -> bool {
        !self.ended.load(Ordering::SeqCst)
    }

    fn acknowledge(&self, name: &str, id: &str, through: usize, began: Instant) {
        let push = Push { name: name.to_owned(), id: id.to_owned(), through, began, ended: Instant::now() };
        lock(&self.book).pushes.push(push);
    }

    fn refuse(&self, name: &str, id: &str, words: String) {
        let mut book = lock(&self.book);
        book.in_doubt.insert((name.to_owned(), id.to_owned()));
        book.refusals.push(words);
    }

    /// Creates references, a new name after each failure: what became of the old one is not known.
    fn create(&self, number: usize) {
        let (tip, through) = (self.site.tip.as_str(), number % SERVERS);
        for count in 0.. {
            if !self.goes_on() {
                break;
            }
            let (name, began) = (format!("{}{number}/{count}", references(self.run)), Instant::now());
            match self.site.raw(through).create_refs(tip, std::slice::from_ref(&name)) {
                Ok(()) => self.acknowledge(&name, tip, through, began),
                Err(error) => self.refuse(&name, tip, format!("{error:#}")),
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Pushes commits to a branch of its own, now small ones and now packs; one that fails is pushed again.
    fn pack(&self, number: usize) -> Result<()> {
        let (git, through, name) = (&self.site.git, number % SERVERS, format!("{}{number}", branches(self.run)));
        let (folder, url) = (git.init(&format!("packs-{}-{number}", self.run))?, self.site.url(through));
        let mut random = Sequence::new((self.run * PACKERS + number) as u64);
        for round in 0.. {
            if !self.goes_on() {
                break;
            }
            let size = if round % 2 == 0 { 1_000 } else { 400_000 };
            let text: String = random.bytes(size).iter().map(|byte| char::from(b'a' + byte % 26)).collect();
            let id = git.commit(&folder, &format!("file-{round}"), &text)?;
            while self.goes_on() {
                let began = Instant::now();
                let answer = git.run(&folder, &["push", "--quiet", "--force", &url, &format!("HEAD:{name}")])?;
                if answer.ok {
                    self.acknowledge(&name, &id, through, began);
                    break;
                }
                self.refuse(&name, &id, answer.stderr);
                std::thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    /// Lists references through each server by turns: what was acknowledged before is there, and what was there once.
    fn read(&self) {
        let prefix = references(self.run);
        let mut seen: [BTreeSet<String>; SERVERS] = Default::default();
        for turn in 0.. {
            if !self.goes_on() {
                break;
            }
            let (through, began) = (turn % SERVERS, Instant::now());
            let wanted = lock(&self.book).pushes.len();
            if let Ok(shown) = self.site.raw(through).ls_refs(&[&prefix]) {
                let shown: BTreeSet<String> = shown.into_iter().map(|(_, name)| name).collect();
                let mut book = lock(&self.book);
                let known =
                    book.pushes[..wanted].iter().map(|push| &push.name).filter(|name| name.starts_with(&prefix));
                let missing: Vec<String> = known.filter(|name| !shown.contains(*name)).cloned().collect();
                let gone: Vec<&String> = seen[through].difference(&shown).collect();
                if !missing.is_empty() || !gone.is_empty() {
                    let line =
                        format!("server {through} shows no {missing:?} (acknowledged), no {gone:?} (shown before)");
                    book.stale.push(line.chars().take(300).collect());
                }
                book.reads.push((began, through));
                seen[through] = shown;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Clones through each server by turns; a clone that comes is sound.
    fn clone_again(&self) -> Result<()> {
        let git = &self.site.git;
        for turn in 0.. {
            if !self.goes_on() {
                break;
            }
            let (name, through, began) = (format!("cloned-{}-{turn}.git", self.run), turn % SERVERS, Instant::now());
            let answer = git.run(&git.path(""), &["clone", "--quiet", "--mirror", &self.site.url(through), &name])?;
            if answer.ok {
                git.fsck(&git.path(&name))?;
                std::fs::remove_dir_all(git.path(&name))?;
                lock(&self.book).clones.push((began, through));
            }
            std::thread::sleep(PAUSE * 4);
        }
        Ok(())
    }

    /// Waits until a push that began after `since` was acknowledged by each server; gives the longest of these times.
    pub(crate) fn pushes_go_on(&self, since: Instant, limit: Duration) -> Result<Duration> {
        self.acknowledged_by_each(since, limit, |push| push.began >= since)
    }

    /// The same of pushes that may have begun before, when none could be acknowledged then.
    pub(crate) fn pushes_end(&self, since: Instant, limit: Duration) -> Result<Duration> {
        self.acknowledged_by_each(since, limit, |push| push.ended >= since)
    }

    fn acknowledged_by_each(
        &self,
        since: Instant,
        limit: Duration,
        counts: impl Fn(&Push) -> bool,
    ) -> Result<Duration> {
        let mut longest = Duration::ZERO;
        for server in 0..SERVERS {
            let time = wait::until(&format!("a push through server {server}"), limit, || {
                let book = lock(&self.book);
                let pushes = book.pushes.iter().filter(|push| push.through == server && counts(push));
                Ok(pushes.map(|push| push.ended - since).min())
            })?;
            longest = longest.max(time);
        }
        Ok(longest)
    }

    /// Waits until each server has shown references and given a clone that was asked for after `since`.
    pub(crate) fn reads_go_on(&self, since: Instant, limit: Duration) -> Result<()> {
        for (server, what) in (0..SERVERS).flat_map(|server| [(server, "a listing"), (server, "a clone")]) {
            wait::until(&format!("{what} through server {server}"), limit, || {
                let book = lock(&self.book);
                let done = if what == "a clone" { &book.clones } else { &book.reads };
                Ok(done.iter().any(|(began, through)| *through == server && *began >= since).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Pushes acknowledged so far.
    pub(crate) fn acknowledged(&self) -> usize {
        lock(&self.book).pushes.len()
    }

    /// Keeps all at work for a while.
    pub(crate) fn go_on(&self, time: Duration) -> Result<()> {
        let before = self.acknowledged();
        std::thread::sleep(time);
        ensure!(self.acknowledged() > before, "not one push in {time:?}");
        Ok(())
    }
}

impl Record {
    /// Acknowledged pushes that are not there; an error when something is there that nobody pushed.
    pub(crate) fn lost(&self, shown: &BTreeMap<String, String>) -> Result<Vec<&Push>> {
        let mut lost = Vec::new();
        let mut known: BTreeSet<(&str, &str)> = self.in_doubt.iter().map(|(name, id)| (&**name, &**id)).collect();
        let mut by_name: BTreeMap<&str, Vec<&Push>> = BTreeMap::new();
        for push in &self.pushes {
            known.insert((&push.name, &push.id));
            by_name.entry(&push.name).or_default().push(push);
        }
        for (name, pushes) in by_name {
            // Of a branch that moves, those after the one that is shown are lost; one in doubt came after all of them.
            let found = shown.get(name).map(String::as_str);
            let kept = match found {
                Some(id) if self.in_doubt.contains(&(name.to_owned(), id.to_owned())) => {
                    pushes.iter().position(|push| push.id == id).map_or(pushes.len(), |at| at + 1)
                }
                found => pushes.iter().position(|push| Some(push.id.as_str()) == found).map_or(0, |at| at + 1),
            };
            lost.extend(pushes.into_iter().skip(kept));
        }
        let ours = [references(self.run), branches(self.run)];
        for (name, id) in shown.iter().filter(|(name, _)| ours.iter().any(|prefix| name.starts_with(prefix))) {
            ensure!(known.contains(&(name.as_str(), id.as_str())), "{name} is at {id}, which nobody pushed");
        }
        Ok(lost)
    }

    /// Everything acknowledged is there.
    pub(crate) fn nothing_lost(&self, shown: &BTreeMap<String, String>) -> Result<()> {
        let lost = self.lost(shown)?;
        ensure!(
            lost.is_empty(),
            "{} of {} acknowledged pushes are gone: {:?}",
            lost.len(),
            self.pushes.len(),
            lost.first()
        );
        Ok(())
    }

    /// No listing lacked what was acknowledged before, or shown before.
    pub(crate) fn nothing_stale(&self) -> Result<()> {
        ensure!(self.stale.is_empty(), "{} stale listings, the first: {}", self.stale.len(), self.stale[0]);
        Ok(())
    }
}
