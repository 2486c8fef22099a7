//! The data keys of one repository on this server: read from the bucket and unwrapped when they are needed, asked for again from time
//! to time so that a key that was taken away is noticed, wrapped anew when the manifest names another key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use futures::future::try_join_all;
use model::encryption::{Envelope, WrappingKey};
use model::{RepositoryId, RepositoryPath};
use tokio::time::Instant;

use super::keyring::{Keyring, KeyringObject};
use super::service::{KeyError, KeySources};
use crate::keys;
use crate::object::{Create, ObjectStore, StoreError};
use crate::repository::Context;

/// How long unwrapped keys are used before they are asked for again.
const VALID: Duration = Duration::from_mins(5);
/// For how long they are used on when nobody answers.
const GRACE: Duration = Duration::from_hours(1);
/// When somebody is asked again who did not answer.
const RETRY: Duration = Duration::from_secs(30);
/// Keyrings that are asked for at once.
const WINDOW: u64 = 4;
/// What is written over a keyring when there is a newer one. Deleted, its number would be free again.
pub(crate) const SUPERSEDED: &[u8] = b"superseded\n";
/// Times that others may be faster.
const TRIES: u32 = 8;

/// How a repository is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptionInUse {
    /// Number of the data key that encrypts what is written.
    pub data_key: u32,
    /// What wraps the data keys.
    pub wrapped_by: WrappingKey,
}

/// The data keys of a repository.
pub(super) struct Keys {
    store: Arc<dyn ObjectStore>,
    id: RepositoryId,
    path: RepositoryPath,
    context: Context,
    loaded: ArcSwapOption<Loaded>,
    loading: tokio::sync::Mutex<()>,
}

/// Keys that were unwrapped.
struct Loaded {
    keyring: Arc<Keyring>,
    /// Number of the object that they are from.
    number: u64,
    /// What the manifest said then.
    envelope: Arc<Envelope>,
    wrapped_by: WrappingKey,
    /// When they were unwrapped.
    at: Instant,
    /// When they are to be asked for again.
    until: Instant,
}

impl Keys {
    pub(super) fn new(store: Arc<dyn ObjectStore>, id: RepositoryId, path: RepositoryPath, context: Context) -> Self {
        let (loaded, loading) = (ArcSwapOption::empty(), tokio::sync::Mutex::default());
        Self { store, id, path, context, loaded, loading }
    }

    /// The keys, for whoever writes.
    pub(super) async fn get(&self) -> Result<Arc<Keyring>, StoreError> {
        let envelope = self.envelope()?;
        if let Some(loaded) = &*self.loaded.load()
            && Instant::now() < loaded.until
            && loaded.envelope == envelope
        {
            return Ok(Arc::clone(&loaded.keyring));
        }
        self.load(envelope, None).await
    }

    /// The keys, with this one among them: another server may have added it since they were read.
    pub(super) async fn with(&self, number: u32) -> Result<Arc<Keyring>, StoreError> {
        let keyring = self.get().await?;
        if keyring.get(number).is_some() {
            return Ok(keyring);
        }
        let keyring = self.load(self.envelope()?, Some(number)).await?;
        let missing = || self.locked(format!("data key {number} is not among its keys"));
        keyring.get(number).ok_or_else(missing)?;
        Ok(keyring)
    }

    pub(super) fn in_use(&self) -> Option<EncryptionInUse> {
        let loaded = self.loaded.load_full()?;
        Some(EncryptionInUse { data_key: loaded.keyring.current(), wrapped_by: loaded.wrapped_by.clone() })
    }

    fn sources(&self) -> &KeySources {
        &self.context.keys
    }

    fn envelope(&self) -> Result<Arc<Envelope>, StoreError> {
        let encryption = self.sources().manifests.encryption(&self.path);
        encryption.and_then(|encryption| encryption.envelope).ok_or_else(|| {
            self.locked(
                "it is encrypted, and no manifest says with which key; give spec.encryption.envelope".to_owned(),
            )
        })
    }

    fn locked(&self, reason: String) -> StoreError {
        StoreError::Locked { repository: self.path.to_string(), reason }
    }

    /// Reads the keys anew, unless somebody else just did.
    async fn load(&self, envelope: Arc<Envelope>, wanted: Option<u32>) -> Result<Arc<Keyring>, StoreError> {
        let _turn = self.loading.lock().await;
        let known = self.loaded.load_full();
        if let Some(known) = &known
            && Instant::now() < known.until
            && known.envelope == envelope
            && wanted.is_none_or(|number| known.keyring.get(number).is_some())
        {
            return Ok(Arc::clone(&known.keyring));
        }
        let from = known.as_ref().map_or(1, |known| known.number);
        match self.read_or_renew(&envelope, from).await {
            Ok(loaded) => {
                let keyring = Arc::clone(&loaded.keyring);
                self.loaded.store(Some(Arc::new(loaded)));
                Ok(keyring)
            }
            Err(Trouble::Store(error)) => Err(error),
            Err(Trouble::Key(KeyError::Unavailable(reason))) => match known {
                // Only while they are still asked for from the same place.
                Some(known) if known.at.elapsed() < GRACE && known.envelope == envelope => {
                    tracing::warn!(repo.name = %self.path, reason, "the key service does not answer; the data keys are used on, for at most an hour");
                    let keyring = Arc::clone(&known.keyring);
                    let until = Instant::now() + RETRY;
                    let Loaded { number, at, .. } = *known;
                    let wrapped_by = known.wrapped_by.clone();
                    let loaded = Loaded { keyring: Arc::clone(&keyring), number, envelope, wrapped_by, at, until };
                    self.loaded.store(Some(Arc::new(loaded)));
                    Ok(keyring)
                }
                _ => Err(self.locked(reason)),
            },
            Err(Trouble::Key(KeyError::Refused(reason))) => {
                self.loaded.store(None);
                Err(self.locked(reason))
            }
        }
    }

    /// The newest keyring, wrapped as the manifest says and with the data key that it asks for.
    async fn read_or_renew(&self, envelope: &Arc<Envelope>, from: u64) -> Result<Loaded, Trouble> {
        for _ in 0..TRIES {
            let Some(found) = self.read(envelope, from).await? else { continue };
            let is_as_wished = found.wrapped_by == envelope.wrap_with && found.keyring.current() >= envelope.data_key;
            if is_as_wished {
                return Ok(found);
            }
            let renewed = found.keyring.with_keys_until(envelope.data_key, &*self.context.random);
            if self.write(found.number + 1, &renewed, envelope).await? {
                tracing::info!(repo.name = %self.path, data_key = renewed.current(), wrapped_by = %envelope.wrap_with, "the data keys were wrapped anew");
            }
        }
        Err(Trouble::Store(self.locked("other servers change its data keys all the time".to_owned())))
    }

    /// The newest keyring from this number on, and the numbers of older ones that are still there. Nothing is listed: listings are slow,
    /// and may be stale.
    async fn newest(&self, mut from: u64) -> Result<Option<(u64, Bytes, Vec<u64>)>, Trouble> {
        let mut found = BTreeMap::new();
        loop {
            let numbers = from..from + WINDOW;
            let read = numbers.clone().map(async |number| self.store.get(&keys::keyring(&self.id, number)).await);
            let read = try_join_all(read).await?;
            let is_full = read.iter().all(Option::is_some);
            found.extend(numbers.zip(read).filter_map(|(number, bytes)| Some((number, bytes?))));
            if !is_full {
                break;
            }
            from += WINDOW;
        }
        let Some((number, bytes)) = found.pop_last() else {
            return Err(Trouble::Store(self.locked("its data keys are gone from the bucket".to_owned())));
        };
        found.retain(|_, bytes| bytes != SUPERSEDED);
        Ok((bytes != SUPERSEDED).then(|| (number, bytes, found.into_keys().collect())))
    }

    /// Reads and unwraps the newest keyring; `None` when there is a newer one by now.
    async fn read(&self, envelope: &Arc<Envelope>, from: u64) -> Result<Option<Loaded>, Trouble> {
        let Some((number, bytes, older)) = self.newest(from).await? else { return Ok(None) };
        let key = keys::keyring(&self.id, number);
        let damaged = |reason| Trouble::Store(StoreError::Damaged { key: key.clone(), reason });
        let (KeyringObject { wrapped_by, .. }, wrapped) = KeyringObject::decode(&bytes, &self.id).map_err(damaged)?;
        let now = Instant::now();
        let plain = self.sources().unwrap(envelope, &wrapped_by, &self.id, &wrapped).await?;
        let keyring =
            Keyring::from_bytes(&plain).ok_or_else(|| damaged("what was wrapped is no keyring".to_owned()))?;
        // Whoever destroys the key that wraps the newest one must be sure that nothing else opens an older one.
        for older in older {
            self.store.put(&keys::keyring(&self.id, older), Bytes::from_static(SUPERSEDED)).await?;
        }
        let (keyring, envelope) = (Arc::new(keyring), Arc::clone(envelope));
        Ok(Some(Loaded { keyring, number, envelope, wrapped_by, at: now, until: now + VALID }))
    }

    /// Writes a keyring; false when this number is somebody else's.
    async fn write(&self, number: u64, keyring: &Keyring, envelope: &Envelope) -> Result<bool, Trouble> {
        create(&*self.store, &self.context, (&self.id, number), keyring, envelope).await
    }
}

/// Wraps a keyring and creates it; false when this number is somebody else's.
async fn create(
    store: &dyn ObjectStore,
    context: &Context,
    (id, number): (&RepositoryId, u64),
    keyring: &Keyring,
    envelope: &Envelope,
) -> Result<bool, Trouble> {
    let (sources, plain) = (&context.keys, keyring.to_bytes());
    let wrapped = sources.wrap(envelope, id, &plain, &*context.random).await?;
    // Some may encrypt with a key and not decrypt: then all that is written would be lost.
    if *sources.unwrap(envelope, &envelope.wrap_with, id, &wrapped).await? != *plain {
        let reason = format!("{} gives back something else than it has wrapped", envelope.wrap_with);
        return Err(Trouble::Key(KeyError::Refused(reason)));
    }
    let object = KeyringObject::new(id.clone(), envelope.wrap_with.clone(), keyring.current(), &wrapped);
    let key = keys::keyring(id, number);
    let refused = |reason| StoreError::Refused { operation: "create", key: key.clone(), reason };
    let bytes = object.encode().map_err(refused)?;
    match store.create(&key, bytes.clone()).await? {
        Create::Created => Ok(true),
        // A retry may have met its own first attempt.
        Create::Exists => Ok(store.get(&key).await?.as_ref() == Some(&bytes)),
    }
}

/// Makes the data keys of a repository that is about to be.
pub(crate) async fn found(
    store: &dyn ObjectStore,
    context: &Context,
    id: &RepositoryId,
    path: &RepositoryPath,
    envelope: &Envelope,
) -> Result<(), StoreError> {
    let keyring = Keyring::new(&*context.random).with_keys_until(envelope.data_key, &*context.random);
    create(store, context, (id, 1), &keyring, envelope).await.map(drop).map_err(|trouble| match trouble {
        Trouble::Store(error) => error,
        Trouble::Key(error) => StoreError::Locked { repository: path.to_string(), reason: error.to_string() },
    })
}

enum Trouble {
    Store(StoreError),
    Key(KeyError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<KeyError> for Trouble {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}
