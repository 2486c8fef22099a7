//! A server's way to the bucket, and what the S3 backend makes of what happens on it.
//!
//! As there, a create is one attempt and everything else is tried four times. What was sent is carried out whatever becomes of its
//! sender; a server that is dead or stands still neither sends anything nor sees an answer.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use store::{Create, ObjectMeta, ObjectStore, StoreError};
use tokio::sync::oneshot;

use super::weather::{Fate, ZOMBIE};
use super::{Bucket, Class, Kind, Operation};
use crate::life::{Life, Phase};

const ATTEMPTS: u32 = 4;
/// After this time a client gives an attempt up.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The bucket as one incarnation of a server reaches it.
#[derive(Clone)]
pub(crate) struct Handle {
    bucket: Arc<Bucket>,
    life: Arc<Life>,
}

/// Carries a request out; more than once when it is sent more than once.
type Effect<T> = Arc<dyn Fn(&Bucket) -> T + Send + Sync>;

/// Why an attempt gave no answer.
enum Trouble {
    Unknown(&'static str),
    Refused,
}

/// How long the legs of a request take, and what becomes of it.
struct Journey {
    fate: Fate,
    request: Duration,
    answer: Duration,
}

impl Handle {
    pub(crate) fn new(bucket: Arc<Bucket>, life: Arc<Life>) -> Self {
        Self { bucket, life }
    }

    /// Sends one request and waits for its answer.
    async fn attempt<T: Send + 'static>(&self, class: Class, key: &str, effect: &Effect<T>) -> Result<T, Trouble> {
        self.life.awake().await;
        if class.operation == Operation::List && crate::server::on_request_path() && !self.life.may_list() {
            // Listings cost time and may be stale: no request waits for one, unless the log that a server knew is truncated.
            self.bucket.world.violation(format!("{} lists {} on a request path", self.life.name, short(key)));
        }
        self.life.may_crash(class, Phase::Before).await;
        let Journey { fate, request, answer } = self.journey(class);
        self.bucket.world.trace(format_args!("{} {class} {} {}", self.life.name, short(key), fate.name()));
        if let Fate::Busy | Fate::Refused | Fate::RequestLost = fate {
            tokio::time::sleep(if fate == Fate::RequestLost { TIMEOUT } else { request + answer }).await;
            self.life.awake().await;
            return Err(if fate == Fate::Refused { Trouble::Refused } else { Trouble::Unknown(fate.name()) });
        }
        let answered = self.send(class, key, effect, request, fate == Fate::Twice);
        self.life.may_crash(class, Phase::Sent).await;
        let outcome = match fate {
            Fate::Zombie | Fate::AnswerLost => {
                tokio::time::sleep(TIMEOUT).await;
                Err(Trouble::Unknown(fate.name()))
            }
            _ => tokio::time::timeout(TIMEOUT, answered).await.map_err(|_| Trouble::Unknown("timeout")),
        };
        self.life.may_crash(class, Phase::Answered).await;
        tokio::time::sleep(answer).await;
        self.life.awake().await;
        match (fate, outcome?) {
            (Fate::FailedButDone | Fate::Cut, _) => Err(Trouble::Unknown(fate.name())),
            (_, Ok(answer)) => Ok(answer),
            // Only what was sent by a server that is dead gets lost without a time-out.
            (_, Err(_)) => std::future::pending().await,
        }
    }

    fn journey(&self, class: Class) -> Journey {
        let (weather, mut dice) = (self.bucket.weather(), self.bucket.dice());
        let fate = weather.fate(class, &mut dice);
        if fate != Fate::Done {
            self.bucket.world.count(fate.name());
        }
        let request = if fate == Fate::Zombie {
            dice.time(Duration::from_secs(1), ZOMBIE)
        } else {
            weather.leg(class, &mut dice)
        };
        Journey { fate, request, answer: weather.leg(class, &mut dice) }
    }

    /// What is on its way arrives even if its sender is gone, most of it.
    fn send<T: Send + 'static>(
        &self,
        class: Class,
        key: &str,
        effect: &Effect<T>,
        delay: Duration,
        twice: bool,
    ) -> oneshot::Receiver<T> {
        let (answer, answered) = oneshot::channel();
        let (bucket, life, effect) = (Arc::clone(&self.bucket), Arc::clone(&self.life), Arc::clone(effect));
        let key = short(key).to_owned();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            if life.is_dead() {
                if bucket.dice().chance(250) {
                    bucket.world.trace(format_args!("{} {class} {key} lost with its sender", life.name));
                    return;
                }
                bucket.world.count("request of a dead server");
            }
            let mut done = effect(&bucket);
            bucket.world.trace(format_args!("{} {class} {key} carried out", life.name));
            if twice {
                let again = bucket.dice().millis(1, 50);
                tokio::time::sleep(again).await;
                done = effect(&bucket);
            }
            let _ = answer.send(done);
        });
        answered
    }

    /// A request that may be sent more than once.
    async fn retried<T: Send + 'static>(
        &self,
        class: Class,
        key: &str,
        effect: impl Fn(&Bucket) -> T + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        let effect: Effect<T> = Arc::new(effect);
        let (key, operation) = (key.to_owned(), name(class.operation));
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.attempt(class, &key, &effect).await {
                Ok(answer) => return Ok(answer),
                Err(Trouble::Refused) => return Err(refused(operation, key)),
                Err(Trouble::Unknown(reason)) if attempt == ATTEMPTS => {
                    return Err(StoreError::Unavailable { operation, key, reason: reason.to_owned() });
                }
                Err(Trouble::Unknown(_)) => tokio::time::sleep(Duration::from_millis(50 << attempt)).await,
            }
        }
    }

    async fn read(&self, operation: Operation, key: &str) -> Result<Option<Bytes>, StoreError> {
        let class = Class::of(operation, key);
        let wanted = key.to_owned();
        let body = self.retried(class, key, move |bucket| bucket.get(&wanted)).await?;
        let Some(body) = body.filter(|body| !body.is_empty()) else { return Ok(None) };
        if class.kind == Kind::Log {
            self.bucket.revealed(key, &body).iter().for_each(|body| self.life.reads(body));
        }
        let (weather, mut dice) = (self.bucket.weather(), self.bucket.dice());
        if !dice.chance(weather.corrupt) {
            return Ok(Some(body));
        }
        let mut bytes = body.to_vec();
        let place = dice.below(bytes.len());
        if dice.chance(500) {
            bytes.truncate(place);
        } else if let Some(byte) = bytes.get_mut(place) {
            *byte ^= 1 << dice.below(8);
        }
        self.bucket.world.count("corrupt body");
        self.bucket.world.trace(format_args!("{} {class} {} corrupt", self.life.name, short(key)));
        Ok(Some(bytes.into()))
    }
}

#[async_trait]
impl ObjectStore for Handle {
    async fn create(&self, key: &str, body: Bytes) -> Result<Create, StoreError> {
        let wanted = key.to_owned();
        let effect: Effect<Create> = Arc::new(move |bucket| bucket.create(&wanted, &body));
        match self.attempt(Class::of(Operation::Create, key), key, &effect).await {
            Ok(answer) => Ok(answer),
            Err(Trouble::Refused) => Err(refused("create", key.to_owned())),
            Err(Trouble::Unknown(reason)) => {
                Err(StoreError::Unknown { operation: "create", key: key.to_owned(), reason: reason.to_owned() })
            }
        }
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        let wanted = key.to_owned();
        self.retried(Class::of(Operation::Put, key), key, move |bucket| bucket.put(&wanted, &body)).await
    }

    async fn upload(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        self.life.awake().await;
        let body = std::fs::read(file).map_err(|error| local("upload", key, &error))?;
        let (wanted, body) = (key.to_owned(), Bytes::from(body));
        self.retried(Class::of(Operation::Upload, key), key, move |bucket| bucket.put(&wanted, &body)).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.read(Operation::Get, key).await
    }

    async fn download(&self, key: &str, file: &Path, size: u64) -> Result<bool, StoreError> {
        let Some(body) = self.read(Operation::Download, key).await? else { return Ok(false) };
        if body.len() as u64 != size {
            let reason = format!("it has {} bytes", body.len());
            return Err(StoreError::Damaged { key: key.to_owned(), reason });
        }
        std::fs::write(file, body).map(|()| true).map_err(|error| local("download", key, &error))
    }

    /// Packs of the simulation are a single chunk.
    async fn download_range(&self, key: &str, _: &Path, _: Range<u64>, _: u64) -> Result<bool, StoreError> {
        Err(refused("download", key.to_owned()))
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let wanted = key.to_owned();
        self.retried(Class::of(Operation::Delete, key), key, move |bucket| bucket.delete(&wanted)).await
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        let (below, after) = (prefix.to_owned(), start_after.map(str::to_owned));
        let listed = move |bucket: &Bucket| {
            let staleness = bucket.weather().staleness(&mut bucket.dice());
            if !staleness.is_zero() {
                bucket.world.count("stale list");
            }
            bucket.list(&below, after.as_deref(), limit, staleness)
        };
        self.retried(Class::of(Operation::List, prefix), prefix, listed).await
    }
}

fn name(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "create",
        Operation::Put => "put",
        Operation::Upload => "upload",
        Operation::Get => "get",
        Operation::Download => "download",
        Operation::Delete => "delete",
        Operation::List => "list",
    }
}

/// A key without the repository's id: for the trace.
fn short(key: &str) -> &str {
    if key.starts_with("catalog/") { key } else { key.split_once('/').map_or(key, |(_, rest)| rest) }
}

fn refused(operation: &'static str, key: String) -> StoreError {
    StoreError::Refused { operation, key, reason: "403 AccessDenied".to_owned() }
}

fn local(operation: &'static str, key: &str, error: &std::io::Error) -> StoreError {
    StoreError::Unavailable { operation, key: key.to_owned(), reason: error.to_string() }
}
