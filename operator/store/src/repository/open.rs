//! The newest state of a repository, from hint, checkpoint and the log behind it.

use model::RepositoryId;

use super::read::{Next, Reader};
use super::{Hint, Shared};
use crate::checkpoint;
use crate::error::Error;
use crate::keys;
use crate::state::Snapshot;

/// Checkpoints listed at once.
const PAGE: usize = 1_000;
/// Times that a checkpoint may turn out to be older than what is left of the log.
const MAX_STUBS: u32 = 4;

/// The newest state.
pub(crate) struct Latest {
    pub(crate) snapshot: Snapshot,
    /// Generation of the checkpoint that it was read from; 0 for none.
    pub(crate) checkpoint: u64,
}

/// Reads the newest state.
///
/// # Errors
/// When the store does not answer, or what is needed is damaged.
pub(crate) async fn latest(shared: &Shared, id: &RepositoryId) -> Result<Latest, Error> {
    let store = &*shared.store;
    let mut stubs = 0;
    loop {
        let hint: Option<Hint> = store.get(&keys::hint(id)).await?.and_then(|body| serde_json::from_slice(&body).ok());
        let start = match hint {
            Some(hint) if stubs == 0 && hint.checkpoint > 0 => read_checkpoint(shared, id, hint.checkpoint).await?,
            Some(_) if stubs == 0 => None,
            _ => newest_checkpoint(shared, id).await?,
        };
        let mut snapshot = start.unwrap_or_default();
        let checkpoint = snapshot.generation;
        let behind = hint.map_or(0, |hint| hint.generation.saturating_sub(checkpoint));
        let mut reader = Reader::expecting(store, id, behind);
        loop {
            match reader.next_after(snapshot.generation).await? {
                Next::Entry(generation, read) => {
                    snapshot = snapshot
                        .after(&read.entry, read.digest)
                        .map_err(|error| Error::fold(keys::log_entry(id, generation), &error))?;
                }
                Next::End => return Ok(Latest { snapshot, checkpoint }),
                Next::Stub => break,
            }
        }
        // The hint was old, or the checkpoint damaged: the newest one that is listed tells.
        stubs += 1;
        if stubs > MAX_STUBS {
            return Err(Error::Missing { key: keys::checkpoint(id, snapshot.generation + 1) });
        }
    }
}

/// A checkpoint, if it is there and whole.
pub(super) async fn read_checkpoint(
    shared: &Shared,
    id: &RepositoryId,
    generation: u64,
) -> Result<Option<Snapshot>, Error> {
    let key = keys::checkpoint(id, generation);
    let Some(body) = shared.store.get(&key).await? else { return Ok(None) };
    match checkpoint::decode(&body) {
        Ok(snapshot) if snapshot.generation == generation => Ok(Some(snapshot)),
        Ok(_) => Ok(None),
        Err(error) => {
            tracing::warn!(object.key = key, %error, "a checkpoint cannot be read; an older one or the log is read instead");
            Ok(None)
        }
    }
}

/// The newest checkpoint that the bucket lists and that can be read.
async fn newest_checkpoint(shared: &Shared, id: &RepositoryId) -> Result<Option<Snapshot>, Error> {
    for generation in checkpoints(shared, id).await?.into_iter().rev() {
        if let Some(snapshot) = read_checkpoint(shared, id, generation).await? {
            return Ok(Some(snapshot));
        }
    }
    Ok(None)
}

/// The generations of all checkpoints, oldest first. Lists: not for a request path.
pub(super) async fn checkpoints(shared: &Shared, id: &RepositoryId) -> Result<Vec<u64>, Error> {
    let (mut found, mut after): (Vec<u64>, Option<String>) = (vec![], None);
    loop {
        let page = shared.store.list(&keys::checkpoint_all(id), after.as_deref(), PAGE).await?;
        found.extend(page.iter().filter_map(|object| keys::number(&object.key)));
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.key.clone()),
            _ => return Ok(found),
        }
    }
}
