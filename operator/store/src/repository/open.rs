//! The newest state of a repository, from the hint, a checkpoint and the log behind it.
//!
//! Two rounds to the store: the hint, then everything that it names together with the log behind it. What hints and checkpoints
//! say is believed only as far as it goes with the log: an entry behind the state names the digest that the state ends with.
//! Where there is none behind it, the state is good enough for one answer, and its own entry is looked at with the next question
//! and before the first commit (`Repository::prove`).

use bytes::Bytes;
use model::RepositoryId;
use tokio::time::Instant;

use super::hint::{Checkpoint, Hint};
use super::read::{Next, Reader, read_number};
use super::{Payloads, Repository, Shared};
use crate::blocking::blocking;
use crate::checkpoint::{self, Layer};
use crate::entry::{Numbered, Stub};
use crate::error::Error;
use crate::keys;
use crate::object::StoreError;
use crate::refs::{Base, BaseName, Table};
use crate::state::Snapshot;

/// Objects listed at once.
const PAGE: usize = 1_000;
/// Entries that are read one after the other; behind more, there is a newer checkpoint.
pub(super) const FAR: u64 = 128;
/// Times that the log may be cut off behind the checkpoint that is being read.
const MAX_STUBS: u32 = 4;

/// The newest state.
#[derive(Default)]
pub(crate) struct Latest {
    pub(crate) snapshot: Snapshot,
    /// The newest checkpoint that is known.
    pub(crate) checkpoint: Checkpoint,
    /// An entry of the log vouches for the state.
    pub(crate) proven: bool,
    /// The hint is missing, damaged, or far behind.
    pub(crate) hint_is_poor: bool,
    /// Inlined packs of the entries that were read.
    pub(crate) payloads: Payloads,
    /// When the reading began.
    pub(crate) began: Option<Instant>,
    /// The epoch (ADR 0019) then.
    pub(crate) epoch: u64,
}

impl Latest {
    /// Before the first entry: nothing needs to vouch for it.
    pub(crate) fn empty() -> Self {
        Self { proven: true, ..Self::default() }
    }

    fn from(snapshot: Snapshot, checkpoint: Checkpoint) -> Self {
        Self { snapshot, checkpoint, ..Self::default() }
    }
}

/// Where following the log ended.
enum Reached {
    /// At its end.
    End,
    /// Not at its end, which is far; or at an entry that is a stub by now.
    Far,
    /// The log does not go on from this state: it is not a state of this log.
    Strange,
}

/// Reads the newest state.
///
/// # Errors
/// When the store does not answer, or what is needed is damaged.
pub(crate) async fn latest(shared: &Shared, id: &RepositoryId) -> Result<Latest, Error> {
    loop {
        let epoch = shared.store.epoch();
        let latest = read_latest(shared, id).await;
        // What was read of the log of an epoch that is over does not go with what was read after it.
        if shared.store.epoch() == epoch {
            return Ok(Latest { epoch, ..latest? });
        }
    }
}

async fn read_latest(shared: &Shared, id: &RepositoryId) -> Result<Latest, Error> {
    let Some((mut latest, mut reader)) = hinted(shared, id).await? else {
        return listed(shared, id, Latest::empty()).await;
    };
    match follow(&mut latest, &mut reader, id, FAR).await? {
        Reached::End => Ok(latest),
        Reached::Far => listed(shared, id, latest).await,
        Reached::Strange => listed(shared, id, Latest::empty()).await,
    }
}

/// Where the hint says to begin, with what the log has behind it on its way. Without a hint, at the beginning of the log: of a
/// young repository, that is all of it. `None` when nothing that the hint names can be used.
async fn hinted<'a>(shared: &'a Shared, id: &'a RepositoryId) -> Result<Option<(Latest, Reader<'a>)>, Error> {
    let store = &*shared.store;
    let Some(body) = derived(shared, &keys::hint(id)).await? else {
        return Ok(Some((Latest::empty(), Reader::new(store, id))));
    };
    let Some(Hint { generation, checkpoint, state }) = Hint::decode(&body, id) else { return Ok(None) };
    let inline = state.and_then(|state| checkpoint::decode(&state, id).ok());
    if let Some(layer) = inline {
        let mut reader = Reader::new(store, id);
        let ahead = reader.look_ahead(layer.generation());
        let (snapshot, ()) = tokio::try_join!(complete(shared, id, layer, None), ahead)?;
        return Ok(snapshot.map(|snapshot| (Latest::from(snapshot, checkpoint), reader)));
    }
    let mut reader = Reader::expecting(store, id, generation.saturating_sub(checkpoint.generation));
    if checkpoint.generation == 0 {
        return Ok(Some((Latest::empty(), reader)));
    }
    let ahead = reader.look_ahead(checkpoint.generation);
    let layer = read_layer(shared, id, checkpoint.generation);
    let (layer, base, ()) = tokio::try_join!(layer, named(shared, id, checkpoint.base), ahead)?;
    let Some(layer) = layer else { return Ok(None) };
    let snapshot = complete(shared, id, layer, base).await?;
    Ok(snapshot.map(|snapshot| (Latest::from(snapshot, checkpoint), reader)))
}

/// Without the help of the hint: from the newest checkpoint that is behind `latest`, can be read and is vouched for by the log,
/// or from `latest`. Lists; not the way of a request unless a hint was lost.
async fn listed(shared: &Shared, id: &RepositoryId, mut latest: Latest) -> Result<Latest, Error> {
    for _ in 0..MAX_STUBS {
        if let Some(newer) = newest(shared, id, latest.snapshot.generation).await? {
            latest = newer;
        }
        let mut reader = Reader::new(&*shared.store, id);
        match follow(&mut latest, &mut reader, id, u64::MAX).await? {
            Reached::End => return Ok(Latest { hint_is_poor: true, ..latest }),
            Reached::Far => {}
            Reached::Strange => latest = Latest::empty(),
        }
    }
    // What comes next is cut off, and none of the checkpoints that would tell can be read.
    Err(Error::Missing { key: keys::checkpoint(id, latest.snapshot.generation + 1) })
}

/// The newest checkpoint behind this generation that can be read and is vouched for.
async fn newest(shared: &Shared, id: &RepositoryId, generation: u64) -> Result<Option<Latest>, Error> {
    let checkpoints = checkpoints(shared, id).await?;
    for generation in checkpoints.into_iter().filter(|number| *number > generation).rev() {
        if let Some(snapshot) = read_checkpoint(shared, id, generation).await?
            && vouches(shared, id, &snapshot).await?
        {
            let checkpoint = Checkpoint { generation, base: snapshot.refs.base().map(Base::name) };
            return Ok(Some(Latest { proven: true, ..Latest::from(snapshot, checkpoint) }));
        }
    }
    Ok(None)
}

/// Moves on by what the log has behind the state, at most by `limit` entries.
async fn follow(latest: &mut Latest, reader: &mut Reader<'_>, id: &RepositoryId, limit: u64) -> Result<Reached, Error> {
    let end = latest.snapshot.generation.saturating_add(limit);
    while latest.snapshot.generation < end {
        let (generation, read) = match reader.next_after(latest.snapshot.generation).await? {
            Next::Entry(generation, read) => (generation, read),
            Next::Stub => return Ok(Reached::Far),
            Next::End => return Ok(Reached::End),
        };
        match latest.snapshot.after(&read.entry, read.digest) {
            Ok(next) => latest.snapshot = next,
            Err(_) if !latest.proven => return Ok(Reached::Strange),
            Err(error) => return Err(Error::fold(keys::log_entry(id, generation), &error)),
        }
        latest.proven = true;
        latest.payloads.add(generation, read.payload);
    }
    Ok(Reached::Far)
}

/// Whether the log has the entry that the state ends with.
async fn vouches(shared: &Shared, id: &RepositoryId, snapshot: &Snapshot) -> Result<bool, Error> {
    let digest = match read_number(&*shared.store, id, snapshot.generation).await? {
        Some(Numbered::Entry(read)) => read.digest,
        Some(Numbered::Stub(Stub { digest, .. })) => digest,
        None => return Ok(false),
    };
    Ok(digest == snapshot.digest)
}

/// The state of a checkpoint, if it and its base are there and whole.
pub(super) async fn read_checkpoint(
    shared: &Shared,
    id: &RepositoryId,
    generation: u64,
) -> Result<Option<Snapshot>, Error> {
    match read_layer(shared, id, generation).await? {
        Some(layer) => complete(shared, id, layer, None).await,
        None => Ok(None),
    }
}

/// What follows from the log: encrypted bytes that have changed are as good as none.
async fn derived(shared: &Shared, key: &str) -> Result<Option<Bytes>, Error> {
    match shared.store.get(key).await {
        Err(error @ StoreError::Damaged { .. }) => {
            tracing::warn!(object.key = key, %error, "what cannot be read is left out");
            Ok(None)
        }
        found => Ok(found?),
    }
}

/// A checkpoint, if it is there and whole.
pub(super) async fn read_layer(shared: &Shared, id: &RepositoryId, generation: u64) -> Result<Option<Layer>, Error> {
    let key = keys::checkpoint(id, generation);
    let Some(body) = derived(shared, &key).await? else { return Ok(None) };
    match checkpoint::decode(&body, id) {
        Ok(layer) if layer.generation() == generation => Ok(Some(layer)),
        Ok(_) => Ok(None),
        Err(error) => {
            tracing::warn!(object.key = key, %error, "a checkpoint cannot be read; an older one or the log is read instead");
            Ok(None)
        }
    }
}

/// The state of a checkpoint; its base is read unless it is the one at hand.
async fn complete(
    shared: &Shared,
    id: &RepositoryId,
    layer: Layer,
    base: Option<Base>,
) -> Result<Option<Snapshot>, Error> {
    let at_hand = base.filter(|base| layer.base == Some(base.name()));
    let base = match (layer.base, at_hand) {
        (Some(name), None) => named(shared, id, Some(name)).await?,
        (_, at_hand) => at_hand,
    };
    Ok(layer.on(base))
}

/// The base of this name, if it is there and whole.
pub(super) async fn named(shared: &Shared, id: &RepositoryId, name: Option<BaseName>) -> Result<Option<Base>, Error> {
    let Some(name) = name else { return Ok(None) };
    let base = read_base(shared, id, name.generation).await?;
    Ok(base.filter(|base| base.name() == name))
}

/// A base, if it is there and whole.
pub(super) async fn read_base(shared: &Shared, id: &RepositoryId, generation: u64) -> Result<Option<Base>, Error> {
    let key = keys::references(id, generation);
    let Some(body) = derived(shared, &key).await? else { return Ok(None) };
    match blocking(move || Table::open(body)).await? {
        Ok(table) => Ok(Some(Base::new(generation, table))),
        Err(error) => {
            tracing::warn!(object.key = key, %error, "a table of references cannot be read; an older one or the log is read instead");
            Ok(None)
        }
    }
}

/// The generations of all checkpoints, oldest first. Lists: not for a request path.
pub(super) async fn checkpoints(shared: &Shared, id: &RepositoryId) -> Result<Vec<u64>, Error> {
    numbers(shared, &keys::checkpoint_all(id)).await
}

/// The generations of all bases, oldest first. Lists: not for a request path.
pub(super) async fn bases(shared: &Shared, id: &RepositoryId) -> Result<Vec<u64>, Error> {
    numbers(shared, &keys::references_all(id)).await
}

async fn numbers(shared: &Shared, prefix: &str) -> Result<Vec<u64>, Error> {
    let (mut found, mut after): (Vec<u64>, Option<String>) = (vec![], None);
    loop {
        let page = shared.store.list(prefix, after.as_deref(), PAGE).await?;
        found.extend(page.iter().filter_map(|object| keys::number(&object.key)));
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.key.clone()),
            _ => return Ok(found),
        }
    }
}

impl Repository {
    /// Makes sure that the log has the entry that the state ends with: a copy of the bucket may have a hint or checkpoint that is
    /// younger than its log.
    /// Asks the store once, if at all.
    ///
    /// # Errors
    /// When the store does not answer, or the log is damaged.
    pub(super) async fn prove(&self) -> Result<(), Error> {
        while !self.is_proven() {
            let (known, epoch) = (self.known(), self.shared.store.epoch());
            // Before the first entry there is nothing to vouch for.
            if known.generation == 0 || vouches(&self.shared, &self.id, &known).await? {
                self.believe(&known, epoch);
            } else {
                self.start_over().await?;
            }
        }
        Ok(())
    }

    /// Forgets a state that the log does not go on from.
    async fn start_over(&self) -> Result<(), Error> {
        let was = self.known().generation;
        let epoch = self.shared.store.epoch();
        let latest = Latest { epoch, ..listed(&self.shared, &self.id, Latest::empty()).await? };
        tracing::error!(
            repo.id = %self.id,
            repo.was = was,
            repo.is = latest.snapshot.generation,
            "what was known is not of this log: entries were lost, or came too late for the store that has become the primary one, or a hint or \
             checkpoint was copied from elsewhere"
        );
        self.go_on_from(latest, |_, _| true);
        Ok(())
    }

    /// Takes a short cut to the newest state: what we know lies far back, or the log behind it has been cut off.
    pub(super) async fn reload(&self) -> Result<(), Error> {
        let latest = latest(&self.shared, &self.id).await?;
        self.go_on_from(latest, |known, latest| latest.generation > known.generation);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
