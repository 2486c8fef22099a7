//! Where a received pack is kept until it is accepted: in memory while it is small, then in a folder of its own.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use model::Content;
use tempfile::TempDir;

/// Packs up to this size never touch the disk.
const MEMORY_BYTES: usize = 256 << 10;

/// A pack on its way in. Its files, if there come to be any, go when it is dropped.
#[derive(Debug)]
pub struct Quarantine {
    parent: PathBuf,
    pack: Place,
}

#[derive(Debug)]
enum Place {
    Memory(Vec<u8>),
    Folder { folder: TempDir, pack: File },
}

impl Quarantine {
    /// An empty one. A folder for its files is made below `parent` when they are needed.
    #[must_use]
    pub fn new(parent: &Path) -> Self {
        Self { parent: parent.to_owned(), pack: Place::Memory(Vec::new()) }
    }

    /// What of the pack arrived, from the start.
    ///
    /// # Errors
    /// When it cannot be read back.
    pub fn reader(&self) -> io::Result<Box<dyn BufRead + '_>> {
        Ok(match &self.pack {
            Place::Memory(bytes) => Box::new(&**bytes),
            Place::Folder { folder, .. } => Box::new(BufReader::new(File::open(pack_in(folder))?)),
        })
    }

    /// Appends to the pack.
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.pack {
            Place::Memory(held) if held.len() + bytes.len() <= MEMORY_BYTES => held.extend_from_slice(bytes),
            Place::Memory(held) => {
                let folder = TempDir::new_in(&self.parent)?;
                let mut pack = File::options().read(true).write(true).create_new(true).open(pack_in(&folder))?;
                pack.write_all(held)?;
                pack.write_all(bytes)?;
                self.pack = Place::Folder { folder, pack };
            }
            Place::Folder { pack, .. } => pack.write_all(bytes)?,
        }
        Ok(())
    }

    /// Reads exactly these bytes of the pack.
    pub(super) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.pack {
            Place::Memory(bytes) => copy_at(bytes, buffer, offset),
            Place::Folder { pack, .. } => pack.read_exact_at(buffer, offset),
        }
    }

    /// Adds the index, as `write` writes it, to the pack, which is complete: what is there then, pack and index.
    pub(super) fn seal(
        &self,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<(Content, Content)> {
        match &self.pack {
            Place::Memory(pack) => {
                let mut index = Vec::new();
                write(&mut index)?;
                Ok((Content::Memory(Bytes::copy_from_slice(pack)), Content::Memory(index.into())))
            }
            Place::Folder { folder, .. } => {
                let index = folder.path().join("incoming.idx");
                write(&mut File::create_new(&index)?)?;
                Ok((Content::File(pack_in(folder)), Content::File(index)))
            }
        }
    }
}

fn pack_in(folder: &TempDir) -> PathBuf {
    folder.path().join("incoming.pack")
}

/// Fills `buffer` from `offset` of `bytes` on.
pub(crate) fn copy_at(bytes: &[u8], buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let from = usize::try_from(offset).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
    let from = from.get(..buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
    buffer.copy_from_slice(from);
    Ok(())
}
