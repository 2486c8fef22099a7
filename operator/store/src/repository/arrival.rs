//! Packs that are used while they are on their way from the bucket: a clone begins with the first chunk, not after the last one.
//!
//! Invariant: a chunk is there for readers only when it has the checksum that the log says.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use futures::stream::{self, TryStreamExt as _};
use model::{Arriving, Content, RepositoryId};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::{Repository, Shared};
use crate::blocking::blocking;
use crate::cache::{CachedPack, verify_index};
use crate::digest::sha256_range;
use crate::entry::PackRecord;
use crate::error::Error;
use crate::keys;
use crate::state::Upload;

/// Chunks of a pack that are downloaded at once.
const AT_ONCE: usize = 4;

/// A pack on its way.
#[derive(Debug)]
pub(crate) struct Arrival {
    record: PackRecord,
    /// Stays as long as somebody may open the files in it.
    folder: TempDir,
    progress: watch::Sender<Progress>,
    runtime: Handle,
}

#[derive(Debug)]
struct Progress {
    index: bool,
    chunks: Vec<bool>,
    /// How it ended: in the cache, or why not.
    end: Option<Result<Arc<CachedPack>, String>>,
}

impl Arrival {
    /// Whether packs of this kind can be used while they arrive.
    pub(super) fn is_worth_while(record: &PackRecord) -> bool {
        !record.chunks.is_empty()
    }

    /// Begins to download a pack, and returns when its index is there; `None` when that failed.
    pub(super) async fn begin(repository: &Repository, record: &PackRecord, upload: Upload) -> Option<Arc<Self>> {
        let progress = Progress { index: false, chunks: vec![false; record.chunks.len()], end: None };
        let arrival = Arc::new(Self {
            record: record.clone(),
            folder: repository.temporary().ok()?,
            progress: watch::Sender::new(progress),
            runtime: Handle::current(),
        });
        File::create_new(arrival.pack()).and_then(|file| file.set_len(record.bytes)).ok()?;
        tokio::spawn(Arc::clone(&arrival).run(Arc::clone(&repository.shared), repository.id.clone(), upload));
        let mut progress = arrival.progress.subscribe();
        let seen = progress.wait_for(|progress| progress.index || progress.end.is_some()).await;
        let has_index = seen.is_ok_and(|progress| progress.index);
        has_index.then_some(arrival)
    }

    /// The file that fills up.
    pub(super) fn pack(&self) -> PathBuf {
        self.folder.path().join("pack")
    }

    /// Its index, which is complete.
    pub(super) fn index(&self) -> PathBuf {
        self.folder.path().join("idx")
    }

    /// Whether parts of it will never come.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.progress.borrow().end, Some(Err(_)))
    }

    /// Returns when it is in the cache, or will never be.
    pub(super) async fn ended(&self) {
        // The sender lives in the arrival.
        let _ = self.progress.subscribe().wait_for(|progress| progress.end.is_some()).await;
    }

    async fn run(self: Arc<Self>, shared: Arc<Shared>, id: RepositoryId, upload: Upload) {
        let end = self.download(&shared, &id, &upload).await;
        if let Err(error) = &end {
            tracing::error!(repo.id = %id, %error, "a pack could not be downloaded");
        }
        let end = end.map_err(|error| error.to_string());
        self.progress.send_modify(|progress| progress.end = Some(end));
    }

    async fn download(
        &self,
        shared: &Arc<Shared>,
        id: &RepositoryId,
        upload: &Upload,
    ) -> Result<Arc<CachedPack>, Error> {
        let (pack_key, index_key) = (keys::pack(id, upload), keys::pack_index(id, upload));
        let chunks = async {
            let mut ranges = self.ranges().enumerate();
            // The first one alone: somebody waits for it, and the others would take their part of the line.
            if let Some((at, range)) = ranges.next() {
                self.chunk(shared, &pack_key, at, range).await?;
            }
            let others = ranges.map(|(at, range)| Ok(self.chunk(shared, &pack_key, at, range)));
            stream::iter(others).try_buffer_unordered(AT_ONCE).try_collect::<()>().await
        };
        tokio::try_join!(self.download_index(shared, &index_key), chunks)?;
        // Links, since readers may still open the files by these names.
        let (cache, id, record) = (Arc::clone(&shared.cache), id.clone(), self.record.clone());
        let files = [self.pack(), self.index()].map(|file| (file.with_extension("cached"), file));
        let admit = blocking(move || {
            for (link, file) in &files {
                // A file system without links would have it downloaded again and again.
                fs::hard_link(file, link).or_else(|_| fs::copy(file, link).map(drop))?;
            }
            cache.insert(&id, &record, &files[0].0, &files[1].0)
        });
        Ok(admit.await??)
    }

    /// Where the chunks begin and end.
    fn ranges(&self) -> impl Iterator<Item = Range<u64>> + use<> {
        let (bytes, chunk) = (self.record.bytes, self.record.chunk_bytes());
        (0..self.record.chunks.len() as u64).map(move |at| at * chunk..((at + 1) * chunk).min(bytes))
    }

    async fn download_index(&self, shared: &Shared, key: &str) -> Result<(), Error> {
        let (index, record) = (self.index(), self.record.clone());
        if !shared.store.download(key, &index, record.index_bytes).await? {
            return Err(Error::Missing { key: key.to_owned() });
        }
        if !sabotaged!(SkipVerification) {
            let verified = blocking(move || verify_index(&Content::File(index), &record)).await?;
            verified.map_err(|error| super::packs::damaged_or_cache(error, key.to_owned()))?;
        }
        self.progress.send_modify(|progress| progress.index = true);
        Ok(())
    }

    async fn chunk(&self, shared: &Shared, key: &str, at: usize, range: Range<u64>) -> Result<(), Error> {
        let file = self.pack();
        if !shared.store.download_range(key, &file, range.clone(), self.record.bytes).await? {
            return Err(Error::Missing { key: key.to_owned() });
        }
        let found = blocking(move || sha256_range(&file, range)).await??;
        if found != self.record.chunks[at] && !sabotaged!(SkipVerification) {
            let reason = "the pack has other bytes than the log says".to_owned();
            return Err(Error::Damaged { key: key.to_owned(), reason });
        }
        self.progress.send_modify(|progress| progress.chunks[at] = true);
        Ok(())
    }
}

impl Arriving for Arrival {
    fn wait_for(&self, bytes: Range<u64>) -> io::Result<()> {
        let chunk = self.record.chunk_bytes();
        let at = |byte: u64| usize::try_from(byte / chunk).unwrap_or(usize::MAX).min(self.record.chunks.len());
        let wanted = at(bytes.start)..at(bytes.end.saturating_add(chunk - 1));
        let is_here = |progress: &Progress| progress.chunks[wanted.clone()].iter().all(|here| *here);
        if is_here(&self.progress.borrow()) {
            return Ok(());
        }
        let mut progress = self.progress.subscribe();
        let ended = self.runtime.block_on(progress.wait_for(|progress| is_here(progress) || progress.end.is_some()));
        let progress = ended.map_err(io::Error::other)?;
        match &progress.end {
            _ if is_here(&progress) => Ok(()),
            Some(Err(reason)) => Err(io::Error::other(format!("its download failed: {reason}"))),
            _ => Err(io::Error::other("its download ended early")),
        }
    }
}
