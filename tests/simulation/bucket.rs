//! The bucket: objects, each with its history, and what each server's requests to it go through.
//!
//! Creates and reads are linearizable, as the store requires of a bucket; everything else that a real one or the way to it can do
//! is done here: see [`weather`].

pub(crate) mod handle;
pub(crate) mod weather;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use model::encryption::SecretKey;
use store::{Create, ObjectMeta};

use crate::dice::Dice;
use crate::ledger::{Ledger, Promises};
use crate::world::{World, time};
use weather::Weather;

/// What is asked of the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    Create,
    Put,
    Upload,
    Get,
    Download,
    Delete,
    List,
}

/// Kinds of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Catalog,
    Hint,
    Log,
    Checkpoint,
    References,
    Pack,
    Index,
    Table,
    Other,
}

/// A call of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    pub(crate) operation: Operation,
    pub(crate) kind: Kind,
}

impl Class {
    pub(crate) fn new(operation: Operation, kind: Kind) -> Self {
        Self { operation, kind }
    }

    pub(crate) fn of(operation: Operation, key: &str) -> Self {
        Self::new(operation, Kind::of(key))
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.operation, self.kind)
    }
}

impl Kind {
    pub(crate) fn of(key: &str) -> Self {
        if key.starts_with("catalog/") {
            return Self::Catalog;
        }
        let Some((_, rest)) = key.split_once('/') else { return Self::Other };
        let folder = rest.split_once('/').map_or(rest, |(folder, _)| folder);
        match folder {
            "hint" => Self::Hint,
            "log" => Self::Log,
            "checkpoint" => Self::Checkpoint,
            "references" => Self::References,
            "packs" if key.contains(".idx") => Self::Index,
            "packs" if key.contains(".reach") => Self::Table,
            "packs" => Self::Pack,
            _ => Self::Other,
        }
    }
}

/// What a key held from a time on.
#[derive(Debug, Clone)]
struct Version {
    since: Duration,
    body: Option<Bytes>,
}

/// The key that wraps the data keys of every encrypted repository.
pub(crate) fn wrapping_key() -> SecretKey {
    SecretKey::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
        .expect("because it is base64 of 32 different bytes")
}

/// The bucket.
pub(crate) struct Bucket {
    pub(crate) world: Arc<World>,
    /// What the log says by what was written to it.
    pub(crate) ledger: Ledger,
    objects: Mutex<BTreeMap<String, Vec<Version>>>,
    /// What was encrypted with which nonces.
    nonces: Mutex<BTreeMap<String, Bytes>>,
    weather: Mutex<Weather>,
    dice: Mutex<Dice>,
}

impl Bucket {
    pub(crate) fn new(world: Arc<World>, weather: Weather, promises: Promises) -> Self {
        let dice = Mutex::new(world.dice("bucket"));
        let ledger = Ledger::new(Arc::clone(&world), promises);
        Self { world, ledger, objects: Mutex::default(), nonces: Mutex::default(), weather: Mutex::new(weather), dice }
    }

    /// From now on the weather is this.
    pub(crate) fn set_weather(&self, weather: Weather) {
        *self.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }

    /// Whether bytes may come out other than they are.
    pub(crate) fn may_damage(&self) -> bool {
        self.weather().corrupt > 0
    }

    fn weather(&self) -> Weather {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn dice(&self) -> MutexGuard<'_, Dice> {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Version>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing else was ever encrypted with the same nonces.
    fn check_nonces(&self, key: &str, body: &Bytes) {
        let Some(nonces) = store::testing::nonces(key, body) else { return };
        let mut seen = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.insert(nonces, body.clone()).is_some_and(|before| before != *body) {
            self.world.violation(format!("{key}: nonces were used twice"));
        }
    }

    /// What was written, for who has the key that it is encrypted with.
    pub(crate) fn revealed(&self, key: &str, body: &Bytes) -> Option<Bytes> {
        let revealed = store::testing::revealed(&|key| self.get(key), key, body, &wrapping_key());
        revealed.inspect_err(|problem| self.world.violation(format!("{key}: {problem}"))).ok()
    }

    /// What the key says now.
    pub(crate) fn read(&self, key: &str) -> Option<Bytes> {
        self.revealed(key, &self.get(key)?)
    }

    /// What the key holds now.
    pub(crate) fn get(&self, key: &str) -> Option<Bytes> {
        self.objects().get(key)?.last()?.body.clone()
    }

    /// All keys that hold something.
    pub(crate) fn keys(&self) -> Vec<String> {
        let objects = self.objects();
        let held = objects.iter().filter(|(_, versions)| versions.last().is_some_and(|last| last.body.is_some()));
        held.map(|(key, _)| key.clone()).collect()
    }

    fn write(&self, key: &str, body: Option<Bytes>) {
        if let Some(body) = &body {
            self.check_nonces(key, body);
        }
        let version = Version { since: self.world.now(), body };
        self.objects().entry(key.to_owned()).or_default().push(version);
    }

    fn create(&self, key: &str, body: &Bytes) -> Create {
        if self.get(key).is_some() {
            return Create::Exists;
        }
        self.write(key, Some(body.clone()));
        if let Some(body) = self.revealed(key, body) {
            self.ledger.created(self, key, &body);
        }
        Create::Created
    }

    fn put(&self, key: &str, body: &Bytes) {
        if let Some(body) = self.revealed(key, body) {
            self.ledger.replaced(self, key, &body);
        }
        self.write(key, Some(body.clone()));
    }

    fn delete(&self, key: &str) {
        if self.get(key).is_some() {
            self.ledger.deleted(self, key);
            self.write(key, None);
        }
    }

    /// A listing that may show keys that were written or deleted within `stale` as they were before.
    fn list(&self, prefix: &str, after: Option<&str>, limit: usize, stale: Duration) -> Vec<ObjectMeta> {
        let now = self.world.now();
        let mut listed = Vec::new();
        let objects = self.objects();
        let below = objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        for (key, versions) in below.filter(|(key, _)| after.is_none_or(|after| key.as_str() > after)) {
            let fresh = stale.is_zero() || self.dice().chance(500);
            let shown = versions.iter().rev().find(|version| fresh || version.since + stale <= now);
            if let Some(Version { since, body: Some(body) }) = shown {
                listed.push(ObjectMeta { key: key.clone(), size: body.len() as u64, modified: Some(time(*since)) });
            }
            if listed.len() == limit {
                break;
            }
        }
        listed
    }
}
