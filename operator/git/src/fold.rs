//! Folding: several packs become one, so that their number stays small.
//!
//! Entries are copied as they are. What an older pack has already is left out, and so is the second copy of anything. Deltas on
//! objects of older packs stay, so the result may be thin like the packs that it replaces; it must take the place of the first
//! of them in the order of packs (see [`crate::odb`]).

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use gix::ObjectId;
use model::Content;

use crate::{
    odb::{self, Packs},
    pack_index,
    pack_writer::{self, Receiver, Selection, Sink},
};

/// A pack made of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded {
    /// The pack.
    pub pack: Content,
    /// Its index, version 2.
    pub index: Content,
    /// Its trailer.
    pub id: ObjectId,
    /// Length of the pack.
    pub bytes: u64,
    /// How many objects it has.
    pub objects: u64,
}

/// Why packs could not be folded. The packs are as they were.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be written.
    #[error("failed to write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The packs cannot be read or the new one not written.
    #[error("failed to fold packs")]
    Pack(#[from] pack_writer::Error),
}

struct ToFile(BufWriter<File>);

impl Sink for ToFile {
    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

/// Writes one pack with the objects of the packs from position `from` on, and its index, into `folder`.
///
/// The packs before `from` are the rest of the repository: what they have is left out. Both files are synced.
///
/// # Errors
/// When a pack cannot be read, a file not written, or `interrupt` was set.
pub fn fold(packs: &Packs, from: usize, folder: &Path, interrupt: &AtomicBool) -> Result<Folded, Error> {
    let selection = Selection::from(packs, from);
    // Whatever is not selected lies in an older pack and stays there.
    let receiver = Receiver { ofs_delta: true, has: Some(&|_| true), replaces: None };
    write(packs, &selection, &receiver, folder, interrupt)
}

/// Writes a selection as a pack, and its index, into `folder`. Both files are synced.
pub(crate) fn write(
    packs: &Packs,
    selection: &Selection,
    receiver: &Receiver<'_>,
    folder: &Path,
    interrupt: &AtomicBool,
) -> Result<Folded, Error> {
    let paths = [folder.join("folded.pack"), folder.join("folded.idx")];
    let [pack, index] = &paths;
    let create = |path: &PathBuf| File::create_new(path).map_err(|source| Error::Write { path: path.clone(), source });
    let failed = |path: &PathBuf| {
        let path = path.clone();
        move |source| Error::Write { path, source }
    };
    let mut entries = Vec::with_capacity(selection.len());
    let mut sink = ToFile(BufWriter::with_capacity(1 << 18, create(pack)?));
    let written = pack_writer::write(packs, selection, receiver, &mut sink, Some(&mut entries), interrupt)?;
    let file = sink.0.into_inner().map_err(|error| failed(pack)(error.into_error()))?;
    file.sync_all().map_err(failed(pack))?;
    let mut file = create(index)?;
    pack_index::write(&mut entries, &written.trailer, &mut file).map_err(failed(index))?;
    file.sync_all().map_err(failed(index))?;
    let [pack, index] = paths.map(Content::File);
    Ok(Folded { pack, index, id: written.trailer, bytes: written.bytes, objects: selection.len() as u64 })
}

impl From<odb::Error> for Error {
    fn from(error: odb::Error) -> Self {
        Self::Pack(error.into())
    }
}
