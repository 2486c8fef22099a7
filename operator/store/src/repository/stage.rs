//! Brings a received pack to where an entry can name it: into the bucket, or into the entry when it is small.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::{LocalPack, ReceivedPack, Repository};
use crate::blocking::blocking;
use crate::cache::CachedPack;
use crate::digest::sha256_file;
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
    /// The pack file.
    #[must_use]
    pub fn pack(&self) -> &Path {
        &self.cached.pack
    }

    /// Its index.
    #[must_use]
    pub fn index(&self) -> &Path {
        &self.cached.index
    }

    /// As a pack on local disk.
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
        let (cache, id, upload) = (Arc::clone(&self.shared.cache), self.id.clone(), self.new_upload());
        let admit = blocking(move || -> Result<_, Error> {
            let (pack_id, bytes) = sha256_file(&received.pack)?;
            let (index_id, index_bytes) = sha256_file(&received.index)?;
            let small = bytes + index_bytes <= inline_bytes;
            let place = if small { Place::Inlined { offset: 0 } } else { Place::Uploaded(upload) };
            let (objects, exact) = (received.objects, received.exact);
            let record = PackRecord { id: PackId(pack_id), index_id, bytes, index_bytes, objects, exact, place };
            let inline = if small {
                let mut both = std::fs::read(&received.pack)?;
                both.extend_from_slice(&std::fs::read(&received.index)?);
                Some(Bytes::from(both))
            } else {
                None
            };
            let cached = cache.insert(&id, &record, &received.pack, &received.index)?;
            Ok(StagedPack { record, inline, cached })
        });
        let staged = admit.await??;
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

    fn new_upload(&self) -> Upload {
        let mut nonce = [0; 8];
        self.shared.random.fill(&mut nonce);
        Upload { generation: self.known().generation, nonce }
    }

    /// Uploads pack and index, both before the entry that names them.
    async fn upload(&self, staged: &StagedPack) -> Result<(), Error> {
        let Place::Uploaded(upload) = &staged.record.place else { return Ok(()) };
        let (pack, index) = (keys::pack(&self.id, upload), keys::pack_index(&self.id, upload));
        let store = &self.shared.store;
        let upload_index = async {
            let uploaded = store.upload(&index, staged.index()).await;
            if sabotaged!(IgnoreFailedUpload) { Ok(()) } else { uploaded }
        };
        tokio::try_join!(store.upload(&pack, staged.pack()), upload_index)?;
        Ok(())
    }
}
