//! The proof that a bucket does what commits rest on, made at start-up with the client that will serve.
//!
//! Many stores say that they are S3 and ignore `If-None-Match`, or check it without a lock. Serving from one of those would lose
//! pushes, so it is refused, in words.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use model::clock::Random;

use crate::object::{Create, ObjectStore, StoreError};

/// Writers that race for one key.
const WRITERS: usize = 8;
/// Keys that are raced for.
const KEYS: usize = 4;
/// A store that does not answer within this time cannot be served from.
const TIMEOUT: Duration = Duration::from_mins(2);
/// Reads until the outcome of a doubtful write is taken as failed.
const READS: u32 = 5;

/// Why a bucket is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It does not do what is needed.
    #[error("the bucket cannot be used: {0}")]
    Unfit(String),
    /// It cannot be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It takes too long.
    #[error("the bucket did not answer within {} seconds", TIMEOUT.as_secs())]
    Timeout,
}

/// Proves a bucket, under a random prefix that is removed afterwards.
///
/// # Errors
/// The first thing that it does wrong.
pub async fn prove(store: &dyn ObjectStore, random: &dyn Random) -> Result<(), Refusal> {
    let mut token = [0; 8];
    random.fill(&mut token);
    let prefix = format!("probe/{}", hex::encode(token));
    let proof = async {
        let (create, race, missing) =
            tokio::join!(creates_once(store, &prefix), one_winner(store, &prefix), says_missing(store, &prefix));
        missing?;
        create?;
        race
    };
    let outcome = tokio::time::timeout(TIMEOUT, proof).await.unwrap_or(Err(Refusal::Timeout));
    clean_up(store, &prefix).await;
    outcome
}

/// A second create is refused, changes nothing, and the first is read back and listed at once.
async fn creates_once(store: &dyn ObjectStore, prefix: &str) -> Result<(), Refusal> {
    let key = format!("{prefix}/once");
    let first = Bytes::from_static(b"first");
    if !settled(store, &key, &first).await? {
        return unfit("it refuses to create an object that does not exist");
    }
    expect_body(store, &key, &first, "what was written is not what is read back").await?;
    let mut attempt = 0;
    loop {
        attempt += 1;
        match store.create(&key, Bytes::from_static(b"second")).await {
            Ok(Create::Exists) => break,
            Ok(Create::Created) => {
                return unfit(
                    "it ignores If-None-Match: a second create of the same key succeeded; pushes would overwrite each other",
                );
            }
            // Without a clear "it exists" no push could ever be told that it lost.
            Err(StoreError::Unknown { reason, .. }) if attempt > READS => {
                return unfit(&format!("it does not answer 412 to a second create of the same key ({reason})"));
            }
            Err(StoreError::Unknown { .. }) => tokio::time::sleep(Duration::from_millis(50 << attempt)).await,
            Err(error) => return Err(error.into()),
        }
    }
    expect_body(store, &key, &first, "it answers that the object exists, but writes all the same").await?;
    let listed = store.list(&format!("{prefix}/on"), None, 10).await?;
    if !listed.iter().any(|object| object.key == key && object.size == first.len() as u64) {
        return unfit("it does not list an object right after its creation");
    }
    reads_files(store, prefix).await
}

/// A file comes back as it went.
async fn reads_files(store: &dyn ObjectStore, prefix: &str) -> Result<(), Refusal> {
    let key = format!("{prefix}/file");
    let local = |error: std::io::Error| Refusal::Unfit(format!("no temporary file could be written: {error}"));
    let folder = tempfile::tempdir().map_err(local)?;
    let (up, down) = (folder.path().join("up"), folder.path().join("down"));
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
    std::fs::write(&up, &content).map_err(local)?;
    store.upload(&key, &up).await?;
    if !store.download(&key, &down, content.len() as u64).await? {
        return unfit("it does not find a file right after its upload");
    }
    if std::fs::read(&down).map_err(local)? == content {
        Ok(())
    } else {
        unfit("a file comes back with other bytes than were sent")
    }
}

/// Of many writers of one key exactly one wins, and its bytes are the ones that stay.
async fn one_winner(store: &dyn ObjectStore, prefix: &str) -> Result<(), Refusal> {
    try_join_all((0..KEYS).map(|key| race(store, format!("{prefix}/race-{key}")))).await.map(drop)
}

async fn race(store: &dyn ObjectStore, key: String) -> Result<(), Refusal> {
    let body = |writer: usize| Bytes::from(format!("writer {writer}"));
    let attempts = (0..WRITERS).map(|writer| store.create(&key, body(writer)));
    let answers = join_all(attempts).await;
    let mut winners = HashSet::new();
    for (writer, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(Create::Created) => drop(winners.insert(writer)),
            Ok(Create::Exists) | Err(StoreError::Unknown { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if winners.len() > 1 {
        let mut what = String::new();
        let _ = write!(
            what,
            "of {WRITERS} simultaneous creates of one key {} succeeded; pushes would overwrite each other",
            winners.len()
        );
        return unfit(&what);
    }
    let Some(found) = store.get(&key).await? else {
        return unfit("after simultaneous creates of one key the object is not there");
    };
    match winners.into_iter().next() {
        Some(winner) if found != body(winner) => {
            unfit("the object holds the bytes of a writer that was told that it had lost")
        }
        _ => Ok(()),
    }
}

/// A missing key is missing, and not forbidden.
async fn says_missing(store: &dyn ObjectStore, prefix: &str) -> Result<(), Refusal> {
    match store.get(&format!("{prefix}/missing")).await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => unfit("it returns something for a key that was never written"),
        Err(StoreError::Refused { reason, .. }) => unfit(&format!(
            "it does not answer 404 for a missing key ({reason}); without s3:ListBucket S3 answers 403 instead"
        )),
        Err(error) => Err(error.into()),
    }
}

/// Creates, and reads when the answer is doubtful: did our bytes get there?
async fn settled(store: &dyn ObjectStore, key: &str, body: &Bytes) -> Result<bool, Refusal> {
    let mut read = 0;
    loop {
        match store.create(key, body.clone()).await {
            Ok(Create::Created) => return Ok(true),
            Ok(Create::Exists) => return Ok(store.get(key).await?.as_ref() == Some(body)),
            Err(error @ StoreError::Unknown { .. }) => {
                read += 1;
                if read > READS {
                    return Err(error.into());
                }
                tokio::time::sleep(Duration::from_millis(100 << read)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn expect_body(store: &dyn ObjectStore, key: &str, body: &Bytes, otherwise: &str) -> Result<(), Refusal> {
    if store.get(key).await?.as_ref() == Some(body) { Ok(()) } else { unfit(otherwise) }
}

fn unfit<T>(what: &str) -> Result<T, Refusal> {
    Err(Refusal::Unfit(what.to_owned()))
}

async fn clean_up(store: &dyn ObjectStore, prefix: &str) {
    let Ok(objects) = store.list(&format!("{prefix}/"), None, 100).await else { return };
    for object in objects {
        if let Err(error) = store.delete(&object.key).await {
            tracing::warn!(object.key = object.key, %error, "failed to remove an object of the start-up proof");
        }
    }
}

#[cfg(test)]
mod tests;
