//! The backend `file:DIR`: a folder with the semantics of a bucket.
//!
//! An object is written to a temporary file, synced, and linked to its name: linking fails when the name exists, so exactly one
//! of many creators wins, across processes too. The folder's entry is synced before a create is acknowledged.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::StreamExt as _;
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use crate::metrics::StoreMetrics;
use crate::object::{Create, ObjectBytes, ObjectMeta, ObjectStore, StoreError};

const TEMPORARY: &str = ".tmp";
/// Bytes that are read at once of what is not kept.
const READ_BYTES: usize = 256 << 10;

/// A folder that behaves like a bucket.
#[derive(Debug, Clone)]
pub struct FileStore {
    root: PathBuf,
    metrics: StoreMetrics,
    durability: Durability,
}

/// Whether what is written has to outlast the machine's next crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    Synced,
    #[cfg(feature = "testing")]
    Unsynced,
}

impl FileStore {
    /// Opens or creates the folder, and clears what crashed writers left.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub async fn open(root: &Path, metrics: StoreMetrics) -> Result<Self, StoreError> {
        let store = Self { root: root.to_owned(), metrics, durability: Durability::Synced };
        store
            .blocking("open", "", |root| {
                let temporary = root.join(TEMPORARY);
                fs::create_dir_all(&temporary)?;
                let hour = std::time::Duration::from_hours(1);
                for entry in fs::read_dir(&temporary)? {
                    let entry = entry?;
                    // Younger files may belong to another server on this folder.
                    if entry.metadata()?.modified()?.elapsed().is_ok_and(|age| age > hour) {
                        fs::remove_file(entry.path())?;
                    }
                }
                Ok(())
            })
            .await?;
        Ok(store)
    }

    /// The same folder, nothing synced: for stores that a test makes up and throws away.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn without_sync(self) -> Self {
        Self { durability: Durability::Unsynced, ..self }
    }

    /// Runs file system calls off the async threads and gives their errors names.
    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        key: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        if !is_safe(key) {
            let reason = "not a key of ours".to_owned();
            return Err(StoreError::Refused { operation, key: key.to_owned(), reason });
        }
        let root = self.root.clone();
        let timer = self.metrics.start(operation);
        let result =
            tokio::task::spawn_blocking(move || work(&root)).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        timer.finish(if result.is_ok() { "ok" } else { "error" });
        result.map_err(|error| to_store_error(operation, key, &error))
    }
}

#[async_trait]
impl ObjectStore for FileStore {
    async fn create(&self, key: &str, body: Bytes) -> Result<Create, StoreError> {
        let (target, durability) = (self.root.join(key), self.durability);
        self.blocking("create", key, move |root| {
            let mut file = temporary_file(root)?;
            file.write_all(&body)?;
            durability.sync(file.as_file())?;
            make_parent(root, &target)?;
            match fs::hard_link(file.path(), &target) {
                Ok(()) => {
                    durability.sync_parent(&target)?;
                    Ok(Create::Created)
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Create::Exists),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        let target = self.root.join(key);
        self.blocking("put", key, move |root| {
            let mut file = temporary_file(root)?;
            file.write_all(&body)?;
            make_parent(root, &target)?;
            file.persist(&target).map_err(|error| error.error)?;
            Ok(())
        })
        .await
    }

    async fn upload(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        let (source, target, durability) = (file.to_owned(), self.root.join(key), self.durability);
        self.blocking("upload", key, move |root| {
            let file = temporary_file(root)?;
            fs::copy(&source, file.path())?;
            durability.sync(file.as_file())?;
            make_parent(root, &target)?;
            file.persist(&target).map_err(|error| error.error)?;
            durability.sync_parent(&target)
        })
        .await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let target = self.root.join(key);
        self.blocking("get", key, move |_| found(fs::read(target)).map(|found| found.map(Bytes::from))).await
    }

    async fn download(&self, key: &str, file: &Path, size: u64) -> Result<bool, StoreError> {
        let (source, target) = (self.root.join(key), file.to_owned());
        let copied = self.blocking("download", key, move |_| {
            let folder = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
            let temporary = tempfile::NamedTempFile::new_in(folder)?;
            let copied = found(fs::copy(source, temporary.path()))?;
            if copied == Some(size) {
                temporary.persist(&target).map_err(|error| error.error)?;
            }
            Ok(copied)
        });
        match copied.await? {
            Some(copied) if copied != size => Err(StoreError::other_size(key, size, copied)),
            copied => Ok(copied.is_some()),
        }
    }

    async fn download_range(&self, key: &str, file: &Path, range: Range<u64>, size: u64) -> Result<bool, StoreError> {
        let (source, target) = (self.root.join(key), file.to_owned());
        let copied = self.blocking("download", key, move |_| {
            let Some(mut source) = found(File::open(source))? else { return Ok(None) };
            let length = source.metadata()?.len();
            if length == size {
                source.seek(SeekFrom::Start(range.start))?;
                let mut target = File::options().write(true).open(target)?;
                target.seek(SeekFrom::Start(range.start))?;
                io::copy(&mut source.take(range.end - range.start), &mut target)?;
            }
            Ok(Some(length))
        });
        match copied.await? {
            Some(length) if length != size => Err(StoreError::other_size(key, size, length)),
            copied => Ok(copied.is_some()),
        }
    }

    async fn stream(&self, key: &str, range: Range<u64>, size: u64) -> Result<Option<ObjectBytes>, StoreError> {
        let source = self.root.join(key);
        let opened = self.blocking("stream", key, move |_| {
            let Some(mut file) = found(File::open(source))? else { return Ok(None) };
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(range.start))?;
            Ok(Some((file, length, range.end - range.start)))
        });
        let Some((file, length, wanted)) = opened.await? else { return Ok(None) };
        if length != size {
            return Err(StoreError::other_size(key, size, length));
        }
        let key = key.to_owned();
        let pieces = ReaderStream::with_capacity(tokio::fs::File::from_std(file).take(wanted), READ_BYTES);
        Ok(Some(pieces.map(move |piece| piece.map_err(|error| to_store_error("stream", &key, &error))).boxed()))
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let target = self.root.join(key);
        self.blocking("delete", key, move |_| found(fs::remove_file(target)).map(drop)).await
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        let (prefix, start_after) = (prefix.to_owned(), start_after.map(str::to_owned));
        self.blocking("list", "", move |root| {
            let folder = prefix.rfind('/').map_or("", |at| &prefix[..at]);
            let mut objects = Vec::new();
            collect(root, &root.join(folder), &mut objects)?;
            objects.retain(|object| {
                object.key.starts_with(&prefix) && start_after.as_ref().is_none_or(|after| object.key > *after)
            });
            objects.sort_by(|a, b| a.key.cmp(&b.key));
            objects.truncate(limit);
            Ok(objects)
        })
        .await
    }
}

impl Durability {
    fn sync(self, file: &File) -> io::Result<()> {
        match self {
            Self::Synced => file.sync_data(),
            #[cfg(feature = "testing")]
            Self::Unsynced => Ok(()),
        }
    }

    fn sync_parent(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Synced => sync_parent(path),
            #[cfg(feature = "testing")]
            Self::Unsynced => Ok(()),
        }
    }
}

/// Keys are made by us; this is the second lock on the door.
fn is_safe(key: &str) -> bool {
    key.is_empty()
        || key
            .trim_end_matches('/')
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains('\0'))
        || key.starts_with("catalog/") && key.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

fn temporary_file(root: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::NamedTempFile::new_in(root.join(TEMPORARY))
}

/// Makes the folder of an object; each new folder's entry is synced into the folder above it.
fn make_parent(root: &Path, target: &Path) -> io::Result<()> {
    let parent = target.parent().unwrap_or(root);
    if parent.is_dir() {
        return Ok(());
    }
    make_parent(root, parent)?;
    match fs::create_dir(parent) {
        Ok(()) => sync_parent(parent),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

fn collect(root: &Path, folder: &Path, objects: &mut Vec<ObjectMeta>) -> io::Result<()> {
    let Some(entries) = found(fs::read_dir(folder))? else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if folder == root && entry.file_name() == TEMPORARY {
            continue;
        }
        if kind.is_dir() {
            collect(root, &path, objects)?;
        } else if let (Ok(key), Some(metadata)) = (path.strip_prefix(root), found(entry.metadata())?) {
            let modified = metadata.modified().ok().and_then(|time| time.try_into().ok());
            objects.push(ObjectMeta { key: key.to_string_lossy().into_owned(), size: metadata.len(), modified });
        }
    }
    Ok(())
}

fn to_store_error(operation: &'static str, key: &str, error: &io::Error) -> StoreError {
    let key = key.to_owned();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { operation, key },
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StoreError::Refused {
            operation,
            key,
            reason: format!("{error}; the folder must be writable by this process"),
        },
        // A sync that failed after the link says nothing about what will be there after a crash.
        _ if operation == "create" => StoreError::Unknown { operation, key, reason: error.to_string() },
        _ => StoreError::Unavailable { operation, key, reason: error.to_string() },
    }
}
