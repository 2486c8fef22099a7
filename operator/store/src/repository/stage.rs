//! Brings a received pack to where an entry can name it: into the bucket, or into the entry when it is small.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use model::Content;
use tempfile::TempDir;

use super::{LocalPack, ReceivedPack, Repository};
use crate::blocking::blocking;
use crate::cache::CachedPack;
use crate::digest::{Measure, measure, sha256_content};
use crate::entry::{PackRecord, Place};
use crate::error::Error;
use crate::keys;
use crate::state::{PackId, Snapshot, Upload};

/// Packs up to this size, with their index, travel inside the entry.
const INLINE_BYTES: u64 = 256 << 10;

/// A pack whose bytes are where an entry needs them.
#[derive(Debug, Clone)]
pub struct StagedPack {
    pub(super) record: PackRecord,
    /// Pack and index, when they travel inside the entry.
    pub(super) inline: Option<Bytes>,
    /// Keeps the local copy.
    cached: Arc<CachedPack>,
}

impl StagedPack {
    /// The pack.
    #[must_use]
    pub fn pack(&self) -> &Content {
        &self.cached.pack
    }

    /// As a pack at hand.
    pub(super) fn local(&self) -> LocalPack {
        LocalPack::new(&self.record, Arc::clone(&self.cached))
    }
}

impl Repository {
    pub(super) async fn stage(&self, received: ReceivedPack) -> Result<StagedPack, Error> {
        self.stage_as(received, INLINE_BYTES).await
    }

    /// As [`Self::stage`], but never inside an entry.
    pub(super) async fn stage_uploaded(&self, received: ReceivedPack) -> Result<StagedPack, Error> {
        self.stage_as(received, 0).await
    }

    async fn stage_as(&self, received: ReceivedPack, inline_bytes: u64) -> Result<StagedPack, Error> {
        let (cache, repository, upload) = (Arc::clone(&self.shared.cache), self.id.clone(), self.new_upload());
        let ReceivedPack { pack, index, objects, exact } = received;
        let is_quick = matches!(pack, Content::Memory(_));
        let admit = move || -> io::Result<_> {
            let Measure { digest, bytes, chunks } = measure(&pack)?;
            let (index_id, index_bytes) = sha256_content(&index)?;
            let small = bytes + index_bytes <= inline_bytes;
            let place = if small { Place::Inlined { offset: 0 } } else { Place::Uploaded(upload) };
            let id = PackId(digest);
            let record = PackRecord { id, index_id, bytes, index_bytes, objects, exact, place, chunks };
            if small {
                return Ok((record, Admitted::Small(in_memory(pack)?, in_memory(index)?)));
            }
            let folder = cache.temporary()?;
            let (pack, index) = (in_file(pack, &folder, "pack")?, in_file(index, &folder, "idx")?);
            let cached = cache.insert(&repository, &record, &pack, &index)?;
            Ok((record, Admitted::Cached(cached)))
        };
        // What is small and in memory needs no thread that may wait for a disk.
        let (record, admitted) = if is_quick { admit()? } else { blocking(admit).await?? };
        let (cached, inline) = match admitted {
            Admitted::Cached(cached) => (cached, None),
            Admitted::Small(pack, index) => {
                let inline = Bytes::from([&*pack, &*index].concat());
                (self.hold(&record, pack, index).await?, Some(inline))
            }
        };
        let staged = StagedPack { record, inline, cached };
        self.upload(&staged).await?;
        Ok(staged)
    }

    /// Uploads a pack again, under a new name, when what it was uploaded as may be deleted as an orphan.
    pub(super) async fn renew(&self, staged: &mut StagedPack, base: &Snapshot) -> Result<(), Error> {
        if let Place::Uploaded(upload) = staged.record.place
            && !base.upkeep.admits(&upload)
        {
            staged.record.place = Place::Uploaded(self.new_upload());
            self.upload(staged).await?;
        }
        Ok(())
    }

    pub(super) fn new_upload(&self) -> Upload {
        let mut nonce = [0; 8];
        self.shared.random.fill(&mut nonce);
        Upload { generation: self.known().generation, nonce }
    }

    /// Uploads pack and index, both before the entry that names them.
    async fn upload(&self, staged: &StagedPack) -> Result<(), Error> {
        let Place::Uploaded(upload) = &staged.record.place else { return Ok(()) };
        let (Content::File(pack), Content::File(index)) = (&staged.cached.pack, &staged.cached.index) else {
            return Err(Error::Cache(io::Error::other("a pack to be uploaded is not in a file")));
        };
        let store = &self.shared.store;
        let (pack_key, index_key) = (keys::pack(&self.id, upload), keys::pack_index(&self.id, upload));
        let upload_index = async {
            let uploaded = store.upload(&index_key, index).await;
            if sabotaged!(IgnoreFailedUpload) { Ok(()) } else { uploaded }
        };
        tokio::try_join!(store.upload(&pack_key, pack), upload_index)?;
        Ok(())
    }
}

/// A pack whose size and checksum are known.
enum Admitted {
    /// To travel inside the entry: pack and index.
    Small(Bytes, Bytes),
    Cached(Arc<CachedPack>),
}

fn in_memory(content: Content) -> io::Result<Bytes> {
    match content {
        Content::Memory(bytes) => Ok(bytes),
        Content::File(path) => std::fs::read(path).map(Bytes::from),
    }
}

fn in_file(content: Content, folder: &TempDir, name: &str) -> io::Result<PathBuf> {
    match content {
        Content::File(path) => Ok(path),
        Content::Memory(bytes) => {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes)?;
            Ok(path)
        }
    }
}
