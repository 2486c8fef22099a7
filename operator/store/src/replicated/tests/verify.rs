//! What one store has lost or has damaged is noticed, told, and written anew from another one's copy that was verified (ADR 0021).

use std::collections::BTreeSet;

use model::encryption::{Envelope, SecretKey, WrappingKey};
use model::lfs::Oid;

use super::*;
use crate::digest::sha256;
use crate::testing::{Sabotage, sabotage};
use crate::{Surplus, Verified};

const NAMES: [&str; 3] = ["default", "far", "third"];
/// A scrub is due in each round.
const SCRUBBING: Policy = Policy { scrub_interval: Duration::ZERO, ..policy() };

/// Checkpoints are written soon.
const fn policy() -> Policy {
    let day = Duration::from_hours(24);
    Policy {
        grace: day,
        unreachable_retention: day,
        lfs_retention: day,
        log_retention: day,
        scrub_interval: day,
        scrub_rate: u64::MAX,
        fold_packs: 1_000,
        table_objects: u64::MAX,
        checkpoint_entries: 4,
        base_changes: 1,
    }
}

fn envelope() -> Envelope {
    let secret = SecretKey::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    let fingerprint = secret.fingerprint();
    let secrets = BTreeMap::from([(fingerprint.clone(), secret)]);
    Envelope { wrap_with: WrappingKey::Secret { fingerprint }, secrets, data_key: 1 }
}

/// A repository with all that stores keep, in three stores.
struct Kept {
    bed: Bed,
    server: Server,
    repository: Arc<Repository>,
}

impl Kept {
    async fn new(policy: Policy, envelope: Option<Envelope>) -> Self {
        let bed = Bed::new(ReplicationMode::Synchronous, &["far", "third"], None).encrypted(envelope);
        let server = bed.server_with(policy);
        for number in 1..10 {
            pushed(&server, number, if number % 4 == 1 { 300 << 10 } else { 50 }).await.unwrap();
        }
        let repository = server.open().await;
        let content = vec![3; 70_000];
        let (objects, oid) = (server.repositories.lfs(repository.id()), Oid::of(sha256(&content)));
        objects.keep(objects.receive(oid, content.len() as u64, &mut &*content).unwrap()).await.unwrap();
        let kept = Self { bed, server, repository };
        kept.copied().await;
        kept
    }

    /// Waits until replicas have what follows from the log, too.
    async fn copied(&self) {
        let derived = |name: &str| {
            let keys = self.bed.site(name).objects.keys();
            keys.into_iter()
                .filter(|key| key.contains("/checkpoint/") || key.contains("/references/"))
                .collect::<Vec<_>>()
        };
        for _ in 0..400 {
            let at_home = derived("default");
            if !at_home.is_empty() && NAMES.iter().all(|name| derived(name) == at_home) {
                in_step(&self.repository).await;
                return;
            }
            if let Some(replicated) = &self.server.repositories.shared(self.repository.id()).replicated {
                replicated.kick(Depth::Everything);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("replicas lack what follows from the log");
    }

    async fn verify(&self, mends: bool) -> Verified {
        self.server.repositories.verify(&path(), mends).await.unwrap().unwrap()
    }

    /// All objects of all stores but hints, which nobody believes.
    fn objects(&self) -> BTreeMap<(&'static str, String), Bytes> {
        let of = |name: &'static str| {
            let objects = self.bed.site(name).objects.clone();
            objects.keys().into_iter().filter(|key| !key.ends_with("/hint")).map(move |key| {
                let body = objects.body(&key);
                ((name, key), body)
            })
        };
        NAMES.into_iter().flat_map(of).collect()
    }

    /// Keys of what has to be in every store.
    fn keys(&self) -> Vec<String> {
        let keys = self.bed.site("third").objects.keys();
        keys.into_iter().filter(|key| !key.ends_with("/hint") && !key.contains("/promotion/")).collect()
    }

    /// Each store alone is a sound repository with everything.
    async fn is_sound(&self) -> Result<(), String> {
        for name in NAMES {
            let alone = self.bed.alone(name);
            let report = alone.repositories.check(&path()).await.map_err(|error| format!("'{name}': {error}"))?;
            let report = report.ok_or_else(|| format!("'{name}' has nothing"))?;
            if let Some(problem) = report.problems.first() {
                return Err(format!("'{name}': {problem}"));
            }
            if (report.packs, report.lfs_objects, report.entries) != (9, 1, self.repository.known().generation) {
                return Err(format!("'{name}': {report:?}"));
            }
        }
        Ok(())
    }
}

fn problems(found: &Verified) -> Vec<String> {
    found.stores.iter().flat_map(|store| &store.problems).cloned().collect()
}

fn mended(found: &Verified) -> Vec<String> {
    found.stores.iter().flat_map(|store| &store.mended).cloned().collect()
}

/// Damages a copy in one of three ways.
async fn damage(site: &Site, key: &str, way: u64) {
    match way {
        0 => site.objects.tamper(key, |bytes| {
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
        }),
        1 => site.objects.tamper(key, |bytes| bytes.truncate(bytes.len() / 2)),
        _ => site.objects.delete(key).await.unwrap(),
    }
}

#[tokio::test]
async fn all_copies_of_a_sound_repository_are_sound() {
    for envelope in [None, Some(envelope())] {
        let kept = Kept::new(policy(), envelope).await;
        let before = kept.objects();
        let found = kept.verify(true).await;
        assert_eq!((problems(&found), mended(&found)), (vec![], vec![]));
        assert_eq!(found.stores.iter().map(|store| &*store.store).collect::<Vec<_>>(), NAMES);
        for store in &found.stores {
            assert_eq!((store.generation, store.behind, &store.away), (kept.repository.known().generation, 0, &None));
            assert!(store.objects > 15 && store.surplus == Surplus::default(), "{store:?}");
        }
        assert!(kept.objects() == before, "nothing was to be written");
        kept.is_sound().await.unwrap();
    }
}

/// Every object, in every store, in every way: noticed, and mended by bytes that another store has.
async fn each_is_mended(envelope: Option<Envelope>) {
    let kept = Kept::new(policy(), envelope).await;
    let before = kept.objects();
    // Without an entry behind it, only a server that runs knows what the last one was; and a replica without it is behind.
    let last = keys::log_entry(kept.repository.id(), kept.repository.known().generation);
    for (store, key) in NAMES.into_iter().flat_map(|name| kept.keys().into_iter().map(move |key| (name, key))) {
        let is_catalog = key.starts_with("catalog/");
        let is_derived = key.contains("/checkpoint/") || key.contains("/references/");
        for way in 0..3 {
            if way == 2 && (is_derived || is_catalog || key == last) || key == last && store == "default" {
                continue;
            }
            let note = format!("{key} in '{store}', way {way}");
            damage(kept.bed.site(store), &key, way).await;
            let damaged = kept.objects();
            let told = problems(&kept.verify(false).await);
            assert!(!told.is_empty() && told.iter().all(|line| line.contains(&key)), "{note}: {told:?}");
            assert!(told[0].contains(store), "{note}: {told:?}");
            assert!(kept.objects() == damaged, "{note}: it was only to be read");
            let found = kept.verify(true).await;
            assert_eq!((problems(&found), mended(&found).len()), (vec![], 1), "{note}");
            assert!(kept.objects() == before, "{note}: it is not as it was");
        }
    }
}

#[tokio::test]
async fn whatever_one_store_has_lost_comes_back_from_another() {
    each_is_mended(None).await;
}

#[tokio::test]
async fn what_is_encrypted_is_verified_and_comes_back_too() {
    each_is_mended(Some(envelope())).await;
}

#[tokio::test]
async fn the_last_entry_comes_back_where_a_server_knows_it() {
    for way in 0..3 {
        let kept = Kept::new(SCRUBBING, None).await;
        let last = keys::log_entry(kept.repository.id(), kept.repository.known().generation);
        let whole = kept.bed.site("far").objects.body(&last);
        damage(kept.bed.site("default"), &last, way).await;
        if way < 2 {
            let found = kept.verify(true).await;
            assert!(problems(&found).len() == 1 && mended(&found).is_empty(), "nobody vouches for it: {found:?}");
            // Neither is it copied to where a good one is.
            kept.server.repositories.replicate(&path()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(kept.bed.site("far").objects.body(&last), whole);
        }
    }
}

#[tokio::test]
async fn a_scrub_mends_tells_and_counts() {
    let kept = Kept::new(SCRUBBING, None).await;
    let done = kept.server.repositories.maintain(&path()).await.unwrap();
    assert_eq!((done.damaged, done.mended), (0, 0));
    let keys = kept.keys();
    let pack = keys.iter().find(|key| key.contains("/packs/")).unwrap();
    damage(kept.bed.site("default"), pack, 0).await;
    damage(kept.bed.site("far"), pack, 2).await;
    let content = keys.iter().find(|key| key.contains("/lfs/") && !key.contains(".sums")).unwrap();
    damage(kept.bed.site("third"), content, 1).await;
    let done = kept.server.repositories.maintain(&path()).await.unwrap();
    assert_eq!((done.damaged, done.mended), (0, 3));
    let scrub = kept.repository.known().upkeep.scrub.clone().unwrap();
    assert_eq!(scrub.problems, Vec::<String>::new());
    assert!(scrub.mended.len() == 3 && scrub.mended[0].contains(pack), "{:?}", scrub.mended);
    kept.is_sound().await.unwrap();
    let told = kept.server.repositories.check(&path()).await.unwrap().unwrap();
    assert_eq!((told.problems, told.mended), (vec![], scrub.mended));
    // What is in no store is told, and not mended by anything.
    for name in NAMES {
        damage(kept.bed.site(name), pack, 0).await;
    }
    let done = kept.server.repositories.maintain(&path()).await.unwrap();
    assert_eq!((done.damaged, done.mended), (3, 0));
}

#[tokio::test]
async fn what_the_primary_store_has_lost_is_not_taken_from_its_replicas() {
    let kept = Kept::new(Policy { grace: Duration::ZERO, ..policy() }, None).await;
    let lost: BTreeSet<String> =
        kept.keys().into_iter().filter(|key| key.contains("/packs/") || key.contains("/lfs/")).collect();
    for key in &lost {
        damage(kept.bed.site("default"), key, 2).await;
    }
    for _ in 0..2 {
        kept.server.repositories.maintain(&path()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let left: BTreeSet<String> = kept.bed.site("far").objects.keys().into_iter().collect();
    assert!(left.is_superset(&lost), "{:?}", lost.difference(&left).collect::<Vec<_>>());
    let found = kept.verify(true).await;
    assert_eq!((problems(&found), mended(&found).len()), (vec![], lost.len()));
    kept.is_sound().await.unwrap();
}

#[tokio::test]
async fn a_store_that_does_not_answer_has_nothing_copies_or_is_behind_is_told() {
    let kept = Kept::new(policy(), None).await;
    kept.bed.site("far").cut_off(true);
    let found = kept.verify(true).await;
    assert!(found.stores[1].away.as_ref().is_some_and(|reason| reason.contains("cut off")), "{found:?}");
    assert_eq!(problems(&found), Vec::<String>::new());
    kept.bed.site("far").cut_off(false);
    let third = kept.bed.site("third");
    for key in third.objects.keys() {
        third.objects.delete(&key).await.unwrap();
    }
    let found = kept.verify(false).await;
    assert!(found.stores[2].is_absent && problems(&found).is_empty(), "{found:?}");
    let far = kept.bed.site("far");
    let last = kept.repository.known().generation;
    for number in [last - 1, last] {
        far.objects.delete(&keys::log_entry(kept.repository.id(), number)).await.unwrap();
    }
    assert_eq!(kept.verify(false).await.stores[1].behind, 2);
}

#[tokio::test]
async fn after_promotions_entries_come_back_to_the_logs_that_they_were_in() {
    let kept = Kept::new(policy(), None).await;
    for (to, number) in [("far", 20), ("third", 21), ("default", 22)] {
        kept.server.repositories.promote(&path(), to, Loss::Refuse).await.unwrap();
        pushed(&kept.server, number, 50).await.unwrap();
        kept.copied().await;
    }
    let found = kept.verify(false).await;
    assert_eq!((found.epoch, problems(&found)), (3, vec![]));
    let before = kept.objects();
    let is_entry = |key: &&String| key.contains("/log") && key.rsplit('/').next().is_some_and(|name| name.len() == 20);
    let last = kept.repository.snapshot().await.unwrap().generation;
    for (store, key) in NAMES.into_iter().flat_map(|name| kept.keys().into_iter().map(move |key| (name, key))) {
        let body = kept.bed.site(store).objects.body(&key);
        if !is_entry(&&key) || body.len() == epoch::MARKER.len() || keys::number(&key) == Some(last) {
            continue;
        }
        for way in 0..3 {
            damage(kept.bed.site(store), &key, way).await;
            let found = kept.verify(true).await;
            assert_eq!((problems(&found), mended(&found).len()), (vec![], 1), "{key} in '{store}', way {way}");
            assert!(kept.objects() == before, "{key} in '{store}', way {way}: it is not as it was");
        }
    }
}

/// Random numbers of a seed (`SplitMix64`).
fn dice(state: &mut u64, most: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % most
}

/// Damages some copies of some objects, in each store but one, and has them mended: afterwards each store alone has everything.
async fn run(seed: u64) -> Result<(), String> {
    let mut state = seed;
    let kept = Kept::new(SCRUBBING, (dice(&mut state, 2) == 0).then(envelope)).await;
    let last = keys::log_entry(kept.repository.id(), kept.repository.known().generation);
    for key in kept.keys().into_iter().filter(|key| *key != last && !key.starts_with("catalog/")) {
        let spared = dice(&mut state, 3);
        for (at, name) in (0..).zip(NAMES) {
            if at != spared && dice(&mut state, 4) == 0 {
                let is_derived = key.contains("/checkpoint/") || key.contains("/references/");
                damage(kept.bed.site(name), &key, dice(&mut state, if is_derived { 1 } else { 3 })).await;
            }
        }
    }
    if dice(&mut state, 2) == 0 {
        kept.verify(true).await;
    } else {
        kept.server.repositories.maintain(&path()).await.map_err(|error| error.to_string())?;
        in_step(&kept.repository).await;
    }
    kept.is_sound().await
}

fn run_alone(seed: u64) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(run(seed))
}

#[test]
fn whatever_is_damaged_in_all_stores_but_one_is_mended_in_all() {
    for seed in 0..30 {
        run_alone(seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

#[test]
fn copies_that_are_written_anew_from_one_that_was_not_verified_are_caught() {
    sabotage(Some(Sabotage::RepairUnverified));
    let caught = (0..10).any(|seed| run_alone(seed).is_err());
    sabotage(None);
    assert!(caught, "it goes unnoticed");
}
