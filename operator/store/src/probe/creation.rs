//! Create-if-absent: the commit.

use std::time::Duration;

use bytes::Bytes;
use futures::future::{join_all, try_join_all};

use super::report::Finding;
use super::site::Site;
use super::{Checked, Refusal, unfit};
use crate::object::{Create, ObjectStore, StoreError};

/// Tries until the outcome of a doubtful write is taken as failed.
const TRIES: u32 = 5;

/// Bytes of a racer's object, as entries with small packs have: stores that look first and write later do so the later.
const BODY: usize = 64 << 10;

/// How many race for how many keys.
#[derive(Clone, Copy)]
pub(super) struct Race {
    pub(super) writers: usize,
    pub(super) keys: usize,
}

/// A second create is refused and changes nothing.
pub(super) async fn create_if_absent(site: &Site<'_>) -> Checked {
    let (store, key, first) = (site.store, site.key("once"), Bytes::from_static(b"first"));
    if !settled(store, &key, &first).await? {
        return unfit("it refuses to create an object that does not exist");
    }
    let mut tries = 0;
    loop {
        tries += 1;
        match store.create(&key, Bytes::from_static(b"second")).await {
            Ok(Create::Exists) => break,
            Ok(Create::Created) => {
                return unfit(
                    "it ignores If-None-Match: a second create of the same key succeeded; pushes would overwrite each other",
                );
            }
            // Without a clear "it exists" no push could ever be told that it lost.
            Err(StoreError::Unknown { reason, .. }) if tries > TRIES => {
                return unfit(format!("it does not answer 412 to a second create of the same key ({reason})"));
            }
            Err(StoreError::Unknown { .. }) => tokio::time::sleep(Duration::from_millis(50 << tries)).await,
            Err(error) => return Err(error.into()),
        }
    }
    if store.get(&key).await?.as_ref() != Some(&first) {
        return unfit("it answers that the object exists, but writes all the same");
    }
    Ok(Finding::ok("a second create of the same key is refused, and the first object stays"))
}

/// Of many writers of one key exactly one wins, and its bytes are the ones that stay; writers take turns with the clients.
pub(super) async fn race(site: &Site<'_>, clients: &[&dyn ObjectStore], race: Race) -> Checked {
    let Race { writers, keys } = race;
    // Each gets its connection before: who still has to connect comes too late to win wrongly.
    let missing = site.key("missing");
    let _connected = join_all((0..writers * keys).map(|number| clients[number % clients.len()].get(&missing))).await;
    let raced = (0..keys).map(|key| race_for(clients, writers, site.key(&format!("race-{writers}-{key}"))));
    let unresolved: usize = try_join_all(raced).await?.into_iter().sum();
    let mut found = format!("of {writers} simultaneous creates exactly one won");
    if keys > 1 {
        found = format!("{found}, on each of {keys} keys");
    }
    if clients.len() > 1 {
        found = format!("{found}, through {} addresses", clients.len());
    }
    if unresolved > 0 {
        found = format!("{found}; {unresolved} got no clear answer, reading told them");
    }
    Ok(Finding::ok(found))
}

/// One key; gives how many writers had to read to know.
async fn race_for(clients: &[&dyn ObjectStore], writers: usize, key: String) -> Result<usize, Refusal> {
    let body = |writer: usize| {
        let mut body = writer.to_be_bytes().to_vec();
        body.resize(BODY, b' ');
        Bytes::from(body)
    };
    let attempts = (0..writers).map(|writer| clients[writer % clients.len()].create(&key, body(writer)));
    let (mut winners, mut told, mut doubt) = (Vec::new(), 0, None);
    let mut unresolved = 0;
    for (writer, answer) in join_all(attempts).await.into_iter().enumerate() {
        match answer {
            Ok(Create::Created) => winners.push(writer),
            Ok(Create::Exists) => told += 1,
            Err(error @ StoreError::Unknown { .. }) => {
                unresolved += 1;
                doubt = Some(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if winners.len() > 1 {
        return unfit(format!(
            "of {writers} simultaneous creates of one key {} succeeded; pushes would overwrite each other",
            winners.len()
        ));
    }
    match (clients[0].get(&key).await?, winners.first(), doubt) {
        // Nobody was told anything: that is no answer, neither a good one nor a bad one.
        (None, None, Some(doubt)) if told == 0 => Err(doubt.into()),
        (None, ..) => unfit("after simultaneous creates of one key the object is not there"),
        (Some(found), Some(&winner), _) if found != body(winner) => {
            unfit("the object holds the bytes of a writer that was told that it had lost")
        }
        _ => Ok(unresolved),
    }
}

/// Creates, and reads when the answer is doubtful: did our bytes get there?
pub(super) async fn settled(store: &dyn ObjectStore, key: &str, body: &Bytes) -> Result<bool, Refusal> {
    let mut tries = 0;
    loop {
        match store.create(key, body.clone()).await {
            Ok(Create::Created) => return Ok(true),
            Ok(Create::Exists) => return Ok(store.get(key).await?.as_ref() == Some(body)),
            Err(error @ StoreError::Unknown { .. }) => {
                tries += 1;
                if tries > TRIES {
                    return Err(error.into());
                }
                tokio::time::sleep(Duration::from_millis(100 << tries)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
