//! Envelope encryption (ADR 0016): what leaves this server for the bucket is encrypted with a data key of its repository.
//!
//! An [`ObjectStore`] around another one, for the objects of one repository. Everything below it is encrypted but its keyrings, which are
//! wrapped; who stands above it sees plain objects of plain sizes.

mod format;
mod keyring;
mod keys;
mod server_side;
mod service;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use model::{RepositoryId, RepositoryPath};

use crate::blocking::blocking;
use crate::object::{Create, ObjectBytes, ObjectMeta, ObjectStore, StoreError};
use crate::repository::Context;
pub(crate) use format::sealed_size;
use format::{Cipher, FormatError, HEADER, HEADER_BYTES, Header, Opener, plain_size, sealed_range};
pub use keys::EncryptionInUse;
use keys::Keys;
pub(crate) use keys::{SUPERSEDED, found};
pub(crate) use server_side::ServerSideStore;
pub use service::{KeyError, KeyService, KeySources, Manifests, NoManifests};

/// Headers that are remembered, of objects that are read in parts.
const HEADERS: usize = 256;
/// Bytes that are decrypted between two writes to a file.
const BUFFER: usize = 256 << 10;

/// The objects of one encrypted repository.
pub(crate) struct EnvelopeStore {
    inner: Arc<dyn ObjectStore>,
    context: Context,
    keys: Arc<Keys>,
    headers: Arc<Headers>,
}

impl EnvelopeStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, id: RepositoryId, path: RepositoryPath, context: Context) -> Self {
        let keys = Arc::new(Keys::new(Arc::clone(&inner), id, path, context.clone()));
        Self { inner, context, keys, headers: Arc::default() }
    }

    /// The same repository as it lies somewhere else; the keys are those that this one has.
    pub(crate) fn over(&self, inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, context: self.context.clone(), keys: Arc::clone(&self.keys), headers: Arc::default() }
    }

    /// How it encrypts now, once it has had to.
    pub(crate) fn in_use(&self) -> Option<EncryptionInUse> {
        self.keys.in_use()
    }

    /// A cipher for a new object.
    async fn encrypting(&self, key: &str) -> Result<Cipher, StoreError> {
        let keyring = self.keys.get().await?;
        let mut header = Header { key: keyring.current(), salt: [0; 32] };
        if !sabotaged!(ReuseSalt) {
            self.context.random.fill(&mut header.salt);
        }
        let data_key = keyring.get(header.key).ok_or_else(|| damaged(key, FormatError::Forged))?;
        Ok(Cipher::new(data_key, header, key))
    }

    async fn decrypting(&self, key: &str, header: Header) -> Result<Cipher, StoreError> {
        let keyring = self.keys.with(header.key).await?;
        let data_key = keyring.get(header.key).ok_or_else(|| damaged(key, FormatError::Forged))?;
        Ok(Cipher::new(data_key, header, key))
    }

    async fn seal(&self, key: &str, body: &Bytes) -> Result<Bytes, StoreError> {
        let cipher = self.encrypting(key).await?;
        let size = usize::try_from(sealed_size(body.len() as u64)).unwrap_or_default();
        let mut sealed = Vec::with_capacity(size);
        cipher.seal(&mut &body[..], &mut sealed).map_err(|error| unavailable(key, &error))?;
        Ok(sealed.into())
    }

    /// What a small object says.
    pub(crate) async fn opened(&self, key: &str, sealed: Option<Bytes>) -> Result<Option<Bytes>, StoreError> {
        let Some(sealed) = sealed else { return Ok(None) };
        let wrong = |error| damaged(key, error);
        let header = Header::decode(&sealed).map_err(wrong)?;
        let size = plain_size(sealed.len() as u64).ok_or_else(|| wrong(FormatError::Forged))?;
        let mut opener = Opener::new(self.decrypting(key, header).await?, 0..size, size);
        let mut plain = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        opener.push(&sealed[HEADER_BYTES..], &mut plain).map_err(wrong)?;
        Ok(Some(plain.into()))
    }

    /// The header of an object of `size` plain bytes, from memory or the bucket; `None` when there is no object.
    async fn header(&self, key: &str, size: u64) -> Result<Option<Header>, StoreError> {
        if let Some(header) = self.headers.get(key) {
            return Ok(Some(header));
        }
        let Some(mut pieces) = self.inner.stream(key, 0..HEADER, sealed_size(size)).await? else { return Ok(None) };
        let mut bytes = Vec::new();
        while bytes.len() < HEADER_BYTES
            && let Some(piece) = pieces.try_next().await?
        {
            bytes.extend_from_slice(&piece);
        }
        let header = Header::decode(&bytes).map_err(|error| damaged(key, error))?;
        self.headers.add(key, header);
        Ok(Some(header))
    }

    /// An opener for some bytes of an object, and where they lie.
    async fn opener(
        &self,
        key: &str,
        range: Range<u64>,
        size: u64,
    ) -> Result<Option<(Opener, Range<u64>)>, StoreError> {
        let Some(header) = self.header(key, size).await? else { return Ok(None) };
        let (sealed, _) = sealed_range(&range, size);
        Ok(Some((Opener::new(self.decrypting(key, header).await?, range, size), sealed)))
    }

    /// Downloads encrypted chunks beside `file`, and decrypts them into it from `at` on.
    async fn download_into(&self, key: &str, file: &Path, range: Range<u64>, size: u64) -> Result<bool, StoreError> {
        let Some((opener, sealed)) = self.opener(key, range.clone(), size).await? else { return Ok(false) };
        let folder = file.parent().unwrap_or_else(|| Path::new("."));
        let part = tempfile::NamedTempFile::new_in(folder).map_err(|error| local(key, &error))?.into_temp_path();
        if !self.inner.download_range(key, &part, sealed.clone(), sealed_size(size)).await? {
            return Ok(false);
        }
        let target = file.to_owned();
        let done = blocking(move || open_file(opener, &part, sealed, &target, range.start)).await;
        match done.map_err(|error| unavailable(key, &error))? {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.headers.forget(key);
                Err(damaged(key, FormatError::Forged))
            }
            Err(error) => Err(local(key, &error)),
        }
    }
}

#[async_trait]
impl ObjectStore for EnvelopeStore {
    async fn create(&self, key: &str, body: Bytes) -> Result<Create, StoreError> {
        self.inner.create(key, self.seal(key, &body).await?).await
    }

    async fn create_in(&self, epoch: u64, key: &str, body: Bytes) -> Result<Create, StoreError> {
        self.inner.create_in(epoch, key, self.seal(key, &body).await?).await
    }

    async fn confirm(&self, key: &str) -> Result<(), StoreError> {
        self.inner.confirm(key).await
    }

    fn epoch(&self) -> u64 {
        self.inner.epoch()
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        self.inner.put(key, self.seal(key, &body).await?).await
    }

    async fn upload(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        let (cipher, source) = (self.encrypting(key).await?, file.to_owned());
        let folder = self.context.cache.incoming();
        let sealed = blocking(move || {
            let mut sealed = tempfile::NamedTempFile::new_in(folder)?;
            let mut to = BufWriter::with_capacity(BUFFER, sealed.as_file_mut());
            cipher.seal(&mut BufReader::with_capacity(BUFFER, File::open(source)?), &mut to)?;
            to.flush()?;
            drop(to);
            Ok::<_, io::Error>(sealed.into_temp_path())
        });
        let sealed = sealed.await.map_err(|error| unavailable(key, &error))?.map_err(|error| local(key, &error))?;
        self.inner.upload(key, &sealed).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        // Also for what is not there: whoever only asks whether there is news has to learn that the key was taken away.
        self.keys.get().await?;
        self.opened(key, self.inner.get(key).await?).await
    }

    async fn get_decided(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.opened(key, self.inner.get_decided(key).await?).await
    }

    async fn download(&self, key: &str, file: &Path, size: u64) -> Result<bool, StoreError> {
        let folder = file.parent().unwrap_or_else(|| Path::new("."));
        let temporary = || tempfile::NamedTempFile::new_in(folder).map(tempfile::NamedTempFile::into_temp_path);
        let (sealed, whole) =
            temporary().and_then(|sealed| Ok((sealed, temporary()?))).map_err(|error| local(key, &error))?;
        if !self.inner.download(key, &sealed, sealed_size(size)).await? {
            return Ok(false);
        }
        let mut header = [0; HEADER_BYTES];
        let read = File::open(&sealed).and_then(|mut sealed| sealed.read_exact(&mut header));
        read.map_err(|error| local(key, &error))?;
        let header = Header::decode(&header).map_err(|error| damaged(key, error))?;
        let opener = Opener::new(self.decrypting(key, header).await?, 0..size, size);
        let target = whole.to_path_buf();
        let done = blocking(move || open_file(opener, &sealed, HEADER..sealed_size(size), &target, 0));
        done.await.map_err(|error| unavailable(key, &error))?.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => damaged(key, FormatError::Forged),
            _ => local(key, &error),
        })?;
        whole.persist(file).map(|()| true).map_err(|error| local(key, &error.error))
    }

    async fn download_range(&self, key: &str, file: &Path, range: Range<u64>, size: u64) -> Result<bool, StoreError> {
        self.download_into(key, file, range, size).await
    }

    async fn stream(&self, key: &str, range: Range<u64>, size: u64) -> Result<Option<ObjectBytes>, StoreError> {
        let Some((opener, sealed)) = self.opener(key, range, size).await? else { return Ok(None) };
        let Some(pieces) = self.inner.stream(key, sealed, sealed_size(size)).await? else { return Ok(None) };
        let (key, headers) = (key.to_owned(), Arc::clone(&self.headers));
        let plain = stream::try_unfold((opener, pieces), move |(mut opener, mut pieces)| {
            let (key, headers) = (key.clone(), Arc::clone(&headers));
            async move {
                let mut plain = Vec::new();
                while plain.is_empty() {
                    let Some(piece) = pieces.try_next().await? else { return Ok(None) };
                    opener.push(&piece, &mut plain).map_err(|error| {
                        headers.forget(&key);
                        damaged(&key, error)
                    })?;
                }
                Ok(Some((Bytes::from(plain), (opener, pieces))))
            }
        });
        Ok(Some(plain.boxed()))
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.headers.forget(key);
        self.inner.delete(key).await
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        let listed = self.inner.list(prefix, start_after, limit).await?;
        Ok(listed
            .into_iter()
            .map(|object| ObjectMeta { size: plain_size(object.size).unwrap_or(object.size), ..object })
            .collect())
    }
}

/// Headers of objects that are read in parts. One that was written anew meanwhile does not decrypt with its old header, which is
/// forgotten then: whoever asks again gets it.
#[derive(Default)]
struct Headers(Mutex<VecDeque<(String, Header)>>);

impl Headers {
    fn get(&self, key: &str) -> Option<Header> {
        self.lock().iter().find(|(name, _)| name == key).map(|(_, header)| *header)
    }

    fn add(&self, key: &str, header: Header) {
        let mut headers = self.lock();
        if headers.len() == HEADERS {
            headers.pop_front();
        }
        headers.push_back((key.to_owned(), header));
    }

    fn forget(&self, key: &str) {
        self.lock().retain(|(name, _)| name != key);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(String, Header)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an object is a keyring of a repository.
pub(crate) fn is_keyring(body: &[u8], id: &RepositoryId) -> bool {
    keyring::KeyringObject::decode(body, id).is_ok()
}

/// What must not be the same for two different objects: its name, its data key and its salt; `None` of what is not encrypted.
#[cfg(feature = "testing")]
pub(crate) fn nonces(key: &str, body: &[u8]) -> Option<String> {
    let Header { key: data_key, salt } = Header::decode(body).ok()?;
    Some(format!("{key} {data_key} {}", hex::encode(salt)))
}

/// What an object says, with the newest keyring and what wraps it: for tests that look into a bucket.
#[cfg(feature = "testing")]
pub(crate) fn reveal(
    keyring: &[u8],
    id: &RepositoryId,
    key: &str,
    body: &[u8],
    secret: &model::encryption::SecretKey,
) -> Result<Bytes, String> {
    let (_, wrapped) = keyring::KeyringObject::decode(keyring, id)?;
    let plain = service::unwrap_here(secret, id, &wrapped).map_err(|error| error.to_string())?;
    let keyring = keyring::Keyring::from_bytes(&plain).ok_or("it is no keyring")?;
    let wrong = |error: FormatError| error.to_string();
    let header = Header::decode(body).map_err(wrong)?;
    let data_key = keyring.get(header.key).ok_or("its data key is not there")?;
    let size = plain_size(body.len() as u64).ok_or("no object has this size")?;
    let (mut opener, mut plain) = (Opener::new(Cipher::new(data_key, header, key), 0..size, size), Vec::new());
    opener.push(&body[HEADER_BYTES..], &mut plain).map_err(wrong)?;
    Ok(plain.into())
}

/// Decrypts a part that was downloaded to its place in a file of its own into `target`.
fn open_file(mut opener: Opener, part: &Path, sealed: Range<u64>, target: &Path, at: u64) -> io::Result<()> {
    let mut from = File::open(part)?;
    from.seek(SeekFrom::Start(sealed.start))?;
    let mut from = from.take(sealed.end - sealed.start);
    let mut to = File::options().write(true).open(target)?;
    to.seek(SeekFrom::Start(at))?;
    let (mut piece, mut plain) = (vec![0; BUFFER], Vec::with_capacity(BUFFER));
    loop {
        let read = from.read(&mut piece)?;
        if read == 0 {
            break;
        }
        opener.push(&piece[..read], &mut plain).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        to.write_all(&plain)?;
        plain.clear();
    }
    if opener.is_done() { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn damaged(key: &str, error: FormatError) -> StoreError {
    StoreError::Damaged { key: key.to_owned(), reason: error.to_string() }
}

fn unavailable(key: &str, error: &dyn std::error::Error) -> StoreError {
    StoreError::Unavailable { operation: "encrypt", key: key.to_owned(), reason: error.to_string() }
}

/// A file of the cache failed.
fn local(key: &str, error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StoreError::Full { operation: "encrypt", key: key.to_owned() }
        }
        _ => unavailable(key, error),
    }
}

#[cfg(test)]
mod tests;
